/* proto.c - see proto.h. */
#include "lib/net/proto.h"

#include "lib/base/arena.h"
#include "lib/net/bytes.h"

static void *proto_arena_alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void proto_arena_free(void *arena, void *p)
{
    UNUSED(arena);
    UNUSED(p);
}

int proto_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor, struct str data,
                 ProtobufCMessage **ret, struct error *err)
{
    ProtobufCAllocator allocator = {proto_arena_alloc, proto_arena_free, a};
    ProtobufCMessage *m =
        protobuf_c_message_unpack(descriptor, &allocator, data.len, (const uint8_t *)str_c(data));
    if (m == NULL)
        return error_set(err, E_INVALID, "malformed protobuf message %s", descriptor->name);
    *ret = m;
    return 0;
}

struct net_bytes *proto_pack(const ProtobufCMessage *message)
{
    struct net_bytes *b = net_bytes_new(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, net_bytes_edit(b));
    return b;
}

struct str proto_pack_arena(struct arena *a, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *p = arena_alloc(a, len + 1);
    protobuf_c_message_pack(message, p);
    p[len] = '\0';
    return str_n((const char *)p, len);
}
