/* authn_token.c - bearer tokens: static ones, bootstrap tokens, and the JWTs of
 * service accounts, whose subjects must still exist. */
#include "apiserver/authn_internal.h"

#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/authn_jwt.h"
#include "apiserver/authn_webhook.h"
#include "apiserver/kind.h"
#include "apiserver/token_use.h"
#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/net/jwt.h"
#include "lib/net/pki.h"

#include <inttypes.h>

#define LEEWAY_S 10
#define LEGACY_ISSUER "kubernetes/serviceaccount"

struct token_check {
    struct authn *authn;
    struct kind_ctx ctx; /* For look-ups. */
    struct arena *arena;
    int64_t now_s;
};

static int refuse(struct error *err, const char *why)
{
    return error_set(err, E_UNAUTHORIZED, "%s", why);
}

static bool static_user(const struct authn *n, struct arena *a, struct str token, struct user **ret)
{
    for (size_t i = 0; i < n->token_count; i++)
        if (net_secret_eq(n->tokens[i].token, token)) {
            const struct user *u = &n->tokens[i].user;
            *ret = authn_user(a, u->name, u->groups, u->group_count);
            (*ret)->uid = u->uid;
            return true;
        }
    return false;
}

/* --- bootstrap tokens: ID.SECRET in a secret bootstrap-token-ID ------------------------------ */
static struct str secret_data(const struct core_v1_secret *s, const char *key)
{
    for (size_t i = 0; i < s->data_count; i++)
        if (str_eqc(s->data[i].key, key))
            return s->data[i].value;
    return STR_NULL;
}

static bool token_chars(struct str s, size_t len)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.data[i] >= 'a' && s.data[i] <= 'z') || (s.data[i] >= '0' && s.data[i] <= '9')))
            return false;
    return s.len == len;
}

static int bootstrap_user(struct token_check *c, struct str id, struct str secret,
                          struct user **ret, struct error *err)
{
    const struct core_v1_secret *s =
        kind_lookup(&c->ctx, "", "secrets", STR("kube-system"),
                    arena_printf(c->arena, "bootstrap-token-" STR_FMT, STR_ARG(id)));
    if (s == NULL || s->metadata.deletion_timestamp != NULL ||
        !str_eqc(s->type, "bootstrap.kubernetes.io/token"))
        return refuse(err, "no such bootstrap token");
    if (!str_eq(secret_data(s, "token-id"), id) ||
        !net_secret_eq(secret_data(s, "token-secret"), secret))
        return refuse(err, "wrong bootstrap token secret");
    struct str expiration = secret_data(s, "expiration");
    struct meta_v1_time at;
    if (expiration.len != 0 && (time_parse(expiration, &at, NULL) != 0 || at.seconds <= c->now_s))
        return refuse(err, "the bootstrap token has expired");
    if (!str_eqc(secret_data(s, "usage-bootstrap-authentication"), "true"))
        return refuse(err, "the bootstrap token is not for authentication");
    struct str *extra;
    size_t n = authn_split(c->arena, secret_data(s, "auth-extra-groups"), &extra);
    struct str *groups = ARENA_ARRAY(c->arena, struct str, n + 1);
    groups[0] = STR(GROUP_BOOTSTRAPPERS);
    for (size_t i = 0; i < n; i++)
        groups[i + 1] = extra[i];
    *ret = authn_user(c->arena, arena_printf(c->arena, "system:bootstrap:" STR_FMT, STR_ARG(id)),
                      groups, n + 1);
    return 0;
}

/* --- service accounts ---------------------------------------------------------------------------
 */
static struct user *account_user(struct token_check *c, struct str ns, struct str name,
                                 struct str uid)
{
    struct arena *a = c->arena;
    struct str groups[] = {STR("system:serviceaccounts"),
                           arena_printf(a, "system:serviceaccounts:" STR_FMT, STR_ARG(ns))};
    struct user *u = authn_user(
        a,
        arena_printf(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(ns), STR_ARG(name)),
        groups, 2);
    u->uid = uid;
    return u;
}

static struct str label_of(const struct meta_v1_object_meta *m, const char *key)
{
    for (size_t i = 0; i < m->labels_count; i++)
        if (str_eqc(m->labels[i].key, key))
            return m->labels[i].value;
    return STR_NULL;
}

static int legacy_account(struct token_check *c, const struct json *claims, struct str token,
                          struct user **ret, struct error *err)
{
    struct str ns = json_get_str(claims, "kubernetes.io/serviceaccount/namespace");
    struct str secret = json_get_str(claims, "kubernetes.io/serviceaccount/secret.name");
    struct str name = json_get_str(claims, "kubernetes.io/serviceaccount/service-account.name");
    struct str uid = json_get_str(claims, "kubernetes.io/serviceaccount/service-account.uid");
    const struct core_v1_secret *s = kind_lookup(&c->ctx, "", "secrets", ns, secret);
    const struct core_v1_service_account *sa =
        kind_lookup(&c->ctx, "", "serviceaccounts", ns, name);
    if (!c->authn->legacy_lookup) {
        *ret = account_user(c, ns, name, uid);
        return 0;
    }
    if (s == NULL || s->metadata.deletion_timestamp != NULL ||
        !net_secret_eq(secret_data(s, "token"), token))
        return refuse(err, "service account token has been invalidated");
    if (label_of(&s->metadata, TOKEN_INVALID_SINCE).len != 0)
        return refuse(err, "the token in the secret has been marked invalid: use tokens from the "
                           "TokenRequest API, or manually created secret-based tokens");
    if (sa == NULL || sa->metadata.deletion_timestamp != NULL || !str_eq(sa->metadata.uid, uid))
        return refuse(err, "service account is gone");
    *ret = account_user(c, ns, name, uid);
    if (token_use_is_old(label_of(&s->metadata, TOKEN_LAST_USED), c->now_s)) {
        (*ret)->secret_ns = ns;
        (*ret)->secret_name = secret;
    }
    return 0;
}

static void add_extra(struct token_check *c, struct user *u, const char *key, struct str value)
{
    struct user_extra *e = ARENA_ARRAY(c->arena, struct user_extra, u->extra_count + 1);
    if (u->extra_count != 0)
        memcpy(e, u->extra, u->extra_count * sizeof(*e));
    e[u->extra_count++] =
        (struct user_extra){STR_NULL, arena_memdup(c->arena, &value, sizeof(value)), 1};
    e[u->extra_count - 1].key = str_of(key);
    u->extra = e;
}

/* The object a token is bound to must still be the same one. */
static int check_bound(struct token_check *c, const struct json *k8s, const char *claim,
                       const char *resource, bool namespaced, struct str ns, struct error *err)
{
    const struct json *ref = json_getc(k8s, claim);
    if (ref == NULL)
        return 0;
    const struct meta_v1_object_meta *m =
        kind_lookup(&c->ctx, "", resource, namespaced ? ns : STR_NULL, json_get_str(ref, "name"));
    /* metadata is the first member of every kind's struct. */
    if (m == NULL || !str_eq(m->uid, json_get_str(ref, "uid")))
        return refuse(err, "the object the token is bound to is gone");
    if (m->deletion_timestamp != NULL && m->deletion_timestamp->seconds + 60 < c->now_s)
        return refuse(err, "the object the token is bound to is being deleted");
    return 0;
}

static int bound_account(struct token_check *c, const struct json *claims, struct user **ret,
                         struct error *err)
{
    const struct json *k8s = json_getc(claims, "kubernetes.io");
    const struct json *account = json_getc(k8s, "serviceaccount");
    struct str ns = json_get_str(k8s, "namespace"), name = json_get_str(account, "name"),
               uid = json_get_str(account, "uid");
    if (json_get_int(claims, "exp", 0) + LEEWAY_S < c->now_s)
        return refuse(err, "service account token has expired");
    if (json_get_int(claims, "nbf", 0) - LEEWAY_S > c->now_s)
        return refuse(err, "service account token is not valid yet");
    const struct core_v1_service_account *sa =
        kind_lookup(&c->ctx, "", "serviceaccounts", ns, name);
    if (sa == NULL || sa->metadata.deletion_timestamp != NULL || !str_eq(sa->metadata.uid, uid))
        return refuse(err, "service account is gone");
    int code = check_bound(c, k8s, "pod", "pods", true, ns, err);
    if (code == 0)
        code = check_bound(c, k8s, "secret", "secrets", true, ns, err);
    if (code == 0 && json_getc(k8s, "pod") == NULL)
        code = check_bound(c, k8s, "node", "nodes", false, ns, err);
    if (code != 0)
        return code;
    struct user *u = account_user(c, ns, name, uid);
    struct str jti = json_get_str(claims, "jti");
    if (jti.len != 0)
        add_extra(c, u, "authentication.kubernetes.io/credential-id",
                  arena_printf(c->arena, "JTI=" STR_FMT, STR_ARG(jti)));
    static const char *const bound[][3] = {
        {"pod", "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"},
        {"node", "authentication.kubernetes.io/node-name",
         "authentication.kubernetes.io/node-uid"}};
    for (size_t i = 0; i < ARRAY_SIZE(bound); i++) {
        const struct json *ref = json_getc(k8s, bound[i][0]);
        if (ref == NULL)
            continue;
        add_extra(c, u, bound[i][1], json_get_str(ref, "name"));
        if (json_get_str(ref, "uid").len != 0)
            add_extra(c, u, bound[i][2], json_get_str(ref, "uid"));
    }
    *ret = u;
    return 0;
}

static bool listed(struct str s, const struct str *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i], s))
            return true;
    return false;
}

/* Which of the wanted audiences the token names. */
static size_t match_audiences(struct arena *a, const struct json *aud, const struct str *wanted,
                              size_t count, const struct str **ret)
{
    struct str *out = ARENA_ARRAY(a, struct str, count + 1);
    size_t n = 0;
    if (aud != NULL && aud->type == JSON_STRING && listed(aud->string, wanted, count))
        out[n++] = aud->string;
    for (size_t i = 0; aud != NULL && aud->type == JSON_ARRAY && i < aud->array.count && n < count;
         i++)
        if (aud->array.items[i]->type == JSON_STRING &&
            listed(aud->array.items[i]->string, wanted, count))
            out[n++] = aud->array.items[i]->string;
    *ret = out;
    return n;
}

static int wrong_audience(struct arena *a, const struct json *aud, const struct str *wanted,
                          size_t count, struct error *err)
{
    struct json *list = json_array(a);
    AUTO_BUF have = BUF_INIT;
    AUTO_BUF want = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        json_append(a, list, json_string(a, wanted[i]));
    json_write(list, false, &want);
    if (aud != NULL)
        json_write(aud, false, &have);
    return error_set(err, E_UNAUTHORIZED,
                     "token audiences " STR_FMT " is invalid for the target audiences " STR_FMT,
                     STR_ARG(buf_str(&have)), STR_ARG(buf_str(&want)));
}

static int verify(struct authn *n, const struct jwt *jwt, struct error *err)
{
    int code = E_UNAUTHORIZED;
    for (size_t i = 0; i < n->key_count && code != 0; i++)
        code = jwt_verify(jwt, n->keys[i], err);
    return code;
}

/* What is judged, and for whom it should be good. */
struct question {
    struct token_check check;
    struct asks *asks;
    struct str token;
    const struct str *wanted;
    size_t wanted_count;
    /* The answer. */
    struct user *user;
    const struct str *matched;
    size_t matched_count;
};

/* Tokens that name no audience are good for the server's own. E_UNAUTHORIZED:
 * others are wanted. */
static int match_own(struct question *q, const struct str *given, size_t count, struct error *err)
{
    struct str *out = ARENA_ARRAY(q->check.arena, struct str, q->wanted_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < q->wanted_count; i++)
        if (listed(q->wanted[i], given, count))
            out[n++] = q->wanted[i];
    q->matched = out;
    q->matched_count = n;
    return n != 0 || q->wanted_count == 0 ? 0 : refuse(err, "the token is for other audiences");
}

/* Of this cluster: of a service account. */
static int own_token(struct question *q, const struct jwt *jwt, const struct json *claims,
                     struct error *err)
{
    struct token_check *c = &q->check;
    struct authn *n = c->authn;
    const struct json *aud = json_getc(claims, "aud");
    int code = verify(n, jwt, err);
    if (code != 0)
        return refuse(err, "not a token of this cluster");
    if (str_eqc(json_get_str(claims, "iss"), LEGACY_ISSUER)) {
        code = legacy_account(c, claims, q->token, &q->user, err);
        return code != 0 ? code : match_own(q, n->audiences, n->audience_count, err);
    }
    q->matched_count = match_audiences(c->arena, aud, q->wanted, q->wanted_count, &q->matched);
    if (q->matched_count == 0)
        return wrong_audience(c->arena, aud, q->wanted, q->wanted_count, err);
    return bound_account(c, claims, &q->user, err);
}

/* A JWT goes to those who know its issuer. E_NOT_FOUND: nobody does. */
static int judge_jwt(struct question *q, struct error *err)
{
    struct token_check *c = &q->check;
    struct authn *n = c->authn;
    struct jwt jwt;
    struct json *claims;
    if (jwt_parse(c->arena, q->token, &jwt, NULL) != 0 ||
        json_parse(c->arena, jwt.payload, &claims, NULL) != 0)
        return E_NOT_FOUND;
    struct str iss = json_get_str(claims, "iss");
    if (str_eqc(iss, LEGACY_ISSUER) || listed(iss, n->issuers, n->issuer_count))
        return own_token(q, &jwt, claims, err);
    struct jwt_set *set = authn_jwt_set(n);
    int code = jwt_set_user(set, c->arena, q->asks, &jwt, claims, c->now_s, &q->user, err);
    jwt_set_unref(set);
    return code != 0 ? code : match_own(q, n->audiences, n->audience_count, err);
}

static int judge(struct question *q, struct error *err)
{
    struct token_check *c = &q->check;
    struct authn *n = c->authn;
    struct str id, secret;
    if (static_user(n, c->arena, q->token, &q->user))
        return match_own(q, n->audiences, n->audience_count, err);
    if (n->bootstrap_tokens && str_cut(q->token, '.', &id, &secret) && token_chars(id, 6) &&
        token_chars(secret, 16)) {
        int code = bootstrap_user(c, id, secret, &q->user, err);
        return code != 0 ? code : match_own(q, n->audiences, n->audience_count, err);
    }
    return judge_jwt(q, err);
}

static int judge_elsewhere(struct question *q, struct error *err)
{
    struct authn *n = q->check.authn;
    struct str *given;
    size_t count;
    int code = authn_webhook_token(n->webhook, q->check.arena, q->asks, q->token, q->wanted,
                                   q->wanted_count, &q->user, &given, &count, err);
    if (code != 0)
        return code;
    return count != 0 ? match_own(q, given, count, err)
                      : match_own(q, n->audiences, n->audience_count, err);
}

int authn_token(struct authn *n, struct arena *arena, const struct store_view *view,
                struct asks *asks, struct str token, const struct str *audiences,
                size_t audience_count, struct user **ret, const struct str **ret_audiences,
                size_t *ret_audience_count, struct error *err)
{
    struct question q = {
        .check = {.authn = n, .arena = arena, .now_s = env_wall_ns(n->server->env) / 1000000000},
        .asks = asks,
        .token = token,
        .wanted = audience_count != 0 ? audiences : n->audiences,
        .wanted_count = audience_count != 0 ? audience_count : n->audience_count};
    q.check.ctx = (struct kind_ctx){.arena = arena, .view = view, .server = n->server};
    if (token.len > JWT_BYTES_MAX)
        return refuse(err, "the token is too long");
    int code = judge(&q, err);
    if (code != 0 && code != E_AGAIN && n->webhook != NULL)
        code = judge_elsewhere(&q, err);
    if (code == E_NOT_FOUND)
        return refuse(err, "not a token of this cluster");
    if (code != 0)
        return code;
    *ret = q.user;
    if (ret_audiences != NULL) {
        *ret_audiences = q.matched;
        *ret_audience_count = q.matched_count;
    }
    return 0;
}
