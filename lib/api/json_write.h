/* json_write.h - the pieces of JSON text that the tree writer and the typed
 * encoders share. All append to out. */
#ifndef API_JSON_WRITE_H
#define API_JSON_WRITE_H

#include "lib/base/str.h"

#include <stdint.h>

struct arena;
struct buf;
struct json;

void json_put_int(int64_t v, struct buf *out);
void json_put_double(double v, struct buf *out);      /* As Go prints a float64. */
void json_put_escaped(struct str s, struct buf *out); /* Without the quotes. */
/* A valid JSON text, with white space and HTML characters as Go's encoder
 * leaves them when it embeds one. */
void json_put_compact(struct str raw, struct buf *out);
/* A text that our own encoders wrote, as a tree; never NULL. */
struct json *json_parse_own(struct arena *a, struct str text);

#endif
