/* encode.h - objects and lists in the forms that clients ask for. Pure but for
 * time (ages in tables). */
#ifndef APISERVER_ENCODE_H
#define APISERVER_ENCODE_H

#include "apiserver/content.h"
#include "apiserver/registry.h"

struct arena;
struct buf;
struct error;

/* A message of kind, as it is; ends with a newline where upstream writes one. */
void encode_object(struct arena *a, const struct accepted *f, const struct api_kind *kind,
                   const void *msg, struct buf *out);
void encode_status(struct arena *a, const struct accepted *f, struct meta_v1_status *s,
                   struct buf *out);
/* The raw message bytes of a stored value (behind the envelope). */
int stored_raw(struct str value, struct str *ret_raw, struct error *err);
/* A stored value decoded into its storage kind, with resourceVersion set. */
int stored_decode(struct arena *a, const struct resource *r, struct str value, int64_t rev,
                  void **ret, struct error *err);
/* Envelope and message, as upstream stores it. */
void stored_encode(const struct resource *r, const void *msg, struct buf *out);

/* One object of a stored value in the served version:
 * JSON without a newline (with TypeMeta unless item), or protobuf with (item:
 * without) the envelope. */
int encode_stored(struct arena *a, const struct accepted *f, const struct resource *r,
                  struct str value, int64_t rev, bool item, struct buf *out, struct error *err);
/* Turns compact JSON text into the pretty or YAML form. */
int encode_reformat(struct arena *a, const struct accepted *f, struct str json, struct buf *out,
                    struct error *err);

/* Metadata alone, as PartialObjectMetadata JSON (TypeMeta included). */
void encode_partial_json(const struct accepted *f, const struct meta_v1_object_meta *m,
                         struct buf *out);
/* The same as one object in f's media. */
void encode_partial_meta(const struct accepted *f, const struct meta_v1_object_meta *m,
                         struct buf *out);

#endif
