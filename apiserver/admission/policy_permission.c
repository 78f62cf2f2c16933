/* policy_permission.c - nobody has a policy read what he may not read himself: who
 * names a kind of parameters may get all of them, who binds some may get or list
 * those. */
#include "apiserver/admission/plugins.h"

#include "api/admissionregistration_v1.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/admission/policy_params.h"
#include "apiserver/apiserver.h"
#include "apiserver/authz.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define GROUP "admissionregistration.k8s.io"

typedef const struct admissionregistration_v1_param_kind param_kind;
typedef const struct admissionregistration_v1_param_ref param_ref;

/* As Go prints it: "&{name uid [groups] map[key:[values]]}" */
static struct str shown(struct arena *a, const struct user *u)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "&{" STR_FMT " " STR_FMT " [", STR_ARG(u->name), STR_ARG(u->uid));
    for (size_t i = 0; i < u->group_count; i++)
        buf_printf(&b, "%s" STR_FMT, i != 0 ? " " : "", STR_ARG(u->groups[i]));
    buf_puts(&b, "] map[");
    for (size_t i = 0; i < u->extra_count; i++) {
        buf_printf(&b, "%s" STR_FMT ":[", i != 0 ? " " : "", STR_ARG(u->extra[i].key));
        for (size_t k = 0; k < u->extra[i].count; k++)
            buf_printf(&b, "%s" STR_FMT, k != 0 ? " " : "", STR_ARG(u->extra[i].values[k]));
        buf_puts(&b, "]");
    }
    buf_puts(&b, "]}");
    return arena_str(a, buf_str(&b));
}

/* What is not known stands for all. */
static bool may(const struct admission *adm, param_kind *k, const char *verb, struct str ns,
                struct str name)
{
    struct str reason, version = STR("*"), group = STR("*"), resource = STR("*");
    if (k != NULL) {
        const struct resource *r = policy_param_resource(k);
        if (!str_cut(k->api_version, '/', &group, &version)) {
            group = STR("");
            version = k->api_version;
        }
        if (r != NULL)
            resource = str_of(r->kind->resource);
    }
    struct authz_attributes at = {.user = adm->ctx->user,
                                  .asks = adm->ctx->asks,
                                  .verb = verb,
                                  .resource_request = true,
                                  .group = group,
                                  .version = version,
                                  .resource = resource,
                                  .name = name,
                                  .ns = ns};
    return authz_decide(adm->ctx->server->authz, adm->ctx->arena, &at, false, &reason) ==
           AUTHZ_ALLOW;
}

static bool same_kind(param_kind *x, param_kind *y)
{
    return x != NULL && str_eq(x->api_version, y->api_version) && str_eq(x->kind, y->kind);
}

static void check_kind(const struct admission *adm, param_kind *k, param_kind *old,
                       struct field_errors *errs)
{
    if (k == NULL || same_kind(old, k) || may(adm, k, "get", STR("*"), STR("*")))
        return;
    field_forbidden(errs, PATH(PATH(PATH_ROOT, "spec"), "paramKind"),
                    "user " STR_FMT " must have \"get\" permission on all objects of the "
                    "referenced paramKind (kind=" STR_FMT ", apiVersion=" STR_FMT ")",
                    STR_ARG(shown(errs->arena, adm->ctx->user)), STR_ARG(k->kind),
                    STR_ARG(k->api_version));
}

/* Every time, also when the reference stays: upstream compares by identity. */
static void check_ref(const struct admission *adm, param_ref *ref, struct str policy, bool mutates,
                      struct field_errors *errs)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "paramRef");
    const char *verb = ref != NULL && str_empty(ref->name) ? "list" : "get";
    const void *p = kind_lookup(
        adm->ctx, GROUP, mutates ? "mutatingadmissionpolicies" : "validatingadmissionpolicies",
        STR_NULL, policy);
    param_kind *k = NULL;
    if (p != NULL && mutates)
        k = ((const struct admissionregistration_v1_mutating_admission_policy *)p)->spec.param_kind;
    else if (p != NULL)
        k = ((const struct admissionregistration_v1_validating_admission_policy *)p)
                ->spec.param_kind;
    if (ref == NULL || may(adm, k, verb, ref->namespace, ref->name))
        return;
    struct str user = shown(errs->arena, adm->ctx->user);
    if (p == NULL)
        field_forbidden(errs, path,
                        "unable to get policy " STR_FMT " to determine minimum required "
                        "permissions and user " STR_FMT " does not have \"%s\" permission for all "
                        "groups, versions and resources",
                        STR_ARG(policy), STR_ARG(user), verb);
    else if (k != NULL && policy_param_resource(k) == NULL)
        field_forbidden(errs, path,
                        "unable to resolve paramKind &{" STR_FMT " " STR_FMT "} to determine "
                        "minimum required permissions and user " STR_FMT " does not have \"%s\" "
                        "permission for all groups, versions and resources",
                        STR_ARG(k->api_version), STR_ARG(k->kind), STR_ARG(user), verb);
    else if (mutates) /* Upstream has the two in this order here. */
        field_forbidden(errs, path,
                        "user %s does not have \"" STR_FMT "\" permission on the object "
                        "referenced by paramRef",
                        verb, STR_ARG(user));
    else
        field_forbidden(errs, path,
                        "user " STR_FMT " does not have \"%s\" permission on the object "
                        "referenced by paramRef",
                        STR_ARG(user), verb);
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    struct field_errors errs = {.arena = adm->ctx->arena};
    if (strcmp(adm->res->kind->group, GROUP) != 0 || adm->ctx->server == NULL ||
        user_in_group(adm->ctx->user, GROUP_MASTERS))
        return NULL;
    if (admission_is(adm, GROUP, "validatingadmissionpolicies")) {
        const struct admissionregistration_v1_validating_admission_policy *p = adm->obj,
                                                                          *o = adm->old;
        check_kind(adm, p->spec.param_kind, o != NULL ? o->spec.param_kind : NULL, &errs);
    } else if (admission_is(adm, GROUP, "mutatingadmissionpolicies")) {
        const struct admissionregistration_v1_mutating_admission_policy *p = adm->obj,
                                                                        *o = adm->old;
        check_kind(adm, p->spec.param_kind, o != NULL ? o->spec.param_kind : NULL, &errs);
    } else if (admission_is(adm, GROUP, "validatingadmissionpolicybindings")) {
        const struct admissionregistration_v1_validating_admission_policy_binding *b = adm->obj;
        check_ref(adm, b->spec.param_ref, b->spec.policy_name, false, &errs);
    } else if (admission_is(adm, GROUP, "mutatingadmissionpolicybindings")) {
        const struct admissionregistration_v1_mutating_admission_policy_binding *b = adm->obj;
        check_ref(adm, b->spec.param_ref, b->spec.policy_name, true, &errs);
    }
    if (errs.count == 0)
        return NULL;
    return status_invalid(errs.arena, GROUP, adm->res->storage->kind, policy_object_name(adm),
                          &errs);
}

const struct admission_plugin admission_policy_permission = {
    .name = NULL, /* No plugin upstream either: it cannot be switched off. */
    .ops = ADMIT_WRITES,
    .validate = validate,
};
