/* pod_sources.h - the ConfigMaps, Secrets and tokens that one pod refers to.
 *
 * Pure: which ones a pod needs, and what was found of them. sources_uv.c
 * fetches them. */
#ifndef KUBELET_POD_SOURCES_H
#define KUBELET_POD_SOURCES_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_object;
struct arena;
struct core_v1_pod;
struct error;
struct object_store;
struct object_use;

enum source_kind {
    SOURCE_CONFIG_MAP,
    SOURCE_SECRET,
    SOURCE_TOKEN,
    SOURCE_CLAIM,
    SOURCE_RUNTIME_CLASS,
    /* Known only once their claims, and then their volumes, are: source_set_follow(). */
    SOURCE_VOLUME,
    SOURCE_CSI_DRIVER,
    SOURCE_ATTACHMENT,
    SOURCE_CSI_SECRET, /* Named "namespace/name". */
};

struct source {
    enum source_kind kind;
    struct str name;           /* Of the object; of the audience for tokens. */
    int64_t expiration_s;      /* Tokens: asked for. */
    struct api_object *object; /* Held; NULL: not found. For tokens the TokenRequest. */
    int code;                  /* 0, or why it could not be fetched. */
    char *message;             /* Owned; with code. */
    uint64_t fetched_ms;       /* When; 0: never. */
    uint64_t refresh_ms;       /* Tokens: when to ask for a new one. */
    bool may_grow; /* A claim of a volume whose file system would have to follow: it is looked at
                      again even when it is bound. */
    struct object_use *use; /* ConfigMaps and Secrets of its namespace: owned; NULL: not yet. */
    bool stale;             /* It is known to have changed: to be fetched now. */
};

struct source_set {
    struct arena *arena;
    uint64_t id; /* Never used twice: tells a new set from an old one. */
    struct source *items;
    size_t count;
    size_t cap;
};

/* Everything pod refers to in volumes, variables and pull secrets, each once. */
struct source_set *source_set_new(const struct core_v1_pod *pod);
void source_set_free(struct source_set *s); /* NULL is a no-op. */

/* From now on its ConfigMaps and Secrets are held in the store, whose changed() gets user. */
void source_set_use(struct source_set *s, struct object_store *store, const struct core_v1_pod *pod,
                    void *user);

/* The pod has ended: nothing more is asked or watched for it. */
void source_set_unuse(struct source_set *s);

/* Moves over what older already holds. */
void source_set_take(struct source_set *s, struct source_set *older);

/* Adds what the objects found so far lead to: the volumes of claims, and what mounting those takes
 * on this node. True when there is something new to fetch. */
bool source_set_follow(struct source_set *s, const struct core_v1_pod *pod, const char *node_name);
/* For how long a token is used that the API has given: four fifths of what is left of its life,
 * which the API may have made shorter or longer than asked for, or a day. object: the answered
 * TokenRequest; asked_s: the life that was asked for. In milliseconds. */
uint64_t source_token_use_ms(const struct api_object *object, int64_t asked_s, int64_t now_s);
/* What was found will not change any more: it need not be fetched again. */
bool source_is_settled(const struct source *s);
/* The claim of a pod's volume, bound, and its volume. 0, or E_AGAIN while one is waited for, or
 * what is wrong. */
struct core_v1_persistent_volume;
struct core_v1_persistent_volume_claim;
struct core_v1_volume;
int source_volume_of(const struct source_set *s, const struct core_v1_pod *pod,
                     const struct core_v1_volume *v,
                     const struct core_v1_persistent_volume_claim **ret_claim,
                     const struct core_v1_persistent_volume **ret, struct error *err);

/* What a driver's token lives for. */
struct storage_v1_token_request;
int64_t csi_token_expiration_s(const struct storage_v1_token_request *t);

/* NULL when the pod does not refer to it. */
struct source *source_set_find(const struct source_set *s, enum source_kind kind, struct str name,
                               int64_t expiration_s);

/* The object of a reference. E_NOT_FOUND with upstream's text when it is
 * missing; 0 with *ret NULL when it is missing and optional. */
int source_object(const struct source_set *s, enum source_kind kind, struct str name, bool optional,
                  const void **ret_msg, struct error *err);

#define TOKEN_EXPIRATION_DEFAULT_S 3600

#endif
