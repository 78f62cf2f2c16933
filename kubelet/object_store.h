/* object_store.h - the ConfigMaps and Secrets that pods of this node refer to: each is held once,
 * however many pods use it.
 *
 *   pod comes -> use ----> read (GET) ---> watch ----> change -> users are told
 *   pod goes  -> drop -> the last one: forgotten, watched no more
 *
 * How changes are noticed is configMapAndSecretChangeDetectionStrategy, as upstream has it: Watch,
 * each object by a watch of its own, which is all that a node is allowed to; Cache, read again when
 * it is older than a time to live; Get, read whenever it is needed. In every case a pod that is new
 * sees nothing older than itself: what it starts with has been read after it came.
 *
 * While the API cannot be asked, what was read last stays in use. What is immutable is not watched.
 * object_store.c decides, and is pure; object_store_uv.c asks the API. Loop-confined. */
#ifndef KUBELET_OBJECT_STORE_H
#define KUBELET_OBJECT_STORE_H

#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/base/str.h"

struct api_object;
struct error;
struct kubelet;
struct object_store;

enum change_detection { DETECT_WATCH, DETECT_CACHE, DETECT_GET };
enum object_kind { OBJECT_CONFIG_MAP, OBJECT_SECRET };

#define OBJECT_TTL_DEFAULT_MS 60000u /* Of Cache; the Node's annotation below says otherwise. */
#define OBJECT_TTL_ANNOTATION "node.alpha.kubernetes.io/ttl"

/* "Watch", "Cache", "Get"; E_INVALID names the field. */
int change_detection_parse(const char *text, enum change_detection *ret, struct error *err);

struct held_object {
    struct object_store *store;
    struct str key; /* The map's: kind, namespace, name. */
    enum object_kind kind;
    struct str namespace_name, name; /* In key. */
    struct api_object *object;       /* Held; NULL: there is none, or it is not known. */
    int code;                        /* Of the last read: 0 or E_*; with a message, owned. */
    char *message;

    struct list uses;     /* struct object_use */
    struct list waiting;  /* struct object_read */
    uint64_t read_began;  /* On the store's count, of the last read that is over; 0: never. */
    uint64_t read_ms;     /* When it was over. */
    uint64_t asked_began; /* Of the read under way; 0: none. */
    uint64_t version;     /* Grows with each change. */
    bool watched, answering;
    void *call, *watch; /* object_store_uv.c's. */
};

/* One pod's interest. */
struct object_use {
    struct list link;
    struct held_object *of;
    uint64_t since;           /* On the store's count. */
    uint64_t version;         /* That it was given last; 0: none. */
    struct object_read *read; /* Waited for; NULL. One at a time. */
    void *user;
};

/* Somebody waits for an answer. Embedded; done comes in any case. */
struct object_read {
    struct list link;
    struct object_use *use; /* NULL: it was dropped meanwhile. */
    uint64_t needs;         /* No read that began before. */
    void (*done)(struct object_read *r);
};

/* --- deciding ----------------------------------------------------------------------------- */

struct object_store {
    enum change_detection detection;
    struct map objects;
    uint64_t count; /* Of uses and reads, to know which was first. */
    /* Effects. ask: one GET, answered by object_store_answer(). cancel: of what is under way. */
    void (*ask)(struct held_object *o);
    void (*watch)(struct held_object *o);
    void (*unwatch)(struct held_object *o);
    void (*cancel)(struct held_object *o);
    /* The object of a use is not what it was given any more. Drops nothing before it returns. */
    void (*changed)(void *user);
    void *arg;
};

void object_store_init(struct object_store *s, enum change_detection d);
void object_store_done(struct object_store *s); /* No use is left. */

struct object_use *object_store_use(struct object_store *s, enum object_kind kind,
                                    struct str namespace_name, struct str name, void *user);
/* NULL is a no-op. */
void object_store_drop(struct object_use *u);
/* True: what is held now will do, and counts as given. */
bool object_store_look(struct object_use *u, uint64_t ttl_ms, uint64_t now_ms);
/* Asks; done comes later. What is held then counts as given, whether code is 0 or not. */
void object_store_read(struct object_use *u, struct object_read *r,
                       void (*done)(struct object_read *r));

/* The answer to ask(): object (borrowed) with code 0, or why not. */
void object_store_answer(struct held_object *o, struct api_object *object, int code,
                         const char *message, uint64_t now_ms);
/* A watch tells: object (borrowed), or that gone (its last state, borrowed) is no more. */
void object_store_seen(struct held_object *o, struct api_object *object);
void object_store_gone(struct held_object *o, struct api_object *gone);
/* What is there at the beginning of a watch; object may be NULL. */
void object_store_synced(struct held_object *o, struct api_object *object);

/* --- acting ------------------------------------------------------------------------------- */

/* changed: see above. Lives as long as the program. */
struct object_store *object_store_new(struct kubelet *k, enum change_detection d,
                                      void (*changed)(void *user));
/* Of Cache, by the Node's annotation. */
uint64_t object_store_ttl_ms(const struct kubelet *k);

#endif
