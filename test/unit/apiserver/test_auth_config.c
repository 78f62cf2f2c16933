/* Tests of apiserver/authz_config.c, authz_review.c, authn_config.c, authn_keys.c and
 * ttl_cache.c: what the server's own files say, and what they must not. */
#include "apiserver/authn_config.h"
#include "apiserver/authn_jwt.h"
#include "apiserver/authz.h"
#include "apiserver/authz_config.h"
#include "apiserver/authz_review.h"
#include "apiserver/ttl_cache.h"
#include "apiserver/user.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/jwt.h"
#include "lib/net/pki.h"
#include "test/unit/unit.h"

#define AUTHZ "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n"
#define AUTHN "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"

static const struct str own[] = {{"https://own.example", 19}};

/* The message of a refusal; the file must be refused. */
static const char *authz_error(const char *text)
{
    static struct error err;
    struct authz_list *l;
    error_clear(&err);
    ck_assert_int_eq(authz_list_parse(str_of(text), &l, &err), E_INVALID);
    return error_message(&err);
}

static const char *authn_error(const char *text)
{
    static struct error err;
    struct jwt_set *s;
    error_clear(&err);
    ck_assert_int_eq(authn_config_parse(str_of(text), own, 1, &s, &err), E_INVALID);
    return error_message(&err);
}

#define SAYS(message, want) ck_assert_msg(strstr(message, want) != NULL, "%s", message)

/* Authorizers stand in the order of the file. */
START_TEST(authorizers_in_order)
{
    struct authz_list *l;
    struct error err = {0};
    int code = authz_list_parse(STR(AUTHZ "authorizers:\n- {type: Node, name: node}\n"
                                          "- {type: RBAC, name: rbac}\n"),
                                &l, &err);
    ck_assert_msg(code == 0, "%s", error_message(&err));
    ck_assert_uint_eq(l->count, 2);
    ck_assert(str_eqc(l->items[0].type, "Node"));
    ck_assert(str_eqc(l->items[1].name, "rbac"));
    authz_list_free(l);
}
END_TEST

/* What is wrong with the file is told with its path, all at once. */
START_TEST(authorizers_wrong)
{
    SAYS(authz_error("kind: Pod\n"), "kind: \"Pod\": want AuthorizationConfiguration");
    SAYS(authz_error("apiVersion: v1\nkind: AuthorizationConfiguration\n"), "apiVersion: \"v1\"");
    SAYS(authz_error(AUTHZ), "authorizers: Required value");
    SAYS(authz_error(AUTHZ "authorizers: 7\n"),
         "authorizers: Invalid value: value: must be a list");
    const char *message = authz_error(
        AUTHZ "authorizers:\n- {type: Magic, name: a}\n- {type: RBAC, name: A_b, more: 1}\n"
              "- {type: RBAC, webhook: {}}\n");
    SAYS(message, "authorizers[0].type: Unsupported value: \"Magic\"");
    SAYS(message, "authorizers[1].more: Forbidden: unknown field");
    SAYS(message, "authorizers[1].name: Invalid value: \"A_b\"");
    SAYS(message, "authorizers[2].type: Duplicate value: \"RBAC\"");
    SAYS(message, "authorizers[2].name: Required value");
    SAYS(message, "authorizers[2].webhook: Invalid value: value: may only be specified");
}
END_TEST

/* Flags name what is not known. */
START_TEST(modes)
{
    struct authz_list *l;
    struct error err = {0};
    ck_assert_int_eq(authz_list_of_flags(&(struct authz_flags){.modes = "Node,RBAC"}, &l, &err), 0);
    ck_assert_uint_eq(l->count, 2);
    authz_list_free(l);
    ck_assert_int_ne(authz_list_of_flags(&(struct authz_flags){.modes = "RBAC,RBAC"}, &l, &err), 0);
    SAYS(error_message(&err), "\"RBAC\" is given more than once");
    ck_assert_int_ne(authz_list_of_flags(&(struct authz_flags){.modes = ""}, &l, &err), 0);
    SAYS(error_message(&err), "\"\" is not one of");
}
END_TEST

/* A review tells selectors as requirements; groups are called group in v1beta1. */
START_TEST(review)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct str group = STR("devs");
    struct user u = {.name = STR("ann"), .groups = &group, .group_count = 1};
    struct authz_attributes at = {.user = &u,
                                  .verb = "list",
                                  .resource_request = true,
                                  .resource = STR("pods"),
                                  .field_selector = STR("spec.nodeName=n1"),
                                  .label_selector = STR("a in (x,y),b>1")};
    json_write(authz_review_spec(a, &at, false, true), false, &b);
    ck_assert_msg(
        str_eqc(
            buf_str(&b),
            "{\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"pods\",\"fieldSelector\":"
            "{\"requirements\":[{\"key\":\"spec.nodeName\",\"operator\":\"In\",\"values\":"
            "[\"n1\"]}]},\"labelSelector\":{\"requirements\":[{\"key\":\"a\",\"operator\":"
            "\"In\",\"values\":[\"x\",\"y\"]}]}},\"user\":\"ann\",\"group\":[\"devs\"]}"),
        STR_FMT, STR_ARG(buf_str(&b)));
}
END_TEST

/* A good file of issuers. */
START_TEST(issuers)
{
    struct jwt_set *s;
    struct error err = {0};
    int code = authn_config_parse(
        STR(AUTHN "jwt:\n- issuer: {url: 'https://a.example/x/', audiences: [one]}\n"
                  "  claimMappings: {username: {claim: sub, prefix: 'p:'}}\n"
                  "anonymous: {enabled: true, conditions: [{path: /livez}]}\n"),
        own, 1, &s, &err);
    ck_assert_msg(code == 0, "%s", error_message(&err));
    ck_assert_uint_eq(s->count, 1);
    ck_assert(str_eqc(s->issuers[0].discovery_url,
                      "https://a.example/x/.well-known/openid-configuration"));
    ck_assert(s->says_anonymous && s->anonymous && s->anonymous_path_count == 1);
    jwt_set_unref(s);
}
END_TEST

/* And bad ones. */
START_TEST(issuers_wrong)
{
    const char *message = authn_error(
        AUTHN "jwt:\n- issuer: {url: 'https://own.example', audiences: [a, b], typo: 1}\n"
              "  claimMappings: {username: {expression: claims.email}}\n"
              "- issuer: {url: 'https://u:p@x.example?q=1', audiences: []}\n"
              "  claimMappings: {username: {claim: a, expression: b}}\n");
    SAYS(message, "jwt[0].issuer.typo: Forbidden: unknown field");
    SAYS(message, "URL must not overlap with disallowed issuers");
    SAYS(message, "audienceMatchPolicy must be MatchAny for multiple audiences");
    SAYS(message, "claims.email_verified must be used");
    SAYS(message, "jwt[1].issuer.audiences: Required value");
    SAYS(message, "claim and expression can't both be set");
    SAYS(authn_error(AUTHN "anonymous: {enabled: false, conditions: [{path: /x}]}\n"),
         "enabled should be set to true when conditions are defined");
}
END_TEST

/* What a key set gives verifies what the key signed, also after a way through JSON. */
START_TEST(keys)
{
    static const enum pki_key_type types[] = {PKI_KEY_P256, PKI_KEY_RSA2048};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF text = BUF_INIT;
        AUTO_BUF token = BUF_INIT;
        struct pki_key *key;
        struct jwt_key *found;
        struct jwt jwt;
        struct error err = {0};
        size_t count;
        ck_assert_int_eq(pki_key_generate(types[i], &key, &err), 0);
        buf_puts(&text, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"},");
        ck_assert_int_eq(jwt_key_jwk(key, &text, &err), 0);
        buf_puts(&text, "]}");
        int code = jwt_keys_parse(a, buf_str(&text), &found, &count, &err);
        ck_assert_msg(code == 0, "%s", error_message(&err));
        ck_assert_uint_eq(count, 1);
        ck_assert_int_eq(jwt_sign(key, STR("{}"), &token, &err), 0);
        ck_assert_int_eq(jwt_parse(a, buf_str(&token), &jwt, &err), 0);
        ck_assert(str_eq(jwt.key_id, found[0].id));
        ck_assert_int_eq(jwt_verify(&jwt, found[0].key, &err), 0);
        pki_key_unref(key);
    }
}
END_TEST

/* Key sets from outside: nothing of use is an error, not a crash. */
START_TEST(keys_wrong)
{
    static const char *const texts[] = {
        "",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[1,null,{}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"\"}]}"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct jwt_key *found;
        struct error err = {0};
        size_t count;
        ck_assert_int_ne(jwt_keys_parse(a, str_of(texts[i]), &found, &count, &err), 0);
    }
}
END_TEST

/* An entry is there until its time; the one looked at last stays longest. */
START_TEST(cache)
{
    AUTO_ARENA *a = arena_new(0);
    struct ttl_cache *c = ttl_cache_new(2);
    struct str v;
    ttl_cache_set(c, STR("a"), STR("1"), 100);
    ttl_cache_set(c, STR("b"), STR(""), 100);
    ck_assert(ttl_cache_get(c, a, STR("a"), 99, &v) && str_eqc(v, "1"));
    ttl_cache_set(c, STR("c"), STR("3"), 100);
    ck_assert(!ttl_cache_get(c, a, STR("b"), 99, &v));
    ck_assert(ttl_cache_get(c, a, STR("a"), 99, &v));
    ck_assert(!ttl_cache_get(c, a, STR("a"), 100, &v));
    ck_assert_uint_eq(ttl_cache_count(c), 1);
    ttl_cache_free(c);
}
END_TEST

UNIT_MAIN("auth_config", {
    UNIT_TEST(authorizers_in_order);
    UNIT_TEST(authorizers_wrong);
    UNIT_TEST(modes);
    UNIT_TEST(review);
    UNIT_TEST(issuers);
    UNIT_TEST(issuers_wrong);
    UNIT_TEST(keys);
    UNIT_TEST(keys_wrong);
    UNIT_TEST(cache);
})
