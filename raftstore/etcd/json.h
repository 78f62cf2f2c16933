/* json.h - small JSON documents: claims of tokens, requests of the gateway.
 *
 * Pure. A whole document is read into an arena; the caller bounds its bytes. */
#ifndef RAFTSTORE_ETCD_JSON_H
#define RAFTSTORE_ETCD_JSON_H

#include "lib/base/str.h"

struct arena;
struct buf;
struct error;

#define JSON_DEPTH_MAX 64

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_value {
    enum json_type type;
    bool boolean;
    struct str text;                /* A string's content, a number as it was written. */
    const struct json_value *items; /* Of an array, or an object's values. */
    const struct str *names;        /* An object's, in order, repeated ones too. */
    size_t count;
};

/* One value with nothing but white space around it. E_INVALID. */
int json_read(struct arena *a, struct str text, struct json_value *ret, struct error *err);
/* The first value of *text, which loses it and the white space around. */
int json_read_next(struct arena *a, struct str *text, struct json_value *ret, struct error *err);
/* An object's member, the last of that name; NULL: none, or no object. */
const struct json_value *json_member(const struct json_value *v, const char *name);
/* A number that has no fraction, also as 1e3 or 5.0; false when it is none or does not fit. */
bool json_to_i64(struct str number, int64_t *ret);

/* With its quotes. What is not UTF-8 becomes U+FFFD. */
void json_put_string(struct buf *out, struct str s);

#endif
