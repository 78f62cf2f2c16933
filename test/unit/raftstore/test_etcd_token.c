/* test_etcd_token.c - tokens of both kinds and what callers may do. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/net/jwt.h"
#include "lib/net/pki.h"
#include "raftstore/etcd/errors.h"
#include "raftstore/etcd/token.h"
#include "test/unit/unit.h"

#include <unistd.h>

/* A clock that the test moves. */
static int64_t clock_ms = 1700000000000;

static uint64_t test_now(struct env *e)
{
    UNUSED(e);
    return (uint64_t)(clock_ms - 1600000000000);
}
static int64_t test_wall(struct env *e)
{
    UNUSED(e);
    return clock_ms * 1000000;
}
static void test_random(struct env *e, void *p, size_t n)
{
    UNUSED(e);
    env_system_random(p, n);
}
static struct env test_env = {test_now, test_wall, test_random};

static void change(struct auth_state **a, struct auth_change c)
{
    struct auth_state *next = NULL;
    ck_assert_int_eq(auth_apply(*a, &c, &next), AUTH_REFUSED_NOT);
    auth_state_unref(*a);
    *a = next;
}
#define CHANGE(a, ...) change(a, (struct auth_change){__VA_ARGS__})

static struct auth_state *state(void)
{
    struct auth_state *a = auth_state_new();
    CHANGE(&a, AUTH_USER_ADD, .user = STR("root"));
    CHANGE(&a, AUTH_USER_GRANT, .user = STR("root"), .role = STR("root"));
    CHANGE(&a, AUTH_USER_ADD, .user = STR("u"), .password_hash = STR("h"));
    CHANGE(&a, AUTH_ROLE_ADD, .role = STR("r"));
    CHANGE(&a, AUTH_ROLE_GRANT, .role = STR("r"), .access = AUTH_READ, .key = STR("k"),
           .range_end = STR("l"));
    CHANGE(&a, AUTH_ROLE_GRANT, .role = STR("r"), .access = AUTH_WRITE, .key = STR("w"));
    CHANGE(&a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("r"));
    CHANGE(&a, AUTH_ENABLE);
    CHANGE(&a, AUTH_TOKEN_KEY, .token_key = STR("0123456789abcdef0123456789abcdef"));
    return a;
}

static struct etcd_tokens *tokens(const char *spec)
{
    struct etcd_tokens *t = NULL;
    struct error err = {0};
    ck_assert_msg(etcd_tokens_new(&(struct etcd_tokens_config){.spec = spec, .env = &test_env}, &t,
                                  &err) == 0,
                  "%s", err.message);
    return t;
}

static bool takes(struct etcd_tokens *t, const struct auth_state *a, struct str token)
{
    AUTO_ARENA *arena = arena_new(0);
    struct etcd_caller c;
    const struct etcd_fault *f = etcd_caller_find(t, a, token, STR_NULL, arena, &c);
    ck_assert(f == NULL || f == &etcd_err_invalid_auth_token);
    if (f == NULL)
        ck_assert(str_eqc(c.user, "u"));
    return f == NULL;
}

/* A token lives 300 s, longer where it is used, and is good on every member. */
START_TEST(simple_lifetime)
{
    struct auth_state *a = state();
    struct etcd_tokens *one = tokens(NULL), *two = tokens("simple");
    AUTO_BUF token = BUF_INIT;
    ck_assert_int_eq(etcd_token_make(one, a, STR("u"), &token, NULL), 0);
    ck_assert(takes(one, a, buf_str(&token)) && takes(two, a, buf_str(&token)));
    for (int i = 0; i < 4; i++) {
        clock_ms += 200000;
        ck_assert(takes(one, a, buf_str(&token)));
    }
    ck_assert(!takes(two, a, buf_str(&token)));
    clock_ms += 300001;
    ck_assert(!takes(one, a, buf_str(&token)));
    etcd_tokens_free(one);
    etcd_tokens_free(two);
    auth_state_unref(a);
}
END_TEST

/* It dies with the user, with its password, and when auth is disabled; not with other changes. */
START_TEST(simple_revoked)
{
    struct auth_state *a = state();
    struct etcd_tokens *t = tokens(NULL);
    AUTO_BUF token = BUF_INIT;
    ck_assert_int_eq(etcd_token_make(t, a, STR("x"), &token, NULL), E_NOT_FOUND);
    ck_assert_int_eq(etcd_token_make(t, a, STR("u"), &token, NULL), 0);
    CHANGE(&a, AUTH_ROLE_ADD, .role = STR("s"));
    CHANGE(&a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("s"));
    ck_assert(takes(t, a, buf_str(&token)));
    CHANGE(&a, AUTH_USER_PASSWORD, .user = STR("u"), .password_hash = STR("i"));
    ck_assert(!takes(t, a, buf_str(&token)));
    buf_clear(&token);
    ck_assert_int_eq(etcd_token_make(t, a, STR("u"), &token, NULL), 0);
    CHANGE(&a, AUTH_USER_DELETE, .user = STR("u"));
    ck_assert(!takes(t, a, buf_str(&token)));
    CHANGE(&a, AUTH_USER_ADD, .user = STR("u"), .password_hash = STR("h"));
    ck_assert(!takes(t, a, buf_str(&token)));
    buf_clear(&token);
    ck_assert_int_eq(etcd_token_make(t, a, STR("u"), &token, NULL), 0);
    CHANGE(&a, AUTH_DISABLE);
    CHANGE(&a, AUTH_ENABLE);
    ck_assert(etcd_tokens_need_key(t, a) && !takes(t, a, buf_str(&token)));
    ck_assert_int_eq(etcd_token_make(t, a, STR("u"), &token, NULL), E_AGAIN);
    CHANGE(&a, AUTH_TOKEN_KEY, .token_key = STR("abcdef0123456789abcdef0123456789"));
    ck_assert(!takes(t, a, buf_str(&token)));
    etcd_tokens_free(t);
    auth_state_unref(a);
}
END_TEST

/* Any other bytes are no token. */
START_TEST(simple_forged)
{
    struct auth_state *a = state();
    struct etcd_tokens *t = tokens(NULL);
    AUTO_BUF token = BUF_INIT;
    ck_assert_int_eq(etcd_token_make(t, a, STR("u"), &token, NULL), 0);
    for (size_t i = 0; i < token.len; i++) {
        token.data[i] ^= 1;
        ck_assert(!takes(t, a, buf_str(&token)));
        token.data[i] ^= 1;
        ck_assert(!takes(t, a, str_sub(buf_str(&token), 0, i)));
    }
    ck_assert(takes(t, a, buf_str(&token)));
    ck_assert(!takes(t, a, str_n("", 0)));
    etcd_tokens_free(t);
    auth_state_unref(a);
}
END_TEST

/* Without a token the certificate's name counts; a token goes before it; while auth is
 * disabled neither is looked at. */
START_TEST(who_calls)
{
    struct auth_state *a = state();
    struct etcd_tokens *t = tokens(NULL);
    AUTO_ARENA *arena = arena_new(0);
    AUTO_BUF token = BUF_INIT;
    struct etcd_caller c;
    ck_assert_int_eq(etcd_token_make(t, a, STR("u"), &token, NULL), 0);
    ck_assert_ptr_null(etcd_caller_find(t, a, STR_NULL, STR("root"), arena, &c));
    ck_assert(str_eqc(c.user, "root"));
    ck_assert_ptr_null(etcd_caller_find(t, a, buf_str(&token), STR("root"), arena, &c));
    ck_assert(str_eqc(c.user, "u"));
    struct str bearer = arena_printf(arena, "Bearer " STR_FMT, STR_ARG(buf_str(&token)));
    ck_assert_ptr_null(etcd_caller_find(t, a, bearer, STR_NULL, arena, &c));
    ck_assert(str_eqc(c.user, "u"));
    ck_assert_ptr_eq(etcd_caller_find(t, a, STR("x"), STR("root"), arena, &c),
                     &etcd_err_invalid_auth_token);
    ck_assert_ptr_null(etcd_caller_find(t, a, STR_NULL, STR_NULL, arena, &c));
    ck_assert_ptr_eq(etcd_check_user(&c), &etcd_err_user_empty);
    CHANGE(&a, AUTH_DISABLE);
    ck_assert_ptr_null(etcd_caller_find(t, a, STR("x"), STR_NULL, arena, &c));
    ck_assert_ptr_null(etcd_check_root(&c));
    ck_assert_ptr_null(etcd_check_range(&c, AUTH_WRITE, STR("k"), STR_NULL));
    etcd_tokens_free(t);
    auth_state_unref(a);
}
END_TEST

/* Every compare and operation of a transaction must be allowed; nobody has no name. */
START_TEST(transactions)
{
    struct auth_state *a = state();
    struct etcd_caller u = {a, STR("u"), false}, nobody = {.auth = a}, gone = {a, STR("g"), false};
    struct etcd_caller stale = {a, STR("u"), true}, root = {a, STR("root"), false};
    const struct txn_op put = {.type = OP_PUT, .key = STR("w"), .lease = 7};
    const struct txn_op put_prev = {.type = OP_PUT, .key = STR("w"), .prev_kv = true};
    const struct txn_op get = {.type = OP_RANGE, .key = STR("k"), .range_end = STR("kz")};
    const struct txn_op del = {.type = OP_DELETE, .key = STR("k")};
    const struct txn_cmp cmp = {.key = STR("kk")}, other = {.key = STR("x")};
    struct txn good = {&cmp, 1, &put, 1, &get, 1, 0};
    struct txn_op nest = {.type = OP_TXN, .txn = &good};
    struct txn outer = {.success = &nest, .success_count = 1};
    ck_assert_ptr_null(etcd_check_txn(&u, &outer));
    ck_assert_ptr_null(etcd_check_txn(&root, &outer));
    ck_assert_ptr_eq(etcd_check_txn(&nobody, &outer), &etcd_err_user_empty);
    ck_assert_ptr_eq(etcd_check_txn(&gone, &outer), &etcd_err_permission_denied);
    ck_assert_ptr_eq(etcd_check_txn(&stale, &outer), &etcd_err_auth_old_revision);
    ck_assert_ptr_eq(etcd_check_root(&u), &etcd_err_permission_denied);
    ck_assert_ptr_eq(etcd_check_root(&gone), &etcd_err_user_not_found);
    int64_t lease;
    size_t leases;
    etcd_txn_leases(&u, &outer, &lease, 1, &leases);
    ck_assert(leases == 1 && lease == 7);
    etcd_txn_leases(&root, &outer, &lease, 1, &leases);
    ck_assert_uint_eq(leases, 0);
    good.cmps = &other;
    ck_assert_ptr_eq(etcd_check_txn(&u, &outer), &etcd_err_permission_denied);
    good.cmps = &cmp;
    good.failure = &del;
    ck_assert_ptr_eq(etcd_check_txn(&u, &outer), &etcd_err_permission_denied);
    good.failure = &get;
    good.success = &put_prev;
    ck_assert_ptr_eq(etcd_check_txn(&u, &outer), &etcd_err_permission_denied);
    auth_state_unref(a);
}
END_TEST

static void write_file(const char *path, struct buf *b)
{
    ck_assert_int_eq(file_write_atomic(path, b->data, b->len, 0600, NULL), 0);
}

/* JWTs: of the method given, until their time; stale once users changed; a public key checks
 * and signs nothing. */
START_TEST(jwts)
{
    char folder[] = "/tmp/trireme-jwt-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    struct pki_key *key = NULL;
    ck_assert_int_eq(pki_key_generate(PKI_KEY_RSA2048, &key, NULL), 0);
    AUTO_BUF pem = BUF_INIT, token = BUF_INIT;
    AUTO_ARENA *arena = arena_new(0);
    char *private_file = arena_strdup(arena, str_c(arena_printf(arena, "%s/key", folder)));
    char *public_file = arena_strdup(arena, str_c(arena_printf(arena, "%s/pub", folder)));
    pki_key_pem(key, &pem);
    write_file(private_file, &pem);
    buf_clear(&pem);
    pki_key_public_pem(key, &pem);
    write_file(public_file, &pem);
    struct auth_state *a = state();
    struct etcd_tokens *t = tokens(str_c(arena_printf(
        arena, "jwt,sign-method=PS384,priv-key=%s,pub-key=%s,ttl=1m", private_file, public_file)));
    struct etcd_tokens *check =
        tokens(str_c(arena_printf(arena, "jwt,sign-method=PS384,pub-key=%s", public_file)));
    struct etcd_tokens *other =
        tokens(str_c(arena_printf(arena, "jwt,sign-method=PS256,pub-key=%s", public_file)));
    ck_assert(!etcd_tokens_need_key(t, a));
    ck_assert_int_eq(etcd_token_make(t, a, STR("u"), &token, NULL), 0);
    ck_assert(takes(t, a, buf_str(&token)) && takes(check, a, buf_str(&token)));
    ck_assert(!takes(other, a, buf_str(&token)));
    ck_assert_int_eq(etcd_token_make(check, a, STR("u"), &pem, NULL), E_INVALID);
    struct etcd_caller c;
    ck_assert_ptr_null(etcd_caller_find(t, a, buf_str(&token), STR_NULL, arena, &c));
    ck_assert(!c.stale);
    CHANGE(&a, AUTH_ROLE_ADD, .role = STR("new"));
    ck_assert_ptr_null(etcd_caller_find(t, a, buf_str(&token), STR_NULL, arena, &c));
    ck_assert(c.stale);
    clock_ms += 60001;
    ck_assert(!takes(t, a, buf_str(&token)));
    etcd_tokens_free(t);
    etcd_tokens_free(check);
    etcd_tokens_free(other);
    struct etcd_tokens *hmac =
        tokens(str_c(arena_printf(arena, "jwt,sign-method=HS256,priv-key=%s", private_file)));
    buf_clear(&token);
    ck_assert_int_eq(etcd_token_make(hmac, a, STR("u"), &token, NULL), 0);
    ck_assert(takes(hmac, a, buf_str(&token)));
    etcd_tokens_free(hmac);
    auth_state_unref(a);
    pki_key_unref(key);
    ck_assert_int_eq(file_remove_tree(folder, NULL), 0);
}
END_TEST

/* A setting that cannot work is refused at start. */
START_TEST(bad_settings)
{
    static const char *const bad[] = {
        "",
        "other",
        "jwt",
        "jwt,sign-method=RS256",
        "jwt,sign-method=none,priv-key=/dev/null",
        "jwt,sign-method=HS256",
        "jwt,sign-method=HS256,priv-key=/dev/null",
        "jwt,sign-method=RS256,priv-key=/nonexistent",
        "jwt,sign-method=RS256,sign-method=RS256",
        "jwt,sign-method",
        "jwt,ttl=0s,sign-method=HS256,priv-key=/etc/hostname",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct etcd_tokens *t = NULL;
        struct error err = {0};
        ck_assert_int_lt(etcd_tokens_new(&(struct etcd_tokens_config){.spec = bad[i]}, &t, &err),
                         0);
        ck_assert_ptr_null(t);
        ck_assert_str_ne(err.message, "");
    }
}
END_TEST

UNIT_MAIN("etcd tokens", {
    UNIT_TEST(simple_lifetime);
    UNIT_TEST(simple_revoked);
    UNIT_TEST(simple_forged);
    UNIT_TEST(who_calls);
    UNIT_TEST(transactions);
    UNIT_TEST(jwts);
    UNIT_TEST(bad_settings);
})
