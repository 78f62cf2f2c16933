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
struct api_custom;
struct api_label_selector;
struct arena;
struct buf;
struct custom_definition;
struct error;
struct jsonpath;
struct resource;

/* As stored_decode(), stored_encode() and encode_stored() of encode.h. */
int custom_stored_decode(struct arena *a, const struct resource *r, struct str value, int64_t rev,
                         void **ret, struct error *err);
void custom_stored_encode(const struct resource *r, const void *msg, struct buf *out);
int custom_encode_stored(struct arena *a, const struct accepted *f, const struct resource *r,
                         struct str value, int64_t rev, struct buf *out, struct error *err);
/* As it stands in the store, in the version that it is in; without conversion,
 * and so without knowing what other versions would make of it. */
int custom_stored_read(struct arena *a, const struct custom_definition *d, struct str value,
                       int64_t rev, struct api_custom **ret, struct error *err);
/* Is it to be converted by a webhook before it is anything that r shows? */
bool custom_stored_converts(const struct resource *r, struct str value);
/* What a selectable field of an object holds, as text; empty when it has none. */
struct str custom_field(struct arena *a, const struct jsonpath *path, const void *msg);
bool custom_labels_match(const struct api_label_selector *s, const struct resource *r,
                         struct str value);

#endif
