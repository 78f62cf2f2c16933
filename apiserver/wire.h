/* wire.h - looking into stored protobuf without decoding it. Pure; bounds are
 * checked, so damaged bytes end a walk early. */
#ifndef APISERVER_WIRE_H
#define APISERVER_WIRE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_str_entry;
struct buf;

/* The last field of that number holding bytes; empty with data NULL if absent. */
struct str wire_bytes(struct str msg, uint32_t number);

/* Appends a message but for the fields of that number. */
void wire_without(struct str msg, uint32_t number, struct buf *out);
/* Appends a field of bytes. */
void wire_put_bytes(uint32_t number, struct str bytes, struct buf *out);

/* Numbers that every kind shares. */
enum {
    WIRE_OBJECT_META = 1, /* ObjectMeta in a kind */
    WIRE_META_NAME = 1,
    WIRE_META_NAMESPACE = 3,
    WIRE_META_UID = 5,
    WIRE_META_RESOURCE_VERSION = 6,
    WIRE_META_LABELS = 11,
};

#define WIRE_LABELS_MAX 256u
/* Labels of an object's bytes; at most max of them. Returns how many. */
size_t wire_labels(struct str object, struct api_str_entry *ret, size_t max);

/* Appends metadata{resourceVersion: rev} to bytes of a kind: a repeated
 * embedded message merges, so the result is the object with its version. */
void wire_append_rev(struct buf *b, int64_t rev);
size_t wire_rev_bytes(int64_t rev); /* What wire_append_rev() appends. */

#endif
