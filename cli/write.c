/* write.c - `trireme create`, `apply` and `delete`. */
#include "cli/objects.h"
#include "cli/verbs.h"

#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/client/sync.h"

#include <stdio.h>
#include <string.h>

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

struct write {
    struct objects objects;
    struct flag_list files;
    bool ignore_not_found;
    bool force;
    int64_t grace_s;
    unsigned failed;
};

/* Where the object goes: its own namespace, or the one that applies. */
static int object_namespace(const struct write *w, const struct json *j, const struct api_kind *k,
                            struct str *ret, struct error *err)
{
    struct str own = json_get_str(json_getc(j, "metadata"), "namespace");
    *ret = !k->namespaced ? STR_NULL : str_empty(own) ? w->objects.namespace_name : own;
    if (k->namespaced && w->objects.namespace_flag != NULL && !str_empty(own) &&
        !str_eqc(own, w->objects.namespace_flag))
        return error_set(
            err, E_INVALID,
            "the namespace from the provided object \"" STR_FMT
            "\" does not match the namespace \"%s\". You must pass '--namespace=" STR_FMT
            "' to perform this operation.",
            STR_ARG(own), w->objects.namespace_flag, STR_ARG(own));
    return 0;
}

static int decode(struct arena *a, const struct json *j, const struct api_kind *k, void **ret,
                  struct error *err)
{
    struct api_warnings warnings = {0};
    *ret = api_msg_new(a, k->msg);
    int rc = api_json_decode_tree(a, k->msg, j, API_STRICT, &warnings, *ret, err);
    if (rc != 0)
        error_prefix(err, "%s", k->kind);
    return rc;
}

static int send_create(struct arena *a, struct write *w, const struct json *j,
                       const struct api_kind *k, struct error *err)
{
    struct str ns;
    void *msg = NULL;
    struct api_object *made = NULL;
    int rc = object_namespace(w, j, k, &ns, err);
    if (rc == 0)
        rc = decode(a, j, k, &msg, err);
    if (rc == 0)
        rc = sync_create(w->objects.client, k, ns, msg, &made, err);
    if (rc == 0)
        printf(STR_FMT " created\n", STR_ARG(objects_label(a, k, api_object_meta(made)->name)));
    api_object_unref(made);
    return rc;
}

static int on_create(struct arena *a, const struct json *j, const struct api_kind *k, void *arg,
                     struct error *err)
{
    struct write *w = arg;
    if (send_create(a, w, j, k, err) != 0) {
        w->failed++;
        verb_fail(err);
    }
    return 0;
}

/* The object as it will be annotated: without the annotation itself. */
static struct str applied_text(struct arena *a, const struct json *j)
{
    struct json *copy = json_clone(a, j);
    struct json *meta = json_getc(copy, "metadata");
    struct json *annotations = json_getc(meta, "annotations");
    if (annotations != NULL)
        json_remove(annotations, STR(LAST_APPLIED));
    else if (meta != NULL)
        json_setc(a, meta, "annotations", json_object(a));
    AUTO_BUF b = BUF_INIT;
    json_write(copy, true, &b);
    buf_putc(&b, '\n');
    return arena_str(a, buf_str(&b));
}

static struct json *annotated(struct arena *a, const struct json *j)
{
    struct json *copy = json_clone(a, j);
    struct json *meta = json_getc(copy, "metadata");
    struct json *annotations = json_getc(meta, "annotations");
    if (annotations == NULL) {
        annotations = json_object(a);
        json_setc(a, meta, "annotations", annotations);
    }
    json_setc(a, annotations, LAST_APPLIED, json_string(a, applied_text(a, j)));
    return copy;
}

static int patch_live(struct arena *a, struct write *w, const struct json *j,
                      const struct api_kind *k, struct str ns, const struct api_object *live,
                      struct error *err)
{
    struct meta_v1_object_meta *meta = api_object_meta(live);
    const struct str *text =
        api_str_map_get(meta->annotations, meta->annotations_count, STR(LAST_APPLIED));
    struct json *last = NULL;
    if (text == NULL)
        fprintf(stderr,
                "Warning: resource %s/" STR_FMT " is missing the " LAST_APPLIED
                " annotation which is required by trireme apply. The missing annotation will be "
                "patched "
                "automatically.\n",
                k->resource, STR_ARG(meta->name));
    else if (json_parse(a, *text, &last, err) != 0)
        return error_prefix(err, "annotation " LAST_APPLIED);
    struct json *next = annotated(a, j);
    struct json *patch = objects_apply_patch(a, k, last, next);
    AUTO_BUF body = BUF_INIT;
    json_write(patch, false, &body);
    struct sync_answer answer = {0};
    int rc = sync_call(w->objects.client,
                       &(struct client_call){.verb = CLIENT_PATCH,
                                             .kind = k,
                                             .namespace_name = ns,
                                             .name = meta->name,
                                             .patch_type = CLIENT_PATCH_STRATEGIC,
                                             .raw_body = buf_str(&body)},
                       &answer, err);
    if (rc == 0) {
        bool same =
            answer.object != NULL &&
            str_eq(api_object_meta(answer.object)->resource_version, meta->resource_version);
        printf(STR_FMT " %s\n", STR_ARG(objects_label(a, k, meta->name)),
               same ? "unchanged" : "configured");
    }
    sync_answer_done(&answer);
    return rc;
}

static int send_apply(struct arena *a, struct write *w, const struct json *j,
                      const struct api_kind *k, struct error *err)
{
    struct str ns, name = json_get_str(json_getc(j, "metadata"), "name");
    void *msg = NULL;
    int rc = object_namespace(w, j, k, &ns, err);
    if (rc == 0)
        rc = decode(a, j, k, &msg, err); /* Wrong fields are told before anything is sent. */
    if (rc == 0 && str_empty(name))
        rc = error_set(err, E_INVALID, "%s: metadata.name: Required value: apply needs a name",
                       k->kind);
    if (rc != 0)
        return rc;
    struct api_object *live = NULL;
    rc = sync_get(w->objects.client, k, ns, name, &live, err);
    if (rc == 0)
        rc = patch_live(a, w, j, k, ns, live, err);
    else if (rc == E_NOT_FOUND)
        rc = send_create(a, w, annotated(a, j), k, err);
    api_object_unref(live);
    return rc;
}

static int on_apply(struct arena *a, const struct json *j, const struct api_kind *k, void *arg,
                    struct error *err)
{
    struct write *w = arg;
    if (send_apply(a, w, j, k, err) != 0) {
        w->failed++;
        verb_fail(err);
    }
    return 0;
}

static int send_delete(struct arena *a, struct write *w, const struct api_kind *k, struct str ns,
                       struct str name, struct error *err)
{
    int rc = sync_call(w->objects.client,
                       &(struct client_call){.verb = CLIENT_DELETE,
                                             .kind = k,
                                             .namespace_name = ns,
                                             .name = name,
                                             .propagation = CLIENT_PROPAGATE_BACKGROUND,
                                             .grace_period_s = w->grace_s,
                                             .has_grace_period = w->grace_s >= 0},
                       NULL, err);
    if (rc == E_NOT_FOUND && w->ignore_not_found)
        return 0;
    if (rc == 0)
        printf("%s%s%s \"" STR_FMT "\" deleted\n", k->singular, k->group[0] != '\0' ? "." : "",
               k->group, STR_ARG(name));
    UNUSED(a);
    return rc;
}

static int on_delete(struct arena *a, const struct json *j, const struct api_kind *k, void *arg,
                     struct error *err)
{
    struct write *w = arg;
    struct str ns, name = json_get_str(json_getc(j, "metadata"), "name");
    int rc = object_namespace(w, j, k, &ns, err);
    if (rc == 0)
        rc = send_delete(a, w, k, ns, name, err);
    if (rc != 0) {
        w->failed++;
        verb_fail(err);
    }
    return 0;
}

/* KIND NAME..., KIND/NAME... */
static int delete_named(struct arena *a, struct write *w, const char *const *args, size_t count,
                        struct error *err)
{
    const struct api_kind *k = NULL;
    bool slash = str_find(str_of(args[0]), '/', 0) >= 0;
    int rc = slash ? 0 : objects_kind(str_of(args[0]), &k, err);
    if (rc == 0 && !slash && count == 1)
        return error_set(err, E_USAGE, "resource(s) were provided, but no name was specified");
    for (size_t i = slash ? 0 : 1; rc == 0 && i < count; i++) {
        struct str kind, name = str_of(args[i]);
        if (slash) {
            str_cut(str_of(args[i]), '/', &kind, &name);
            rc = objects_kind(kind, &k, err);
        }
        if (rc == 0)
            rc = send_delete(a, w, k, k->namespaced ? w->objects.namespace_name : STR_NULL, name,
                             err);
    }
    return rc;
}

struct counted {
    objects_fn *fn;
    void *arg;
    size_t count;
};

static int on_counted(struct arena *a, const struct json *j, const struct api_kind *k, void *arg,
                      struct error *err)
{
    struct counted *c = arg;
    c->count++;
    return c->fn(a, j, k, c->arg, err);
}

static int run(int argc, char **argv, const char *usage, objects_fn *fn)
{
    AUTO_ARENA *a = arena_new(0);
    struct write w = {.grace_s = -1};
    bool is_delete = fn == on_delete;
    struct flag_set *flags = flag_set_new(usage);
    objects_register_flags(&w.objects, flags);
    flag_strings(flags, &w.files, "filename,f",
                 "`Files` or folders of objects; - is standard input.");
    if (is_delete) {
        flag_int(flags, &w.grace_s, "grace-period",
                 "`Seconds` that pods get to end; -1 is their own.");
        flag_bool(flags, &w.ignore_not_found, "ignore-not-found",
                  "What is gone already is no error.");
        flag_bool(flags, &w.force, "force", "With --grace-period=0: do not wait for the node.");
    }
    int exit_code = 0;
    if (verb_flags(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        size_t count = 0;
        const char *const *args = flag_set_args(flags, &count);
        int rc = 0;
        if (w.files.count == 0 && !(is_delete && count > 0))
            rc = error_set(&err, E_USAGE, "%s; see --help",
                           is_delete ? "want -f FILE, or KIND NAME" : "want -f FILE");
        if (rc == 0)
            rc = objects_connect(a, &w.objects, &err);
        struct counted counted = {.fn = fn, .arg = &w};
        for (size_t i = 0; rc == 0 && i < w.files.count; i++)
            rc = objects_each_in_file(a, w.files.items[i], on_counted, &counted, &err);
        if (rc == 0 && w.files.count != 0 && counted.count == 0)
            rc = error_set(&err, E_NOT_FOUND, "no objects passed to %s", argv[0]);
        if (rc == 0 && is_delete && count > 0)
            rc = delete_named(a, &w, args, count, &err);
        exit_code = rc != 0 ? verb_fail(&err) : w.failed != 0;
    }
    objects_done(&w.objects);
    flag_set_free(flags);
    return exit_code;
}

int verb_create(int argc, char **argv)
{
    return run(argc, argv, "trireme create -f FILE [flags]", on_create);
}

int verb_apply(int argc, char **argv)
{
    return run(argc, argv, "trireme apply -f FILE [flags]", on_apply);
}

int verb_delete(int argc, char **argv)
{
    return run(argc, argv, "trireme delete -f FILE | KIND NAME... [flags]", on_delete);
}
