/* gateway_json.h - protobuf-c messages as JSON, as grpc-gateway writes and reads them.
 *
 * Names as in the .proto, defaults left out, 64-bit numbers as strings, bytes in
 * base64, enums by name. Read are also lowerCamel names, numbers of either form,
 * enums by number; unknown names are passed over. Pure. */
#ifndef RAFTSTORE_ETCD_GATEWAY_JSON_H
#define RAFTSTORE_ETCD_GATEWAY_JSON_H

#include <protobuf-c/protobuf-c.h>

struct arena;
struct buf;
struct error;
struct json_value;

/* *ret and all it holds lie in the arena. E_INVALID names the field. */
int gateway_read(struct arena *a, const ProtobufCMessageDescriptor *d, const struct json_value *v,
                 ProtobufCMessage **ret, struct error *err);
void gateway_write(const ProtobufCMessage *m, struct buf *out);

#endif
