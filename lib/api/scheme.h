/* scheme.h - the registry of kinds and the generic view of an object.
 *
 * A kind names its message table, its list, its resource path and scope. The
 * registry is constant: generated tables plus lib/api/scheme.c. */
#ifndef API_SCHEME_H
#define API_SCHEME_H

#include "lib/api/schema.h"

#include <stdatomic.h>

struct api_pack;
struct arena;
struct error;
struct meta_v1_object_meta;
struct meta_v1_list_meta;

struct api_subresource {
    const char *name;  /* "status" */
    const char *group; /* Kind that requests carry: the resource's own, Scale, Eviction ... */
    const char *version;
    const char *kind;
    const char *verbs; /* comma list */
};

struct api_kind {
    const char *group;       /* "" for core */
    const char *version;     /* "v1" */
    const char *kind;        /* "Pod" */
    const char *list_kind;   /* "PodList"; NULL when not listable */
    const char *resource;    /* "pods"; NULL for kinds without one (Status, DeleteOptions) */
    const char *singular;    /* "pod" */
    const char *short_names; /* comma list or NULL */
    const char *categories;  /* comma list or NULL */
    const char *verbs;       /* comma list; NULL without a resource */
    const struct api_subresource *sub;
    size_t sub_count;
    bool namespaced;
    const struct api_msg *msg;
    const struct api_msg *list_msg;
    uint32_t meta_offset;    /* of struct meta_v1_object_meta; UINT32_MAX if none */
    const char *api_version; /* "v1", "apps/v1" */
};

/* All kinds, in a fixed order. */
const struct api_kind *const *api_kinds(size_t *ret_count);
/* group "" is core. NULL when unknown. Kinds of meta/v1 that servers register
 * in every group version (DeleteOptions, WatchEvent ...) are found in all. */
const struct api_kind *api_kind_by_gvk(struct str group, struct str version, struct str kind);
const struct api_kind *api_kind_by_api_version(struct str api_version, struct str kind);
const struct api_kind *api_kind_by_resource(struct str group, struct str version,
                                            struct str resource);
/* NULL when the kind's resource has no such subresource. */
const struct api_subresource *api_kind_sub(const struct api_kind *k, struct str name);
/* Whether the comma list (verbs, short_names, categories) holds the word. NULL holds none. */
bool api_list_has(const char *comma_list, struct str word);

/* An immutable, reference-counted object with its arena; shared by threads. */
struct api_object {
    _Atomic uint32_t refs;
    uint8_t cached; /* For the cache that holds it (lib/client/informer_cache.h). */
    const struct api_kind *kind;
    struct arena *arena;   /* Owned. */
    void *msg;             /* The struct described by kind->msg. */
    struct api_pack *pack; /* Owned: pack.h. NULL: never packed. */
};

/* A new, empty object with one reference. Fill msg before sharing it. */
struct api_object *api_object_new(const struct api_kind *kind);
struct api_object *api_object_ref(struct api_object *o);
void api_object_unref(struct api_object *o); /* NULL is a no-op. */
/* A private, mutable deep copy. */
struct api_object *api_object_clone(const struct api_object *o);
struct meta_v1_object_meta *api_object_meta(const struct api_object *o);
/* Metadata of a bare message of that kind; NULL when it has none. */
struct meta_v1_object_meta *api_meta_of(const struct api_kind *k, const void *msg);

#endif
