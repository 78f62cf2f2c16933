/* objects.h - what the object verbs share: which server, which kinds, which
 * files, and how an object is printed. */
#ifndef CLI_OBJECTS_H
#define CLI_OBJECTS_H

#include "lib/base/str.h"

#include <stdbool.h>

struct api_kind;
struct api_object;
struct arena;
struct buf;
struct error;
struct flag_set;
struct json;
struct sync_client;

/* Flags of every object verb, and the client they lead to. */
struct objects {
    const char *kubeconfig;
    const char *context;
    const char *server;
    const char *namespace_flag;
    bool all_namespaces;
    struct sync_client *client;
    struct str namespace_name; /* What applies: flag, context, "default". */
};
void objects_register_flags(struct objects *o, struct flag_set *flags);
int objects_connect(struct arena *a, struct objects *o, struct error *err);
void objects_done(struct objects *o);

/* "pods", "pod", "po", "Pod", "deployments.apps": E_NOT_FOUND as kubectl words it. */
int objects_kind(struct str word, const struct api_kind **ret, struct error *err);
/* The path of a kind's collection or of one object. */
struct str objects_path(struct arena *a, const struct api_kind *k, struct str namespace_name,
                        struct str name);

/* Every object in a file ("-": standard input), or in the .yaml, .yml and .json
 * files of a folder; List kinds are taken apart. */
typedef int objects_fn(struct arena *a, const struct json *object, const struct api_kind *k,
                       void *arg, struct error *err);
int objects_each_in_file(struct arena *a, const char *path, objects_fn *fn, void *arg,
                         struct error *err);

/* Writes an object as "json" or "yaml". */
int objects_print(struct arena *a, const struct api_object *object, const char *form,
                  struct buf *out, struct error *err);
/* "deployment.apps/web", as kubectl names objects in its messages. */
struct str objects_label(struct arena *a, const struct api_kind *k, struct str name);
/* The patch that takes an object made from `last` (NULL: unknown) to `next`,
 * for a strategic merge: whole next, nulls for members gone, deletions for
 * elements of merged lists that are gone. */
struct json *objects_apply_patch(struct arena *a, const struct api_kind *k, const struct json *last,
                                 const struct json *next);

#endif
