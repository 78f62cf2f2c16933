/* field_manager.h - keeps metadata.managedFields on every write, and merges
 * applied configurations: upstream's field manager.
 *
 * Update: the manager that writes gets what the write changed, everyone else
 * loses it. Apply: the manager gets what its configuration names; what it named
 * before and no longer does goes, unless someone else owns it. */
#ifndef APISERVER_FIELD_MANAGER_H
#define APISERVER_FIELD_MANAGER_H

#include "apiserver/managed_fields.h"
#include "apiserver/status.h"

struct api_kind;
struct api_msg;
struct fieldset_diff;
struct json;
struct kind_ctx;
struct meta_v1_object_meta;
struct req;
struct resource;

struct field_manager {
    struct arena *arena;
    const struct resource *res;  /* As requested; NULL for kinds that are not stored. */
    const struct api_kind *kind; /* Of the objects given: the storage form of res. */
    struct str api_version;      /* That the client speaks. */
    const char *subresource;     /* "" for the object itself. */
    struct str manager;
    int64_t now_s;
};

/* The manager of a request: fieldManager, or what stands before the slash in
 * User-Agent. kind: of the objects that will be given. */
struct field_manager field_manager_of(const struct req *r, const struct api_kind *kind,
                                      int64_t now_ns);

/* obj has been changed (live: what it was, NULL: it is new): sets its
 * managedFields. What the client sent in them counts unless it came through a
 * subresource. */
void field_manager_update(const struct field_manager *fm, const void *live, void *obj);

/* The same for a new object of a kind that is not stored: reviews, tokens. */
void field_manager_create(const struct req *r, const struct api_kind *kind, void *msg);

/* The same for the server's own writes: its parts are named as upstream's are. */
void field_manager_system(const struct kind_ctx *ctx, const struct resource *res, const void *live,
                          void *obj);

/* Merges a configuration into live (of fm->kind, whatever the client speaks;
 * NULL: it is to be created). *ret_obj, in the form of fm->kind, has
 * managedFields set and is yet to be defaulted. */
struct meta_v1_status *field_manager_apply(const struct field_manager *fm, const void *live,
                                           const struct json *config, bool force, void **ret_obj);

/* Gives times back when nothing else differs between two versions of an object. */
void field_manager_keep_times(const struct api_kind *kind, const void *live, void *obj);

/* --- /scale: the owners of replicas, as a Scale shows them, and back ----------------- */
void field_manager_to_scale(struct arena *a, const struct resource *res,
                            const struct meta_v1_object_meta *parent,
                            struct meta_v1_object_meta *scale);
void field_manager_from_scale(struct arena *a, const struct resource *res,
                              const struct meta_v1_object_meta *scale,
                              struct meta_v1_object_meta *parent);

#endif
