/* json_text.h - the JSON text of single values, for the encoder from structs
 * and the transcoder from wire bytes alike. All append to out. */
#ifndef API_JSON_TEXT_H
#define API_JSON_TEXT_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct api_msg;
struct buf;
struct error;
struct meta_v1_micro_time;
struct meta_v1_time;

void json_text_bytes(struct str s, struct buf *out); /* Base64; null for Go's nil. */
void json_text_time(const struct meta_v1_time *t, struct buf *out);
void json_text_micro_time(const struct meta_v1_micro_time *t, struct buf *out);
void json_text_duration(int64_t ns, struct buf *out);
void json_text_quantity(struct str canonical, struct buf *out);
void json_text_int_or_string(int64_t type, int32_t number, struct str text, struct buf *out);
/* Raw JSON as Go embeds it; null when there is none or when it is damaged. An
 * envelope is turned into its object's JSON; depth says how many messages deep
 * it stands, JSON_RAW_ONLY that there can be none. */
#define JSON_RAW_ONLY UINT32_MAX
void json_text_raw(struct str raw, unsigned depth, struct buf *out);
/* api_json_from_pb() for a message that stands `depth` messages deep. */
int json_transcode(const struct api_msg *m, struct str wire, struct str api_version,
                   struct str kind, unsigned depth, struct buf *out, struct error *err);
/* {"kind":...,"apiVersion":... and whether anything was written behind {. */
bool json_text_open(struct str api_version, struct str kind, struct buf *out);
/* The same for a message that is a kind itself. */
void json_text_open_typed(const struct api_msg *m, struct buf *out);
/* A comma unless *first, which is cleared, then "name":. */
void json_text_name(const char *name, size_t len, bool *first, struct buf *out);

#endif
