/* stored.h - custom objects as they stand in the store: JSON of the storage
 * version, metadata first, without resourceVersion.
 *
 * What is only passed on is not decoded: the version is put in place behind
 * the opening of metadata. */
#ifndef APISERVER_CUSTOM_STORED_H
#define APISERVER_CUSTOM_STORED_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct accepted;
struct api_label_selector;
struct arena;
struct buf;
struct error;
struct jsonpath;
struct resource;

/* As stored_decode(), stored_encode() and encode_stored() of encode.h. */
int custom_stored_decode(struct arena *a, const struct resource *r, struct str value, int64_t rev,
                         void **ret, struct error *err);
void custom_stored_encode(const struct resource *r, const void *msg, struct buf *out);
int custom_encode_stored(struct arena *a, const struct accepted *f, const struct resource *r,
                         struct str value, int64_t rev, struct buf *out, struct error *err);
/* What a selectable field of an object holds, as text; empty when it has none. */
struct str custom_field(struct arena *a, const struct jsonpath *path, const void *msg);
bool custom_labels_match(const struct api_label_selector *s, struct str value);

#endif
