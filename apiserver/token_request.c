/* token_request.c - serviceaccounts/token: a signed token, bound to an
 * audience, a lifetime and maybe an object. */
#include "api/authentication_v1.h"
#include "api/core_v1.h"
#include "apiserver/admission.h"
#include "apiserver/authn.h"
#include "apiserver/body.h"
#include "apiserver/field_manager.h"
#include "apiserver/subresource.h"
#include "apiserver/request.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/net/jwt.h"

#include <inttypes.h>

#define EXPIRATION_MIN_S 600
#define EXPIRATION_MAX_S ((int64_t)1 << 32)
#define EXPIRATION_DEFAULT_S 3600
/* What the service account admission asks for; such tokens live on for clients
 * that never read the file again, and a claim says when they should have. */
#define EXPIRATION_MOUNTED_S (60 * 60 + 7)
#define EXPIRATION_EXTENDED_S (365 * 24 * 60 * 60)

struct token_subject {
    const struct core_v1_service_account *account;
    const struct meta_v1_object_meta *bound; /* NULL: to nothing. */
    const char *claim;                       /* "pod", "secret", "node" */
    const struct meta_v1_object_meta *node;  /* Of a bound pod. */
};

static struct json *reference(struct arena *a, const struct meta_v1_object_meta *m)
{
    struct json *j = json_object(a);
    json_setc(a, j, "name", json_string(a, m->name));
    json_setc(a, j, "uid", json_string(a, m->uid));
    return j;
}

static struct meta_v1_status *validate(struct req *r,
                                       const struct authentication_v1_token_request *t)
{
    struct field_errors errs = {.arena = r->arena};
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    if (t->spec.expiration_seconds < EXPIRATION_MIN_S)
        field_invalid_int(&errs, PATH(spec, "expirationSeconds"), t->spec.expiration_seconds,
                          "may not specify a duration less than 10 minutes");
    if (t->spec.expiration_seconds > EXPIRATION_MAX_S)
        field_invalid_int(&errs, PATH(spec, "expirationSeconds"), t->spec.expiration_seconds,
                          "may not specify a duration larger than 2^32 seconds");
    return errs.count == 0 ? NULL
                           : status_invalid(r->arena, "authentication.k8s.io", "TokenRequest",
                                            t->metadata.name, &errs);
}

static struct meta_v1_status *find_bound(struct req *r, const struct kind_ctx *ctx,
                                         const struct authentication_v1_token_request *t,
                                         struct token_subject *ret)
{
    static const struct {
        const char *kind, *resource, *claim;
        bool namespaced;
    } kinds[] = {{"Pod", "pods", "pod", true},
                 {"Secret", "secrets", "secret", true},
                 {"Node", "nodes", "node", false}};
    const struct authentication_v1_bound_object_reference *ref = t->spec.bound_object_ref;
    if (ref == NULL)
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!str_eqc(ref->kind, kinds[i].kind) ||
            !(ref->api_version.len == 0 || str_eqc(ref->api_version, "v1")))
            continue;
        struct group_resource gr = {STR_NULL, str_of(kinds[i].resource)};
        ret->claim = kinds[i].claim;
        ret->bound = kind_lookup(ctx, "", kinds[i].resource,
                                 kinds[i].namespaced ? r->info.ns : STR_NULL, ref->name);
        if (ret->bound == NULL)
            return status_not_found(r->arena, gr, ref->name);
        if (ref->uid.len != 0 && !str_eq(ref->uid, ret->bound->uid))
            return status_conflict(r->arena, gr, ref->name,
                                   "the UID in the bound object reference (" STR_FMT
                                   ") does not match the UID in record. The object might have been "
                                   "deleted and then recreated",
                                   STR_ARG(ref->uid));
        if (i == 0) {
            const struct core_v1_pod *pod = (const void *)ret->bound;
            if (!str_eq(pod->spec.service_account_name, r->info.name))
                return status_bad_request(r->arena,
                                          "cannot bind token for serviceaccount \"" STR_FMT
                                          "\" to pod running with different serviceaccount name.",
                                          STR_ARG(r->info.name));
            ret->node = pod->spec.node_name.len != 0
                            ? kind_lookup(ctx, "", "nodes", STR_NULL, pod->spec.node_name)
                            : NULL;
        }
        return NULL;
    }
    struct str group, version;
    if (!str_cut(ref->api_version, '/', &group, &version)) {
        version = ref->api_version;
        group = STR_NULL;
    }
    return status_bad_request(
        r->arena, "cannot bind token to object of type " STR_FMT "/" STR_FMT ", Kind=" STR_FMT,
        STR_ARG(group), STR_ARG(version), STR_ARG(ref->kind));
}

static struct str make_claims(struct req *r, const struct authentication_v1_token_request *t,
                              const struct token_subject *s, int64_t now_s, int64_t lifetime_s)
{
    struct arena *a = r->arena;
    struct json *c = json_object(a), *k8s = json_object(a), *aud = json_array(a);
    char jti[37];
    env_uuid(r->server->env, jti);
    for (size_t i = 0; i < t->spec.audiences_count; i++)
        json_append(a, aud, json_string(a, t->spec.audiences[i]));
    json_setc(a, c, "aud", aud);
    json_setc(a, c, "exp", json_int(a, now_s + lifetime_s));
    json_setc(a, c, "iat", json_int(a, now_s));
    json_setc(a, c, "iss", json_string(a, authn_issuer(r->server->authn)));
    json_setc(a, c, "jti", json_string(a, str_of(jti)));
    json_setc(a, k8s, "namespace", json_string(a, r->info.ns));
    if (s->node != NULL)
        json_setc(a, k8s, "node", reference(a, s->node));
    if (s->bound != NULL)
        json_setc(a, k8s, s->claim, reference(a, s->bound));
    json_setc(a, k8s, "serviceaccount", reference(a, &s->account->metadata));
    if (lifetime_s != t->spec.expiration_seconds)
        json_setc(a, k8s, "warnafter", json_int(a, now_s + t->spec.expiration_seconds));
    json_setc(a, c, "kubernetes.io", k8s);
    json_setc(a, c, "nbf", json_int(a, now_s));
    json_setc(a, c, "sub",
              json_stringf(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(r->info.ns),
                           STR_ARG(r->info.name)));
    AUTO_BUF b = BUF_INIT;
    json_write(c, false, &b);
    return arena_str(a, buf_str(&b));
}

static void set_defaults(struct req *r, const struct api_kind *kind,
                         struct authentication_v1_token_request *t)
{
    size_t n;
    const struct str *audiences = authn_audiences(r->server->authn, &n);
    if (!t->spec.has_expiration_seconds) {
        t->spec.has_expiration_seconds = true;
        t->spec.expiration_seconds = EXPIRATION_DEFAULT_S;
    }
    field_manager_create(r, kind, t);
    if (t->spec.audiences_count == 0) {
        t->spec.audiences = arena_memdup(r->arena, audiences, n * sizeof(*audiences));
        t->spec.audiences_count = n;
    }
}

static struct meta_v1_status *admit(struct req *r, const struct kind_ctx *ctx,
                                    struct authentication_v1_token_request *t)
{
    return req_admit(r, ctx, ADMIT_CREATE,
                     api_kind_by_gvk(STR("authentication.k8s.io"), STR("v1"), STR("TokenRequest")),
                     t);
}

static void issue(struct req *r)
{
    const struct api_kind *kind =
        api_kind_by_gvk(STR("authentication.k8s.io"), STR("v1"), STR("TokenRequest"));
    struct kind_ctx ctx;
    struct token_subject subject = {0};
    struct error err = {0};
    void *msg = NULL;
    int64_t now_s = r->now_ns / 1000000000;
    req_ctx(r, req_view(r), &ctx);
    struct meta_v1_status *s = body_check_options(r, "CreateOptions");
    if (s == NULL)
        s = body_decode(r, kind, &msg);
    if (s == NULL) {
        subject.account = kind_lookup(&ctx, "", "serviceaccounts", r->info.ns, r->info.name);
        if (subject.account == NULL)
            s = status_not_found(r->arena, r->res->gr, r->info.name);
    }
    struct authentication_v1_token_request *t = msg;
    if (s == NULL)
        s = admit(r, &ctx, t);
    if (s == NULL) {
        set_defaults(r, kind, t);
        s = validate(r, t);
    }
    if (s == NULL)
        s = find_bound(r, &ctx, t, &subject);
    if (s == NULL && authn_signing_key(r->server->authn) == NULL)
        s = status_path_not_found(r->arena);
    if (s != NULL) {
        if (!req_admit_waits(r, s, issue))
            req_status(r, s);
        return;
    }
    ASSERT(subject.account != NULL);
    const struct apiserver_config *c = &r->server->config;
    int64_t max_s = c->service_account_max_expiration_ns / 1000000000;
    if (max_s > 0 && t->spec.expiration_seconds > max_s) {
        kind_warn(&ctx,
                  "requested expiration of %" PRId64 " seconds shortened to %" PRId64 " seconds",
                  t->spec.expiration_seconds, max_s);
        t->spec.expiration_seconds = max_s;
    }
    bool extend = c->service_account_extend_expiration &&
                  t->spec.expiration_seconds == EXPIRATION_MOUNTED_S && subject.bound != NULL &&
                  strcmp(subject.claim, "pod") == 0;
    struct str claims = make_claims(r, t, &subject, now_s,
                                    extend ? EXPIRATION_EXTENDED_S : t->spec.expiration_seconds);
    AUTO_BUF token = BUF_INIT;
    if (jwt_sign(authn_signing_key(r->server->authn), claims, &token, &err) != 0) {
        req_status(r, status_internal(r->arena, "%s", error_message(&err)));
        return;
    }
    t->metadata = (struct meta_v1_object_meta){
        .name = r->info.name,
        .namespace = r->info.ns,
        .uid = subject.account->metadata.uid,
        .managed_fields = t->metadata.managed_fields,
        .managed_fields_count = t->metadata.managed_fields_count,
    };
    t->metadata.creation_timestamp.seconds = now_s;
    t->status.token = arena_str(r->arena, buf_str(&token));
    t->status.expiration_timestamp.seconds = now_s + t->spec.expiration_seconds;
    req_object(r, 201, kind, t);
}

void token_request_handle(struct req *r)
{
    req_barrier(r, issue);
}
