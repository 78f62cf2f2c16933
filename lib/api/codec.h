/* codec.h - objects to and from protobuf, JSON and YAML, by the tables.
 *
 * Thread-safe: all state is in the arguments. Decoders bound depth
 * (API_DEPTH_MAX) and never trust lengths; decoded memory is in the arena and
 * proportional to the input. `msg` points at a zeroed struct of m->size. */
#ifndef API_CODEC_H
#define API_CODEC_H

#include "lib/base/str.h"

#include <stdbool.h>

struct api_field;
struct api_msg;
struct arena;
struct buf;
struct error;
struct json;
struct api_warnings;

#define API_DEPTH_MAX 128

/* --- protobuf (no envelope) --- */
/* A repeated occurrence of an embedded message merges into the first, as
 * protobuf says. Unknown fields are skipped. E_INVALID on damage. */
int api_pb_decode(struct arena *a, const struct api_msg *m, struct str wire, void *msg,
                  struct error *err);
/* Byte for byte as upstream's generated Go marshaller writes it: fields by
 * rising number, non-pointer values even when zero, maps sorted by key. */
void api_pb_encode(const struct api_msg *m, const void *msg, struct buf *out);

/* --- JSON --- */
enum api_strict {
    API_LENIENT, /* unknown and duplicate fields are ignored */
    API_WARN,    /* ... reported through warnings */
    API_STRICT,  /* ... E_INVALID, all of them in one message */
};
/* Unknown or duplicate fields found; texts as upstream's strict decoder says
 * them: unknown field "spec.foo", duplicate field "spec.x". */
struct api_warnings {
    struct str *items;
    size_t count;
    size_t cap;
};
/* Decodes JSON text. apiVersion and kind are accepted at the top of kinds and
 * ignored here. Wrong types: E_INVALID with a message that names the path, as
 * upstream words it (json: cannot unmarshal string into Go struct field ...). */
int api_json_decode(struct arena *a, const struct api_msg *m, struct str text,
                    enum api_strict strict, struct api_warnings *warnings, void *msg,
                    struct error *err);
/* The same from an already parsed tree (patches, YAML). */
int api_json_decode_tree(struct arena *a, const struct api_msg *m, const struct json *tree,
                         enum api_strict strict, struct api_warnings *warnings, void *msg,
                         struct error *err);
/* Compact JSON in Go's field order (declaration = table order by field as
 * facts list them, kind and apiVersion first when given). gvk strings may be
 * empty: then they are left out. */
void api_json_encode(const struct api_msg *m, const void *msg, struct str api_version,
                     struct str kind, struct buf *out);
/* JSON straight from wire bytes, without building the object. Same text as
 * decode + encode. */
int api_json_from_pb(const struct api_msg *m, struct str wire, struct str api_version,
                     struct str kind, struct buf *out, struct error *err);
/* The object as a JSON tree. */
struct json *api_json_tree(struct arena *a, const struct api_msg *m, const void *msg,
                           struct str api_version, struct str kind);

/* --- YAML --- */
/* One document to a JSON tree: YAML 1.1 scalars as sigs.k8s.io/yaml reads
 * them. *ret_consumed is where the next document starts. E_EOF: none left. A
 * document of comments alone is null. Of duplicate keys the last one wins. */
int api_yaml_parse(struct arena *a, struct str text, size_t *ret_consumed, struct json **ret,
                   struct error *err);
/* The same, but duplicate keys are E_INVALID, all of them in one message. */
int api_yaml_parse_strict(struct arena *a, struct str text, size_t *ret_consumed, struct json **ret,
                          struct error *err);
/* As kubectl -o yaml prints: sorted keys, two-space indent. */
void api_yaml_write(const struct json *tree, struct buf *out);

/* --- the k8s\0 envelope: runtime.Unknown around a message --- */
#define API_ENVELOPE_MAGIC "k8s\0"
bool api_envelope_is(struct str bytes);
/* Views into bytes. content_encoding and content_type must be empty or known. */
int api_envelope_open(struct str bytes, struct str *ret_api_version, struct str *ret_kind,
                      struct str *ret_raw, struct error *err);
/* Writes magic and Unknown with raw; order and form as upstream writes them. */
void api_envelope_write(struct str api_version, struct str kind, struct str raw, struct buf *out);
/* The same around a message encoded on the way, without a copy. */
void api_envelope_encode(const struct api_msg *m, const void *msg, struct str api_version,
                         struct str kind, struct buf *out);

/* --- whole objects --- */
void *api_msg_new(struct arena *a, const struct api_msg *m); /* Zeroed. */
/* Deep copy into another arena; strings are copied too. */
void api_msg_copy(struct arena *a, const struct api_msg *m, void *dst, const void *src);
void *api_msg_clone(struct arena *a, const struct api_msg *m, const void *src);
/* Semantic equality (apimachinery's equality.Semantic: empty list == absent,
 * quantities by value, times by instant). */
bool api_msg_equal(const struct api_msg *m, const void *x, const void *y);
/* The same of one field of two messages. */
bool api_field_equal(const struct api_field *f, const void *x, const void *y);
bool api_msg_is_zero(const struct api_msg *m, const void *x);
/* Turns empty lists and maps into none, which is what protobuf makes of them. */
void api_msg_drop_empty(const struct api_msg *m, void *x);

#endif
