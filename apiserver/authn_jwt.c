/* authn_jwt.c - from the claims of another issuer's token to a user; see authn_jwt.h. */
#include "apiserver/authn_jwt.h"

#include "apiserver/authn_internal.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/jwt.h"

#include <inttypes.h>

#define NBF_LEEWAY_S 300

/* --- life ---------------------------------------------------------------------------------------
 */
struct jwt_set *jwt_set_new(void)
{
    struct jwt_set *s = xzalloc(sizeof(*s));
    atomic_init(&s->refs, 1);
    s->arena = arena_new(0);
    return s;
}

struct jwt_set *jwt_set_ref(struct jwt_set *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void jwt_set_unref(struct jwt_set *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (size_t i = 0; i < s->count; i++)
        jwt_issuer_done(&s->issuers[i]);
    arena_free(s->arena);
    free(s);
}

/* --- what expressions see ------------------------------------------------------------------------
 */
#define FIELD(n, t)                                                                                \
    {                                                                                              \
        {n, sizeof(n) - 1}, {n, sizeof(n) - 1}, t                                                  \
    }
static const struct cel_type list_strings = {.kind = CEL_LIST, .elem = &cel_string},
                             map_strings = {
                                 .kind = CEL_MAP, .key = &cel_string, .elem = &list_strings};
static const struct cel_field user_fields[] = {
    FIELD("extra", &map_strings), FIELD("groups", &list_strings), FIELD("uid", &cel_string),
    FIELD("username", &cel_string)};
static const struct cel_type user_type = {.kind = CEL_OBJECT,
                                          .name = {"kubernetes.UserInfo", 19},
                                          .fields = user_fields,
                                          .field_count = ARRAY_SIZE(user_fields)};
static const struct cel_var claims_vars[] = {{"claims", &cel_map_dyn}},
                            user_vars[] = {{"user", &user_type}};
const struct cel_env jwt_claims_env = {.vars = claims_vars, .var_count = 1},
                     jwt_user_env = {.vars = user_vars, .var_count = 1};

struct reading {
    struct arena *a;
    const struct jwt_issuer *issuer;
    const struct json *claims;
    struct cel_value value; /* Of the claims. */
    int64_t cost;
    struct error *err;
};

static struct cel_value eval(struct reading *r, const struct cel_program *p)
{
    return cel_eval(p, r->a, &r->value, &r->cost);
}

static int refuse(struct reading *r, const char *text)
{
    return error_set(r->err, E_UNAUTHORIZED, "oidc: %s", text);
}

static int refuse_value(struct reading *r, struct str expression, const struct cel_value *v)
{
    return error_set(
        r->err, E_UNAUTHORIZED, "oidc: error evaluating expression '" STR_FMT "': " STR_FMT,
        STR_ARG(expression), STR_ARG(v->kind == CEL_ERROR ? v->string : STR("wrong type")));
}

/* --- the token itself ----------------------------------------------------------------------------
 */
static bool listed(struct str s, const struct str *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i], s))
            return true;
    return false;
}

static bool for_us(const struct jwt_issuer *i, const struct json *aud)
{
    if (aud != NULL && aud->type == JSON_STRING)
        return listed(aud->string, i->audiences, i->audience_count);
    for (size_t k = 0; aud != NULL && aud->type == JSON_ARRAY && k < aud->array.count; k++)
        if (aud->array.items[k]->type == JSON_STRING &&
            listed(aud->array.items[k]->string, i->audiences, i->audience_count))
            return true;
    return false;
}

/* Seconds since the epoch; tokens may give them with a fraction. */
static bool time_claim(const struct json *claims, const char *name, int64_t *ret)
{
    const struct json *j = json_getc(claims, name);
    if (j != NULL && j->type == JSON_INT)
        *ret = j->integer;
    else if (j != NULL && j->type == JSON_DOUBLE && j->number.value > 0 && j->number.value < 1e15)
        *ret = (int64_t)j->number.value;
    else
        return false;
    return true;
}

static int check_token(struct reading *r, const struct jwt *jwt, int64_t now_s)
{
    int64_t at;
    const char *const *algs = r->issuer->algorithms;
    while (algs != NULL && *algs != NULL && !str_eqc(jwt->algorithm, *algs))
        algs++;
    if (algs != NULL && *algs == NULL)
        return refuse(r, "verify token: the token is signed with an algorithm that is not allowed");
    if (!for_us(r->issuer, json_getc(r->claims, "aud")))
        return refuse(r, "verify token: the token is for another audience");
    if (!time_claim(r->claims, "exp", &at))
        return refuse(r, "verify token: claim \"exp\": want a time");
    if (at < now_s)
        return refuse(r, "verify token: token is expired");
    if (time_claim(r->claims, "nbf", &at) && at > now_s + NBF_LEEWAY_S)
        return refuse(r, "verify token: current time is before the nbf (not before) time");
    return 0;
}

/* --- claims ----------------------------------------------------------------------------------- */
static int check_claim_rules(struct reading *r)
{
    for (size_t i = 0; i < r->issuer->claim_rule_count; i++) {
        const struct jwt_rule *rule = &r->issuer->claim_rules[i];
        if (rule->program != NULL) {
            struct cel_value v = eval(r, rule->program);
            if (v.kind != CEL_BOOL)
                return refuse_value(r, rule->expression, &v);
            if (v.boolean)
                continue;
            return rule->message.len != 0
                       ? error_set(r->err, E_UNAUTHORIZED,
                                   "oidc: validation expression '" STR_FMT "' failed: " STR_FMT,
                                   STR_ARG(rule->expression), STR_ARG(rule->message))
                       : error_set(r->err, E_UNAUTHORIZED,
                                   "oidc: validation expression '" STR_FMT "' failed",
                                   STR_ARG(rule->expression));
        }
        const struct json *have = json_get(r->claims, rule->claim);
        if (have == NULL || have->type != JSON_STRING || !str_eq(have->string, rule->value))
            return error_set(r->err, E_UNAUTHORIZED,
                             "oidc: required claim " STR_FMT " value does not match",
                             STR_ARG(rule->claim));
    }
    return 0;
}

static int map_text(struct reading *r, const struct jwt_mapping *m, struct str *ret)
{
    if (m->program != NULL) {
        struct cel_value v = eval(r, m->program);
        if (v.kind != CEL_STRING)
            return refuse_value(r, m->expression, &v);
        *ret = arena_str(r->a, v.string);
        return 0;
    }
    const struct json *j = json_get(r->claims, m->claim);
    if (j == NULL || j->type != JSON_STRING)
        return error_set(r->err, E_UNAUTHORIZED, "oidc: claim \"" STR_FMT "\": want a string",
                         STR_ARG(m->claim));
    *ret = arena_printf(r->a, STR_FMT STR_FMT, STR_ARG(m->prefix), STR_ARG(j->string));
    return 0;
}

static int map_username(struct reading *r, struct str *ret)
{
    const struct jwt_mapping *m = &r->issuer->username;
    int code = map_text(r, m, ret);
    if (code != 0)
        return code;
    if (m->program == NULL && str_eqc(m->claim, "email")) {
        const struct json *verified = json_getc(r->claims, "email_verified");
        if (verified != NULL && (verified->type != JSON_BOOL || !verified->boolean))
            return refuse(r, "email not verified");
    }
    if (ret->len == 0)
        return refuse(r, "username must not be empty");
    return 0;
}

/* A string, a list of strings, or nothing. */
static int map_list(struct reading *r, const struct jwt_mapping *m, struct str **ret, size_t *count)
{
    *ret = NULL;
    *count = 0;
    const struct json *j = NULL;
    if (m->program != NULL) {
        struct cel_value v = eval(r, m->program);
        j = v.kind != CEL_ERROR ? cel_to_json(r->a, &v) : NULL;
        if (j == NULL)
            return refuse_value(r, m->expression, &v);
    } else if (m->claim.len != 0) {
        j = json_get(r->claims, m->claim);
    }
    if (j == NULL || j->type == JSON_NULL)
        return 0;
    size_t n = j->type == JSON_ARRAY ? j->array.count : 1;
    *ret = ARENA_ARRAY(r->a, struct str, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct json *item = j->type == JSON_ARRAY ? j->array.items[i] : j;
        if (item->type != JSON_STRING)
            return error_set(r->err, E_UNAUTHORIZED,
                             "oidc: \"" STR_FMT "\": want a string or a list of strings",
                             STR_ARG(m->program != NULL ? m->expression : m->claim));
        if (m->program != NULL && item->string.len == 0)
            continue;
        (*ret)[(*count)++] =
            arena_printf(r->a, STR_FMT STR_FMT, STR_ARG(m->prefix), STR_ARG(item->string));
    }
    return 0;
}

static int map_extra(struct reading *r, struct user *u)
{
    for (size_t i = 0; i < r->issuer->extra_count; i++) {
        const struct jwt_extra *e = &r->issuer->extra[i];
        struct str *values;
        size_t n;
        int code = map_list(r, &e->value, &values, &n);
        if (code != 0)
            return code;
        for (size_t k = 0; k < n; k++)
            authn_add_extra(r->a, u, e->key, values[k]);
    }
    struct str jti = json_get_str(r->claims, "jti");
    if (jti.len != 0)
        authn_add_extra(r->a, u, STR("authentication.kubernetes.io/credential-id"),
                        arena_printf(r->a, "JTI=" STR_FMT, STR_ARG(jti)));
    return 0;
}

/* --- the user -----------------------------------------------------------------------------------
 */
static struct json *strings_json(struct arena *a, const struct str *items, size_t count)
{
    struct json *j = json_array(a);
    for (size_t i = 0; i < count; i++)
        json_append(a, j, json_string(a, items[i]));
    return j;
}

static int check_user_rules(struct reading *r, const struct user *u, const struct str *groups,
                            size_t group_count)
{
    struct arena *a = r->a;
    if (r->issuer->user_rule_count == 0)
        return 0;
    struct json *j = json_object(a), *extra = json_object(a);
    json_setc(a, j, "username", json_string(a, u->name));
    json_setc(a, j, "uid", json_string(a, u->uid));
    json_setc(a, j, "groups", strings_json(a, groups, group_count));
    for (size_t i = 0; i < u->extra_count; i++)
        json_set(a, extra, u->extra[i].key, strings_json(a, u->extra[i].values, u->extra[i].count));
    json_setc(a, j, "extra", extra);
    struct cel_value v = cel_of_json(j, &user_type);
    for (size_t i = 0; i < r->issuer->user_rule_count; i++) {
        const struct jwt_rule *rule = &r->issuer->user_rules[i];
        struct cel_value ok = cel_eval(rule->program, a, &v, &r->cost);
        if (ok.kind != CEL_BOOL)
            return refuse_value(r, rule->expression, &ok);
        if (!ok.boolean)
            return error_set(r->err, E_UNAUTHORIZED,
                             "oidc: user validation rule '" STR_FMT "' failed: " STR_FMT,
                             STR_ARG(rule->expression), STR_ARG(rule->message));
    }
    return 0;
}

static int make_user(struct reading *r, struct user **ret)
{
    struct str name, uid = STR_NULL, *groups;
    size_t count;
    const struct jwt_mapping *u = &r->issuer->uid;
    int code = map_username(r, &name);
    if (code == 0)
        code = map_list(r, &r->issuer->groups, &groups, &count);
    if (code == 0 && (u->program != NULL || u->claim.len != 0))
        code = map_text(r, u, &uid);
    if (code != 0)
        return code;
    struct user *user = authn_user(r->a, name, groups, count);
    user->uid = uid;
    code = map_extra(r, user);
    if (code == 0)
        code = check_user_rules(r, user, groups, count);
    if (code == 0)
        *ret = user;
    return code;
}

int jwt_set_user(struct jwt_set *s, struct arena *a, struct asks *asks, const struct jwt *jwt,
                 const struct json *claims, int64_t now_s, struct user **ret, struct error *err)
{
    struct str iss = json_get_str(claims, "iss");
    struct jwt_issuer *i = NULL;
    for (size_t k = 0; k < s->count && i == NULL; k++)
        if (str_eq(s->issuers[k].url, iss))
            i = &s->issuers[k];
    if (i == NULL)
        return E_NOT_FOUND;
    struct reading r = {.a = a,
                        .issuer = i,
                        .claims = claims,
                        .value = cel_of_json(claims, &cel_map_dyn),
                        .cost = CEL_COST_BUDGET,
                        .err = err};
    /* What costs nothing first: keys are only looked up for tokens that could be good. */
    int code = check_token(&r, jwt, now_s);
    if (code == 0)
        code = jwt_issuer_verify(s, i, a, asks, jwt, err);
    if (code == 0)
        code = check_claim_rules(&r);
    return code == 0 ? make_user(&r, ret) : code;
}
