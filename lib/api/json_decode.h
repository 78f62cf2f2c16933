/* json_decode.h - the typed decoder's state, shared by its two files. */
#ifndef API_JSON_DECODE_H
#define API_JSON_DECODE_H

#include "lib/api/codec.h"
#include "lib/api/json_lex.h"
#include "lib/api/schema.h"
#include "lib/base/error.h"

/* Where a value stands: fields by name, map values by key, elements by index. */
struct json_frame {
    const struct json_frame *up;
    enum { FRAME_FIELD, FRAME_KEY, FRAME_INDEX } type;
    struct str name;
    size_t index;
    const char *struct_name; /* FRAME_FIELD: the Go type that has the field. */
};

struct json_decoder {
    struct json_lex lex;
    enum api_strict strict;
    struct api_warnings *warnings;
    /* A value of the wrong type is remembered, the first one, and decoding goes
     * on: a syntax error further down counts for more, as with Go. */
    struct error wrong;
};

/* Values of messages with a form of their own. p stands at the value. */
int json_decode_special(struct json_decoder *d, const struct api_msg *m,
                        const struct json_frame *frame, unsigned depth, void *base);
int json_decode_message(struct json_decoder *d, const struct api_msg *m,
                        const struct json_frame *frame, unsigned depth, void *base);
/* Objects of custom kinds (json_decode_custom.c). */
int json_decode_custom(struct json_decoder *d, const struct api_msg *m,
                       const struct json_frame *frame, unsigned depth, void *base);
int json_decode_list(struct json_decoder *d, const struct api_field *f,
                     const struct json_frame *frame, unsigned depth, void *base);

/* A field that is unknown or stands twice, for those who ask. */
void json_decode_report(struct json_decoder *d, const char *what, const struct json_frame *frame,
                        struct str name);
/* Remembers an error; 0, since decoding goes on. */
int json_decode_wrong(struct json_decoder *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Skips the value at p and remembers "cannot unmarshal <it> into ... of type
 * <go_type>". Negative only for syntax errors. */
int json_decode_mismatch(struct json_decoder *d, const struct json_frame *frame,
                         const char *go_type);
/* "string", "object" ... of the value at p. */
const char *json_decode_kind(struct json_lex *l);
/* Remembers: cannot unmarshal `value` ("number 1.5") into ... of type go_type. */
void json_decode_wrong_value(struct json_decoder *d, const struct json_frame *frame,
                             const char *value, const char *go_type);

/* json_decode_scalar.c: the value at p. A value of the wrong type is remembered
 * and leaves *ret alone; negative only for syntax errors. */
int json_decode_bool(struct json_decoder *d, const struct json_frame *frame, bool *ret);
int json_decode_double(struct json_decoder *d, const struct json_frame *frame, double *ret);
int json_decode_string(struct json_decoder *d, const struct json_frame *frame, struct str *ret);
int json_decode_bytes(struct json_decoder *d, const struct json_frame *frame, struct str *ret);
/* A whole number for an int of so many bits; 1: remembered as wrong. */
int json_decode_int(struct json_decoder *d, const struct json_frame *frame, int bits, int64_t *ret);

#endif
