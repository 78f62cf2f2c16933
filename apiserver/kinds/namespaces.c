/* namespaces.c - Namespace: labelled with its own name, removed in two steps
 * (finalizers in spec are taken off through /finalize by the controller). */
#include "apiserver/kinds/kinds.h"
#include "apiserver/kinds/pod_check.h"

#include "apiserver/validate.h"
#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#define LABELS_PATH PATH(PATH(PATH_ROOT, "metadata"), "labels")
#define NAME_LABEL "kubernetes.io/metadata.name"

static void put_label(struct arena *a, struct meta_v1_object_meta *m, struct str key,
                      struct str value)
{
    size_t n = m->labels_count, at = 0;
    while (at < n && str_cmp(m->labels[at].key, key) < 0)
        at++;
    if (at < n && str_eq(m->labels[at].key, key)) {
        m->labels[at].value = value;
        return;
    }
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i < at ? i : i + 1] = m->labels[i];
    list[at] = (struct api_str_entry){key, value};
    m->labels = list;
    m->labels_count = n + 1;
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_namespace *n = obj;
    /* A generated name is labelled once it is known: see prepare_create. */
    if (!str_empty(n->metadata.name))
        put_label(ctx->arena, &n->metadata, STR(NAME_LABEL), n->metadata.name);
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_namespace *n = obj;
    put_label(ctx->arena, &n->metadata, STR(NAME_LABEL), n->metadata.name);
    n->status = (struct core_v1_namespace_status){.phase = STR("Active")};
    for (size_t i = 0; i < n->spec.finalizers_count; i++)
        if (str_eqc(n->spec.finalizers[i], "kubernetes"))
            return;
    struct str *list = ARENA_ARRAY(ctx->arena, struct str, n->spec.finalizers_count + 1);
    for (size_t i = 0; i < n->spec.finalizers_count; i++)
        list[i] = n->spec.finalizers[i];
    list[n->spec.finalizers_count++] = STR("kubernetes");
    n->spec.finalizers = list;
}

/* Only /finalize changes the finalizers, only /status the phase. */
static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct core_v1_namespace *n = obj;
    const struct core_v1_namespace *o = old;
    n->spec.finalizers = o->spec.finalizers;
    n->spec.finalizers_count = o->spec.finalizers_count;
    n->status = o->status;
}

static void prepare_finalize(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct core_v1_namespace *n = obj;
    n->status = ((const struct core_v1_namespace *)old)->status;
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct core_v1_namespace *n = obj;
    for (size_t i = 0; i < n->spec.finalizers_count; i++) {
        struct str f = n->spec.finalizers[i];
        const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "finalizers");
        struct api_faults faults = api_check_qualified_name(f);
        if (faults.count != 0)
            field_faults(errs, path, f, faults);
        else if (str_find(f, '/', 0) < 0 && !str_eqc(f, "kubernetes"))
            field_invalid(errs, path, f,
                          "name is neither a standard finalizer name nor is it fully qualified");
    }
    check_isolation_label(errs, LABELS_PATH, &n->metadata);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    check_isolation_label(errs, LABELS_PATH, &((const struct core_v1_namespace *)obj)->metadata);
}

static int validate_delete(const struct kind_ctx *ctx, const void *obj, struct error *err)
{
    UNUSED(ctx);
    struct str name = ((const struct core_v1_namespace *)obj)->metadata.name;
    if (str_eqc(name, "default") || str_eqc(name, "kube-system") || str_eqc(name, "kube-public"))
        return error_set(err, E_FORBIDDEN, "this namespace may not be deleted");
    return 0;
}

/* What is in it goes first: the namespace controller empties spec.finalizers. */
static bool held(const void *obj)
{
    return ((const struct core_v1_namespace *)obj)->spec.finalizers_count != 0;
}

static void mark_deleting(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    ((struct core_v1_namespace *)obj)->status.phase = STR("Terminating");
}

static const struct kind_sub subs[] = {
    {"finalize", prepare_finalize, NULL},
    {0},
};

static struct str get_phase(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const struct core_v1_namespace *)obj)->status.phase;
}

static const struct kind_field fields[] = {{"status.phase", get_phase}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Status", "string", "", "The status of the namespace.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_namespace *n = obj;
    cell_str(r, n->metadata.name);
    cell_str(r, n->status.phase);
    cell_age(r, &n->metadata.creation_timestamp);
}

const struct kind_ops kind_namespaces = {
    .group = "",
    .version = "v1",
    .resource = "namespaces",
    .flags = KIND_STATUS | KIND_RETURN_DELETED | KIND_CHECKED_AS_NEW,
    .validate_name = name_dns_label,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .subs = subs,
    .held = held,
    .mark_deleting = mark_deleting,
    .fields = fields,
    .validate_delete = validate_delete,
    .columns = columns,
    .row = row,
};
