/* proto.h - protobuf-c messages to and from bytes, with arenas. */
#ifndef NET_PROTO_H
#define NET_PROTO_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

#include <protobuf-c/protobuf-c.h>

struct arena;
struct net_bytes;

/* Unpacks into the arena; never free the message. E_INVALID if malformed.
 * data is copied where the message holds bytes or strings. */
int proto_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor, struct str data,
                 ProtobufCMessage **ret, struct error *err);
/* The caller owns the reference. */
struct net_bytes *proto_pack(const ProtobufCMessage *message);
struct str proto_pack_arena(struct arena *a, const ProtobufCMessage *message);

#endif
