/* informer.h - a local, indexed copy of one kind, kept current by list + watch.
 *
 * Loop-confined. Objects are immutable and shared: handlers and lookups borrow
 * them, api_object_ref() keeps them. After a lost watch it resumes from the
 * last version seen; when that is no longer kept it lists again and hands out
 * the differences, deletions included, so that a handler sees every object's
 * end exactly once.
 *
 *   client list/watch -> informer_core (pure) -> cache, indexes -> handlers */
#ifndef CLIENT_INFORMER_H
#define CLIENT_INFORMER_H

#include "lib/client/client.h"

struct api_packer;
struct informer;
struct informer_hot;

/* How an index finds an object's keys: calls emit for each of them. */
struct informer_index {
    const char *name; /* Borrowed for ever. */
    void (*keys)(const struct api_object *o, void (*emit)(void *ctx, struct str key), void *ctx);
};
#define INFORMER_INDEXES_MAX 10

struct informer_config {
    const struct api_kind *kind;
    const struct client_resource *resource; /* As in client.h: metadata-only watches. Copied. */
    struct str namespace_name;              /* Empty: all. Copied. */
    struct str label_selector;              /* Copied. */
    struct str field_selector;              /* Copied. */
    struct informer_index indexes[INFORMER_INDEXES_MAX]; /* Up to the first without name. */
    /* Called on each object before it is cached, while it is still private:
     * drop what nobody reads. NULL: metadata.managedFields is dropped. */
    void (*trim)(struct api_object *o);
    /* Cached objects are copies after trim, in arenas of about this many bytes at first and of
     * their size later: for many small objects. 0: as they were decoded. */
    size_t compact_bytes;
    /* Objects that nobody looked at lately are kept packed (lib/api/pack.h): less than
     * a tenth of the memory, some microseconds when they are asked for. Implies copies. */
    bool pack;
    /* With pack, how; the informer's once informer_new() has succeeded. NULL:
     * compressed. */
    struct api_packer *packer;
    /* Streams the initial state over the watch instead of a LIST. */
    bool send_initial_events;
    /* A kind that may not be read (403, some times in a row) counts as one that is not served. */
    bool optional;
};

/* Any of them may be NULL. They run on the loop, never inside a call of this
 * header but informer_add_handler() of a synced informer (see there). The
 * cache already shows the new state. */
struct informer_handler {
    void (*on_add)(struct api_object *o, void *arg);
    void (*on_update)(struct api_object *old, struct api_object *o, void *arg);
    /* o: the last state seen. final_state_unknown: it went while we were not
     * watching, and may have changed before. */
    void (*on_delete)(struct api_object *o, bool final_state_unknown, void *arg);
    /* The first complete state was handed out. */
    void (*on_synced)(void *arg);
    void *arg;
};
#define INFORMER_HANDLERS_MAX 32

int informer_new(struct client *c, const struct informer_config *config, struct informer **ret,
                 struct error *err);
/* Before or after start. Added later, it gets an on_add for all that is cached
 * (and on_synced) before this call returns; what was borrowed before it is not valid behind it. */
void informer_add_handler(struct informer *i, const struct informer_handler *h);
void informer_start(struct informer *i);
/* Stops and frees; no handler runs any more. NULL is a no-op. */
void informer_close(struct informer *i);

/* A kind that is not served (404) counts as one without objects, until it is. */
bool informer_has_synced(const struct informer *i);
const struct api_kind *informer_kind(const struct informer *i);
/* "" before the first list. */
struct str informer_resource_version(const struct informer *i);

/* Borrowed until the loop runs on. NULL when absent. */
struct api_object *informer_get(const struct informer *i, struct str namespace_name,
                                struct str name);
/* key: "namespace/name", or "name" in cluster scope. */
struct api_object *informer_get_key(const struct informer *i, struct str key);
size_t informer_count(const struct informer *i);
/* Iteration in no order; start with *pos = 0. NULL at the end. */
struct api_object *informer_next(const struct informer *i, size_t *pos);
/* The same, without looking at the objects: their keys. Borrowed. */
bool informer_next_key(const struct informer *i, size_t *pos, struct str *ret_key);
/* Objects filed under key, in no order: an array borrowed until the loop runs on. */
struct api_object *const *informer_by_index(const struct informer *i, const char *index,
                                            struct str key, size_t *ret_count);
/* The same objects one after another, each lent until the next is asked for: whoever looks at many
 * once does not make structs of all of them. Nothing is added or removed meanwhile. */
struct informer_walk {
    struct informer_hot *hot; /* NULL: nothing is packed. */
    struct api_object *const *items;
    size_t count, at;
    bool lent; /* The one before `at`, packed again behind. */
};
struct informer_walk informer_walk_index(const struct informer *i, const char *index,
                                         struct str key);
struct api_object *informer_walk_next(struct informer_walk *w); /* NULL at the end. */
/* The last one is borrowed until the loop runs on, like what lookups give. */
void informer_walk_keep(struct informer_walk *w);
void informer_walk_end(struct informer_walk *w); /* Idempotent. */
#define AUTO_WALK __attribute__((cleanup(informer_walk_end))) struct informer_walk

/* Packs what is above the limit now, rather than when the loop runs on: between two pieces of work
 * that each look at many objects. What was borrowed before is not valid behind it. */
void informer_rest(struct informer *i);

/* How many there are; and all keys of the index, as informer_next(). Neither looks at an object. */
size_t informer_index_count(const struct informer *i, const char *index, struct str key);
bool informer_index_next(const struct informer *i, const char *index, size_t *pos,
                         struct str *ret_key);

/* "namespace/name", or "name" without namespace, in a. */
struct str informer_key(struct arena *a, const struct api_object *o);
struct str informer_key_of(struct arena *a, struct str namespace_name, struct str name);
/* Views into key. */
void informer_split_key(struct str key, struct str *ret_namespace, struct str *ret_name);

/* Ready-made indexes. */
void informer_index_namespace(const struct api_object *o, void (*emit)(void *, struct str),
                              void *ctx);
/* uids of all owner references. */
void informer_index_owner(const struct api_object *o, void (*emit)(void *, struct str), void *ctx);
/* uid of the controller owner reference. */
void informer_index_controller(const struct api_object *o, void (*emit)(void *, struct str),
                               void *ctx);
/* The namespace of what has no controller. */
void informer_index_orphan(const struct api_object *o, void (*emit)(void *, struct str), void *ctx);
/* "namespace/group" of a pod in a gang (gang_key.h). */
void informer_index_gang(const struct api_object *o, void (*emit)(void *, struct str), void *ctx);
/* "namespace/label=value" of each label; informer_label_key() makes the same. */
void informer_index_label(const struct api_object *o, void (*emit)(void *, struct str), void *ctx);
struct str informer_label_key(struct arena *a, struct str namespace_name, struct str label,
                              struct str value);
/* A pod's spec.nodeName; "" for those without. */
void informer_index_node(const struct api_object *o, void (*emit)(void *, struct str), void *ctx);
/* "" for pods that have ended. */
void informer_index_ended(const struct api_object *o, void (*emit)(void *, struct str), void *ctx);

#endif
