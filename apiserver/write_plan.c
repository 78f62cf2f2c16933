/* write_plan.c - from objects to transactions: metadata, the kind's rules,
 * admission, encoding. Pure but for the clock and randomness in the context. */
#include "api/meta_v1.h"
#include "apiserver/admission.h"
#include "apiserver/admission/webhook.h"
#include "apiserver/ask.h"
#include "apiserver/defaults.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/field_manager.h"
#include "apiserver/validate.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "raftstore/store.h"

#include <inttypes.h>

#define NAME_SUFFIX_CHARS 5u
#define GENERATED_NAME_BASE_MAX 58u /* So that the whole fits in 63 bytes. */
#define NAME_MAX_TRIES 8u

static const struct api_field *field(const struct resource *r, const char *json_name)
{
    return api_field_by_json(r->storage->msg, str_of(json_name));
}

/* No vowels, so that no words appear; no 0, 1 and 3, which look like letters. */
static struct str generate_name(const struct kind_ctx *ctx, struct str base)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    char suffix[NAME_SUFFIX_CHARS];
    for (size_t i = 0; i < sizeof(suffix); i++)
        suffix[i] = alphabet[env_random_below(ctx->env, sizeof(alphabet) - 1)];
    return arena_printf(ctx->arena, STR_FMT "%.*s",
                        STR_ARG(str_sub(base, 0, GENERATED_NAME_BASE_MAX)), (int)sizeof(suffix),
                        suffix);
}

static struct meta_v1_time now_of(const struct kind_ctx *ctx)
{
    return (struct meta_v1_time){.seconds = ctx->now_ns / 1000000000};
}

static void apply_defaults(struct write *w, void *obj)
{
    defaults_apply(w->req->arena, w->res->storage->msg, obj);
    if (w->res->ops->default_ != NULL)
        w->res->ops->default_(&w->ctx, obj);
}

/* kind's group for messages: "Deployment.apps". */
static struct meta_v1_status *refuse(struct write *w, struct str name, struct field_errors *errs)
{
    return errs->count == 0 ? NULL : write_invalid(w, name, errs);
}

static struct meta_v1_status *run_allocate(struct write *w, void *obj, const void *old,
                                           struct str name)
{
    struct field_errors errs = {.arena = w->req->arena};
    struct error err = {0};
    if (w->res->ops->allocate == NULL)
        return NULL;
    int code = w->res->ops->allocate(&w->ctx, obj, old, &w->txn, &errs, &err);
    if (errs.count != 0)
        return refuse(w, name, &errs);
    if (code == E_FORBIDDEN)
        return status_forbidden(w->req->arena, w->res->gr, name, "%s", error_message(&err));
    return code == 0 ? NULL : status_internal(w->req->arena, "%s", error_message(&err));
}

/* The answer shows the object as it will be read back: storage does not tell an
 * empty list from none. */
static struct str encode_value(struct write *w, void *obj)
{
    AUTO_BUF b = BUF_INIT;
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    struct str rv = m->resource_version;
    m->resource_version = STR_NULL; /* The store's revision is the version. */
    m->self_link = STR_NULL;
    stored_encode(w->res, obj, &b);
    m->resource_version = rv;
    api_msg_drop_empty(w->res->storage->msg, obj);
    return arena_str(w->req->arena, buf_str(&b));
}

/* Who owns which fields, before admission and the kind's rules: what those set
 * is nobody's. */
static void track_fields(struct write *w, const void *old, void *obj)
{
    const struct meta_v1_object_meta *om = old != NULL ? api_meta_of(w->res->storage, old) : NULL;
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    switch (w->fields) {
    case WRITE_FIELDS_UPDATE: {
        if (old == NULL && (w->res->ops->flags & KIND_UNMANAGED) != 0)
            break;
        struct field_manager fm = field_manager_of(w->req, w->res->storage, w->ctx.now_ns);
        field_manager_update(&fm, old, obj);
        return;
    }
    case WRITE_FIELDS_SET:
        return;
    case WRITE_FIELDS_KEEP:
        break;
    }
    m->managed_fields = om != NULL ? om->managed_fields : NULL;
    m->managed_fields_count = om != NULL ? om->managed_fields_count : 0;
}

static bool same_owner(const struct meta_v1_owner_reference *x,
                       const struct meta_v1_owner_reference *y)
{
    return api_msg_equal(&meta_v1_owner_reference_msg, x, y);
}

/* Each owner counts once. A patch is looked at only after admission. */
static void drop_double_owners(struct write *w, struct meta_v1_object_meta *m, bool admitted)
{
    size_t n = 0;
    AUTO_BUF uids = BUF_INIT;
    for (size_t i = 0; i < m->owner_references_count; i++) {
        const struct meta_v1_owner_reference *ref = &m->owner_references[i];
        bool seen = false;
        for (size_t j = 0; j < n && !seen; j++)
            seen = same_owner(&m->owner_references[j], ref);
        if (!seen)
            m->owner_references[n++] = *ref;
        else
            buf_printf(&uids, "%s" STR_FMT, uids.len == 0 ? "" : ", ", STR_ARG(ref->uid));
    }
    m->owner_references_count = n;
    if (uids.len != 0)
        kind_warn(&w->ctx,
                  ".metadata.ownerReferences contains duplicate entries%s; API server dedups owner "
                  "references in 1.20+, and may reject such requests as early as 1.24; please fix "
                  "your requests; duplicate UID(s) observed: " STR_FMT,
                  admitted ? " after mutating admission happens" : "", STR_ARG(buf_str(&uids)));
}

static bool is_patch(const struct write *w)
{
    return strcmp(w->req->info.verb, "patch") == 0;
}

/* --- create ---------------------------------------------------------------------------- */
static void fill_new_metadata(struct write *w, struct meta_v1_object_meta *m)
{
    if (w->new_uid.len == 0) {
        char uid[37];
        env_uuid(w->ctx.env, uid);
        w->new_uid = arena_strc(w->req->arena, uid);
    }
    m->uid = w->new_uid;
    m->creation_timestamp = now_of(&w->ctx);
    m->deletion_timestamp = NULL;
    m->has_deletion_grace_period_seconds = false;
    m->deletion_grace_period_seconds = 0;
    m->self_link = STR_NULL;
    if (m->name.len != 0 || m->generate_name.len == 0)
        return;
    if (w->new_name.len == 0)
        w->new_name = generate_name(&w->ctx, m->generate_name);
    m->name = w->new_name;
}

/* Metadata as any object's, and as upstream's own kinds have it. */
static void validate_metadata(struct write *w, const struct meta_v1_object_meta *m, bool own,
                              struct field_errors *errs)
{
    const struct api_kind *k = w->res->kind;
    const struct field_path *path = PATH(PATH_ROOT, "metadata");
    validate_object_meta(errs, path, m, k->namespaced, w->res->ops->validate_name);
    if (own && k->msg->special != API_CUSTOM && strcmp(k->group, "apiextensions.k8s.io") != 0 &&
        strcmp(k->group, "apiregistration.k8s.io") != 0)
        validate_finalizer_names(errs, path, m);
}

static void prepare_create(struct write *w, void *obj)
{
    const struct kind_ops *ops = w->res->ops;
    const struct api_field *status = field(w->res, "status");
    if (status != NULL && w->res->status && (ops->flags & KIND_STATUS) != 0)
        msg_field_clear(status, obj);
    if ((ops->flags & KIND_GENERATION) != 0)
        api_meta_of(w->res->storage, obj)->generation = 1;
    if (ops->prepare_create != NULL)
        ops->prepare_create(&w->ctx, obj);
}

struct meta_v1_status *write_plan_create(struct write *w, void *obj)
{
    struct arena *a = w->req->arena;
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    struct field_errors errs = {.arena = a};
    struct admission adm = {
        .ctx = &w->ctx, .op = ADMIT_CREATE, .res = w->res, .subresource = "", .obj = obj};
    bool generated = m->name.len == 0 && m->generate_name.len != 0;
    apply_defaults(w, obj);
    fill_new_metadata(w, m);
    track_fields(w, NULL, obj);
    w->ctx.name = m->name;
    if (!is_patch(w))
        drop_double_owners(w, m, false);
    struct meta_v1_status *s = admission_mutate(&adm);
    if (s != NULL)
        return s;
    drop_double_owners(w, m, true);
    w->ctx.name = m->name; /* Webhooks were told the first one that was made up. */
    prepare_create(w, obj);
    validate_metadata(w, m, true, &errs);
    if (w->res->ops->validate_create != NULL)
        w->res->ops->validate_create(&w->ctx, obj, &errs);
    if (w->work.wanted)
        return &webhook_wait;
    s = refuse(w, m->name, &errs);
    if (s == NULL && w->res->ops->warn != NULL)
        w->res->ops->warn(&w->ctx, obj, NULL);
    if (s == NULL)
        s = admission_validate(&adm);
    if (s != NULL)
        return s;
    if (m->resource_version.len != 0 && !str_eqc(m->resource_version, "0"))
        return status_plain(a, "resourceVersion should not be set on objects to be created");
    w->key = registry_key(a, w->res, w->ns, m->name);
    for (unsigned i = 0; store_view_get(w->view, w->key, 0) != NULL; i++) {
        if (!generated || i >= NAME_MAX_TRIES)
            return status_exists(a, w->res->gr, m->name);
        m->name = w->new_name = generate_name(&w->ctx, m->generate_name);
        w->key = registry_key(a, w->res, w->ns, m->name);
    }
    w->name = m->name;
    s = run_allocate(w, obj, NULL, m->name);
    if (s != NULL)
        return s;
    w->obj = obj;
    w->http_status = 201;
    txn_build_expect(&w->txn, w->key, 0);
    txn_build_put(&w->txn, w->key, encode_value(w, obj));
    admission_commit(&adm, &w->txn);
    return NULL;
}

struct meta_v1_status *write_admit(struct write *w, enum admit_op op, const char *subresource,
                                   const struct api_kind *kind, void *obj, const void *old)
{
    struct admission adm = {.ctx = &w->ctx,
                            .op = op,
                            .res = w->res,
                            .subresource = subresource,
                            .kind = kind,
                            .obj = obj,
                            .old = old};
    struct meta_v1_status *s = admission_mutate(&adm);
    w->admitted = true;
    return s != NULL ? s : admission_validate(&adm);
}

/* --- update ---------------------------------------------------------------------------- */
static struct meta_v1_status *check_version(struct write *w, const struct kv *kv,
                                            struct meta_v1_object_meta *m)
{
    struct arena *a = w->req->arena;
    int64_t rv;
    struct meta_v1_status *s = write_parse_rv(a, m->resource_version, &rv);
    if (s != NULL)
        return s;
    if (rv == 0 && (w->res->ops->flags & KIND_NO_UNCONDITIONAL_UPDATE) != 0) {
        struct field_errors errs = {.arena = a};
        field_invalid_raw(&errs, PATH(PATH(PATH_ROOT, "metadata"), "resourceVersion"), STR("0"),
                          "must be specified for an update");
        /* Upstream names the resource here, not the kind. */
        return status_invalid(a, w->res->storage->group, w->res->storage->resource, m->name, &errs);
    }
    if (rv != 0 && rv != kv->mod_rev)
        return status_conflict(a, w->res->gr, w->name,
                               "the object has been modified; please apply your changes to the "
                               "latest version and try again");
    return NULL;
}

/* What a client may leave out or may not change by itself. */
static void carry_metadata(struct meta_v1_object_meta *m, const struct meta_v1_object_meta *old)
{
    m->resource_version = old->resource_version;
    m->generation = old->generation;
    m->self_link = STR_NULL;
    if (m->uid.len == 0)
        m->uid = old->uid;
    m->creation_timestamp = old->creation_timestamp;
    if (m->generate_name.len == 0)
        m->generate_name = old->generate_name;
    if (old->deletion_timestamp != NULL)
        m->deletion_timestamp = old->deletion_timestamp;
    if (old->has_deletion_grace_period_seconds && !m->has_deletion_grace_period_seconds) {
        m->has_deletion_grace_period_seconds = true;
        m->deletion_grace_period_seconds = old->deletion_grace_period_seconds;
    }
}

/* Everything but metadata and status comes from the old object. */
static void keep_all_but_status(const struct resource *r, void *obj, const void *old)
{
    for (uint16_t i = 0; i < r->storage->msg->field_count; i++) {
        const struct api_field *f = &r->storage->msg->fields[i];
        if (f->json_name != NULL &&
            (strcmp(f->json_name, "status") == 0 || strcmp(f->json_name, "metadata") == 0))
            continue;
        msg_field_copy(f, obj, old);
    }
}

/* Managed fields move on: they tell who wrote the status. */
static void keep_metadata(struct meta_v1_object_meta *m, const struct meta_v1_object_meta *old)
{
    m->deletion_timestamp = old->deletion_timestamp;
    m->generation = old->generation;
    m->labels = old->labels;
    m->labels_count = old->labels_count;
    m->annotations = old->annotations;
    m->annotations_count = old->annotations_count;
    m->finalizers = old->finalizers;
    m->finalizers_count = old->finalizers_count;
    m->owner_references = old->owner_references;
    m->owner_references_count = old->owner_references_count;
}

static const struct kind_sub *find_sub(const struct kind_ops *ops, const char *name)
{
    for (const struct kind_sub *s = ops->subs; s != NULL && s->name != NULL; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static bool spec_changed(const struct resource *r, const void *obj, const void *old)
{
    const struct api_field *f = field(r, "spec");
    if (f == NULL || f->type != API_MESSAGE || f->label != API_SINGULAR)
        return false;
    const char *x = (const char *)obj + f->offset, *y = (const char *)old + f->offset;
    if ((f->flags & API_F_POINTER) != 0) {
        x = *(const char *const *)(const void *)x;
        y = *(const char *const *)(const void *)y;
        if (x == NULL || y == NULL)
            return x != y;
    }
    return !api_msg_equal(f->msg, x, y);
}

static void prepare_update(struct write *w, void *obj, const void *old, const char *sub,
                           const struct kind_sub *rules)
{
    const struct kind_ops *ops = w->res->ops;
    const struct api_field *status = field(w->res, "status");
    if (sub != NULL) {
        if (rules != NULL && rules->prepare_update != NULL)
            rules->prepare_update(&w->ctx, obj, old);
        else if (strcmp(sub, "status") == 0)
            keep_all_but_status(w->res, obj, old);
        if (strcmp(sub, "status") == 0 && (ops->flags & KIND_STATUS_ALONE) != 0)
            keep_metadata(api_meta_of(w->res->storage, obj), api_meta_of(w->res->storage, old));
        return;
    }
    if (status != NULL && w->res->status && (ops->flags & KIND_STATUS) != 0)
        msg_field_copy(status, obj, old);
    if (ops->prepare_update != NULL)
        ops->prepare_update(&w->ctx, obj, old);
}

static void validate_update(struct write *w, const void *obj, const void *old, const char *sub,
                            const struct kind_sub *rules, struct field_errors *errs)
{
    const struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj),
                                     *om = api_meta_of(w->res->storage, old);
    const struct field_path *path = PATH(PATH_ROOT, "metadata");
    validate_metadata(w, m, false, errs);
    validate_object_meta_update(errs, path, m, om);
    /* Upstream checks once for all kinds and once more in each kind's rules: an
     * error counts twice among the causes, or more often. */
    validate_object_meta_update(errs, path, m, om);
    if (sub == NULL && (w->res->ops->flags & KIND_CHECKED_AS_NEW) != 0)
        validate_metadata(w, m, true, errs);
    if (sub != NULL) {
        if (rules != NULL && rules->validate_update != NULL)
            rules->validate_update(&w->ctx, obj, old, errs);
    } else if (w->res->ops->validate_update != NULL) {
        w->res->ops->validate_update(&w->ctx, obj, old, errs);
    }
}

/* A deleted object goes when the last thing that held it is gone. */
static bool removed_by_update(const struct write *w, const void *obj)
{
    const struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    if (m->deletion_timestamp == NULL || m->finalizers_count != 0)
        return false;
    if (m->has_deletion_grace_period_seconds && m->deletion_grace_period_seconds != 0)
        return false;
    return w->res->ops->held == NULL || !w->res->ops->held(obj);
}

struct meta_v1_status *write_plan_update(struct write *w, const struct kv *kv, const void *old,
                                         void *obj, const char *sub)
{
    struct arena *a = w->req->arena;
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    const struct meta_v1_object_meta *om = api_meta_of(w->res->storage, old);
    const struct kind_sub *rules = sub != NULL ? find_sub(w->res->ops, sub) : NULL;
    struct field_errors errs = {.arena = a};
    struct admission adm = {.ctx = &w->ctx,
                            .op = ADMIT_UPDATE,
                            .res = w->res,
                            .subresource = sub != NULL ? sub : "",
                            .obj = obj,
                            .old = old};
    struct meta_v1_status *s = check_version(w, kv, m);
    if (s != NULL)
        return s;
    apply_defaults(w, obj);
    track_fields(w, old, obj);
    if (!is_patch(w))
        drop_double_owners(w, m, false);
    s = w->admitted ? NULL : admission_mutate(&adm);
    if (s != NULL)
        return s;
    drop_double_owners(w, m, true);
    carry_metadata(m, om);
    prepare_update(w, obj, old, sub, rules);
    field_manager_keep_times(w->res->storage, old, obj);
    /* A binding is the system's act, not a change of what is wanted. */
    bool by_user = sub == NULL || strcmp(sub, "binding") != 0;
    if ((w->res->ops->flags & KIND_GENERATION) != 0 && by_user && spec_changed(w->res, obj, old))
        m->generation = om->generation + 1;
    validate_update(w, obj, old, sub, rules, &errs);
    /* Rules that asked what somebody may do did not say anything yet. */
    if (w->work.wanted || asks_waiting(w->asks))
        return &webhook_wait;
    s = refuse(w, m->name, &errs);
    void (*warn)(const struct kind_ctx *, const void *, const void *) =
        sub == NULL     ? w->res->ops->warn
        : rules != NULL ? rules->warn
                        : NULL;
    if (s == NULL && warn != NULL)
        warn(&w->ctx, obj, old);
    if (s == NULL && !w->admitted)
        s = admission_validate(&adm);
    if (s != NULL)
        return s;
    w->obj = obj;
    w->http_status = 200;
    if (removed_by_update(w, obj)) {
        s = run_allocate(w, NULL, old, m->name);
        txn_build_expect(&w->txn, w->key, kv->mod_rev);
        txn_build_delete(&w->txn, w->key);
        return s;
    }
    s = run_allocate(w, obj, old, m->name);
    if (s != NULL)
        return s;
    struct str value = encode_value(w, obj);
    if (str_eq(value, stored_value(kv)) && !encryption_is_stale(kv)) {
        w->txn.op_count = 0; /* Nothing changes: no write, no event. */
        return NULL;
    }
    txn_build_expect(&w->txn, w->key, kv->mod_rev);
    txn_build_put(&w->txn, w->key, value);
    admission_commit(&adm, &w->txn);
    return NULL;
}
