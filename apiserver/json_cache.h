/* json_cache.h - the JSON of stored objects, made once for all who list them.
 *
 * What is kept are runs: some objects that follow each other in a list, as text with a
 * comma before each. A run is found by its first key and known by the versions of its
 * objects, so that a list where nothing changed looks at versions and sends what is
 * there, without a copy; where something changed, the run is made anew from the texts of
 * the others.
 *
 * Bounded: when the cache is full, what was not asked for lately makes room, and
 * nothing else does, so that lists larger than the cache still find a part of it. Runs
 * that nobody asks for go after a minute.
 *
 * Thread-safe; a call takes one of several locks for a moment. */
#ifndef APISERVER_JSON_CACHE_H
#define APISERVER_JSON_CACHE_H

#include "lib/base/str.h"
#include "lib/net/bytes.h"

#include <stdbool.h>

struct api_kind;
struct buf;
struct error;
struct json_cache;
struct kv;

#define JSON_CACHE_SWEEP_MS 5000u /* How often json_cache_sweep() is to be called. */
#define JSON_CACHE_IDLE_SWEEPS 12u
#define JSON_RUN_MAX 64u /* Objects. */

/* What a text is for: each finds only its own. */
enum json_use {
    JSON_LIST,      /* Runs of a list of everything. */
    JSON_SELECTED,  /* Runs of one object, of a list with selectors. */
    JSON_CONVERTED, /* What a webhook made of an object: json_cache_put_text(). */
};

/* What, beside the stored bytes, the text depends on. */
struct json_form {
    const struct api_kind *kind; /* As served. */
    int64_t since_rev;           /* Custom kinds: of their definition. */
    enum json_use use;
};

struct json_run_item {
    int64_t rev;
    uint32_t sub; /* With rev it tells versions apart. */
    uint32_t end; /* In the text. */
};

/* Constant once made. Shared: json_run_unref() gives a reference back. */
struct json_run {
    struct net_bytes text; /* Its references are the run's. */
    uint32_t count;
    const struct json_run_item *items;
};

/* Appends one object's text. */
typedef int (*json_encode_fn)(const struct kv *kv, struct buf *out, void *arg, struct error *err);

/* Does key begin a run, after the key prev? Always the same, whatever else is listed. */
bool json_run_starts(struct str prev, struct str key);
/* How many bytes of the run's text are just these objects; 0: it is not theirs. */
size_t json_run_match(const struct json_run *run, const struct kv *const *objects, size_t count);
/* old: a run with texts that may still do; NULL: none. count is at most JSON_RUN_MAX. */
int json_run_new(const struct json_run *old, const struct kv *const *objects, size_t count,
                 json_encode_fn encode, void *arg, struct json_run **ret, struct error *err);
void json_run_unref(struct json_run *run); /* NULL is a no-op. */

struct json_cache *json_cache_new(size_t bytes_max);
void json_cache_free(struct json_cache *c); /* NULL is a no-op. */

/* The run that begins with key, with a reference for the caller; NULL: there is none. */
struct json_run *json_cache_get(struct json_cache *c, const struct json_form *form, struct str key);
/* Keeps the run (a reference of its own) instead of the one under key, if there is room. */
void json_cache_put(struct json_cache *c, const struct json_form *form, struct str key,
                    struct json_run *run);
/* The same for a text without versions, whose key says all. False: there is none. */
bool json_cache_get_text(struct json_cache *c, const struct json_form *form, struct str key,
                         struct buf *out);
void json_cache_put_text(struct json_cache *c, const struct json_form *form, struct str key,
                         struct str text);
/* Drops what was not asked for in the last JSON_CACHE_IDLE_SWEEPS sweeps. */
void json_cache_sweep(struct json_cache *c);
size_t json_cache_bytes(struct json_cache *c);

#endif
