/* policy_params.c - the parameters of a policy's binding. */
#include "apiserver/admission/policy_params.h"

#include "api/admissionregistration_v1.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/registry.h"
#include "lib/api/scheme.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "raftstore/store.h"

enum { PARAMS_MAX = 1000 };

const struct resource *policy_param_resource(const struct admissionregistration_v1_param_kind *k)
{
    const struct api_kind *kind = api_kind_by_api_version(k->api_version, k->kind);
    struct str group, version;
    size_t pos = 0;
    if (kind != NULL && kind->resource != NULL)
        return registry_find(str_of(kind->group), str_of(kind->version), str_of(kind->resource));
    if (!str_cut(k->api_version, '/', &group, &version))
        return NULL;
    for (const struct resource *r; (r = registry_next(group, version, &pos)) != NULL;)
        if (r->custom != NULL && str_eqc(k->kind, r->kind->kind))
            return r;
    return NULL;
}

static const void *find_one(const struct admission *adm, const struct resource *r, struct str ns,
                            struct str name)
{
    struct arena *a = adm->ctx->arena;
    const struct resource *w = registry_worked_on(r);
    void *obj;
    if (str_find(name, '/', 0) >= 0 || str_find(ns, '/', 0) >= 0)
        return NULL;
    const struct kv *kv = store_view_get(adm->ctx->view, registry_key(a, w, ns, name), 0);
    return kv != NULL && stored_decode(a, w, stored_value(kv), kv->mod_rev, &obj, NULL) == 0 ? obj
                                                                                             : NULL;
}

static struct json *shown(const struct admission *adm, const struct resource *r, const void *obj)
{
    struct admission of = *adm;
    of.kind = NULL;
    of.res = registry_worked_on(r);
    return policy_object_json(&of, r, obj);
}

static size_t find_all(const struct admission *adm, const struct resource *r, struct str ns,
                       const struct meta_v1_label_selector *selector, struct json **ret)
{
    struct arena *a = adm->ctx->arena;
    struct api_label_selector s;
    struct store_iter it;
    const struct kv *kv;
    size_t count = 0;
    const struct resource *w = registry_worked_on(r);
    struct str from = registry_key(a, w, ns, STR(""));
    struct str end = arena_printf(a, STR_FMT "0", STR_ARG(str_sub(from, 0, from.len - 1)));
    if (api_label_selector_from(a, selector, &s, NULL) != 0 ||
        store_iter_init(&it, adm->ctx->view, from, end, 0) != 0)
        return 0;
    while (count < PARAMS_MAX && (kv = store_iter_next(&it)) != NULL) {
        void *obj;
        if (stored_decode(a, w, stored_value(kv), kv->mod_rev, &obj, NULL) != 0)
            continue;
        const struct meta_v1_object_meta *m = api_meta_of(w->storage, obj);
        if (api_label_selector_matches(&s, m->labels, m->labels_count))
            ret[count++] = shown(adm, r, obj);
    }
    return count;
}

int policy_params(const struct admission *adm, const struct admissionregistration_v1_param_kind *k,
                  const struct admissionregistration_v1_param_ref *ref, struct json ***ret,
                  struct str *ret_error)
{
    struct arena *a = adm->ctx->arena;
    *ret = ARENA_ARRAY(a, struct json *, 1);
    if (k == NULL || ref == NULL)
        return 1; /* params is null. */
    const struct resource *r = policy_param_resource(k);
    if (r == NULL) {
        *ret_error = arena_printf(
            a, "failed to find resource referenced by paramKind: '" STR_FMT ", Kind=" STR_FMT "'",
            STR_ARG(k->api_version), STR_ARG(k->kind));
        return -1;
    }
    struct str ns = STR_NULL;
    if (r->kind->namespaced) {
        ns = ref->namespace.len != 0 ? ref->namespace : adm->ctx->namespace_;
        if (ns.len == 0) {
            *ret_error = STR("cannot use namespaced paramRef in policy binding that matches "
                             "cluster-scoped resources");
            return -1;
        }
    } else if (ref->namespace.len != 0) {
        *ret_error =
            STR("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
        return -1;
    }
    size_t count = 0;
    if (ref->name.len != 0) {
        const void *obj = find_one(adm, r, ns, ref->name);
        if (obj != NULL)
            (*ret)[count++] = shown(adm, r, obj);
    } else {
        *ret = ARENA_ARRAY(a, struct json *, PARAMS_MAX);
        count = find_all(adm, r, ns, ref->selector, *ret);
    }
    if (count != 0 || !str_eqc(ref->parameter_not_found_action, "Deny"))
        return (int)count;
    *ret_error = STR("no params found for policy binding with `Deny` parameterNotFoundAction");
    return -1;
}
