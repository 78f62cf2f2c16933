/* scale.c - /scale: any kind with replicas as an autoscaling/v1 Scale. */
#include "api/autoscaling_v1.h"
#include "apiserver/body.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/field_manager.h"
#include "apiserver/patch_document.h"
#include "apiserver/subresource.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "raftstore/store.h"

#include <inttypes.h>

static const struct api_kind *scale_kind(void)
{
    return api_kind_by_gvk(STR("autoscaling"), STR("v1"), STR("Scale"));
}

static void row(struct table_row *r, const void *obj)
{
    const struct autoscaling_v1_scale *s = obj;
    cell_str(r, s->metadata.name);
    cell_int(r, s->spec.replicas);
    cell_int(r, s->status.replicas);
    cell_age(r, &s->metadata.creation_timestamp);
}

const struct resource *scale_table(void)
{
    static const struct table_column columns[] = {
        {"Name", "string", "name", "", 0},
        {"Desired", "integer", "", "", 0},
        {"Available", "integer", "", "", 0},
        {"Age", "string", "", "", 0},
        {0},
    };
    static const struct kind_ops ops = {.columns = columns, .row = row};
    static _Thread_local struct resource table;
    table = (struct resource){.kind = scale_kind(), .storage = scale_kind(), .ops = &ops};
    return &table;
}

static struct autoscaling_v1_scale *scale_of(struct arena *a, const struct resource *res,
                                             const void *obj)
{
    struct autoscaling_v1_scale *s = ARENA_NEW(a, struct autoscaling_v1_scale);
    const struct meta_v1_object_meta *m = api_meta_of(res->storage, obj);
    struct kind_scale k = {0};
    if (res->ops->scale_get == NULL || !res->ops->scale_get(a, obj, &k))
        return NULL;
    s->metadata.name = m->name;
    s->metadata.namespace = m->namespace;
    s->metadata.uid = m->uid;
    s->metadata.resource_version = m->resource_version;
    s->metadata.creation_timestamp = m->creation_timestamp;
    s->spec.replicas = k.spec_replicas;
    s->status.replicas = k.status_replicas;
    s->status.selector = k.selector;
    return s;
}

static void get(struct req *r)
{
    const struct kv *kv =
        store_view_get(req_view(r), registry_key(r->arena, r->res, r->info.ns, r->info.name), 0);
    void *obj;
    struct error err = {0};
    if (kv == NULL) {
        req_status(r, status_not_found(r->arena, r->res->gr, r->info.name));
        return;
    }
    if (!req_converted(r, &kv, 1, get))
        return;
    conversions_enter(&r->conversions);
    int code = stored_decode(r->arena, r->res, stored_value(kv), kv->mod_rev, &obj, &err);
    conversions_leave();
    struct autoscaling_v1_scale *s = code == 0 ? scale_of(r->arena, r->res, obj) : NULL;
    if (s == NULL)
        req_status(r, status_path_not_found(r->arena));
    else
        req_object(r, 200, scale_kind(), s);
}

static struct field_manager manager_of(const struct write *w)
{
    struct field_manager fm = field_manager_of(w->req, scale_kind(), w->ctx.now_ns);
    fm.res = NULL; /* A Scale has one version, and is not stored as such. */
    fm.api_version = str_of(scale_kind()->api_version);
    return fm;
}

/* The Scale that the request makes of current, with its managedFields. */
static struct meta_v1_status *decode_scale(struct write *w, void *current, void **ret)
{
    struct req *r = w->req;
    struct field_manager fm = manager_of(w);
    struct meta_v1_status *s;
    if (w->arg != NULL)
        return apply_config(w->arg, &fm, current, ret);
    s = strcmp(r->info.verb, "patch") == 0 ? patch_document(r, scale_kind(), current, ret)
                                           : body_decode(r, scale_kind(), ret);
    if (s == NULL)
        field_manager_update(&fm, current, *ret);
    return s;
}

static struct meta_v1_status *new_scale(struct write *w, void *current,
                                        struct autoscaling_v1_scale **ret)
{
    struct req *r = w->req;
    void *msg;
    struct meta_v1_status *s = decode_scale(w, current, &msg);
    if (s != NULL)
        return s;
    *ret = msg;
    s = write_check_names(w, &(*ret)->metadata, false);
    if (s != NULL)
        return s;
    if ((*ret)->spec.replicas < 0) {
        struct field_errors errs = {.arena = r->arena};
        field_invalid_int(&errs, PATH(PATH(PATH_ROOT, "spec"), "replicas"), (*ret)->spec.replicas,
                          "must be greater than or equal to 0");
        return status_invalid(r->arena, "autoscaling", "Scale", w->name, &errs);
    }
    return NULL;
}

static struct meta_v1_status *attempt(struct write *w)
{
    struct req *r = w->req;
    const struct kv *kv;
    void *old;
    struct autoscaling_v1_scale *scale;
    struct meta_v1_status *s = write_load(w, &kv, &old);
    if (s != NULL)
        return s;
    if (kv == NULL)
        return status_not_found(r->arena, w->res->gr, w->name);
    struct autoscaling_v1_scale *current = scale_of(r->arena, w->res, old);
    if (current == NULL)
        return status_path_not_found(r->arena);
    field_manager_to_scale(r->arena, w->res, api_meta_of(w->res->storage, old), &current->metadata);
    s = new_scale(w, current, &scale);
    if (s == NULL)
        s = write_admit(w, ADMIT_UPDATE, "scale", scale_kind(), scale, current);
    if (s != NULL)
        return s;
    void *obj = api_msg_clone(r->arena, w->res->storage->msg, old);
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    m->resource_version = scale->metadata.resource_version;
    if (scale->metadata.uid.len != 0)
        m->uid = scale->metadata.uid;
    w->res->ops->scale_set(r->arena, obj, scale->spec.replicas);
    field_manager_from_scale(r->arena, w->res, &scale->metadata, m);
    return write_plan_update(w, kv, old, obj, NULL);
}

static void done(struct write *w, struct meta_v1_status *refused)
{
    if (refused != NULL)
        req_status(w->req, refused);
    else
        req_object(w->req, w->http_status, scale_kind(), scale_of(w->req->arena, w->res, w->obj));
}

void scale_handle(struct req *r)
{
    struct apply_request *apply = NULL;
    struct meta_v1_status *s;
    if (strcmp(r->info.verb, "get") == 0) {
        req_barrier(r, get);
        return;
    }
    s = strcmp(r->info.verb, "patch") == 0 ? patch_begin(r, &apply)
                                           : body_check_options(r, "UpdateOptions");
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    struct write *w = write_new(r, attempt);
    w->arg = apply;
    w->done = done;
    w->fields = WRITE_FIELDS_SET;
    write_run(w);
}
