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

enum source_kind { SOURCE_CONFIG_MAP, SOURCE_SECRET, SOURCE_TOKEN };

struct source {
    enum source_kind kind;
    struct str name;           /* Of the object; of the audience for tokens. */
    int64_t expiration_s;      /* Tokens: asked for. */
    struct api_object *object; /* Held; NULL: not found. For tokens the TokenRequest. */
    int code;                  /* 0, or why it could not be fetched. */
    char *message;             /* Owned; with code. */
    uint64_t fetched_ms;       /* When; 0: never. */
    uint64_t refresh_ms;       /* Tokens: when to ask for a new one. */
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

/* Moves over what older already holds. */
void source_set_take(struct source_set *s, struct source_set *older);

/* NULL when the pod does not refer to it. */
struct source *source_set_find(const struct source_set *s, enum source_kind kind, struct str name,
                               int64_t expiration_s);

/* The object of a reference. E_NOT_FOUND with upstream's text when it is
 * missing; 0 with *ret NULL when it is missing and optional. */
int source_object(const struct source_set *s, enum source_kind kind, struct str name, bool optional,
                  const void **ret_msg, struct error *err);

#define TOKEN_EXPIRATION_DEFAULT_S 3600

#endif
