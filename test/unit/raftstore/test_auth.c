/* test_auth.c - users, roles and permissions: etcd's rules, and the encodings. */
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/auth.h"
#include "test/unit/raftstore/random.h"
#include "test/unit/unit.h"

/* Applies to *a, which it replaces on success. */
static enum auth_refusal apply(struct auth_state **a, struct auth_change c)
{
    struct auth_state *next = NULL;
    enum auth_refusal r = auth_apply(*a, &c, &next);
    if (r != AUTH_REFUSED_NOT) {
        ck_assert_ptr_null(next);
        return r;
    }
    auth_state_unref(*a);
    *a = next;
    return r;
}

#define OK(a, ...) ck_assert_int_eq(apply(a, (struct auth_change){__VA_ARGS__}), AUTH_REFUSED_NOT)
#define REFUSED(why, a, ...) ck_assert_int_eq(apply(a, (struct auth_change){__VA_ARGS__}), why)
#define HASH STR("$2a$10$abcdefghijklmnopqrstuv")

static struct auth_state *enabled_state(void)
{
    struct auth_state *a = auth_state_new();
    OK(&a, AUTH_USER_ADD, .user = STR("root"), .password_hash = HASH);
    OK(&a, AUTH_USER_GRANT, .user = STR("root"), .role = STR("root"));
    OK(&a, AUTH_USER_ADD, .user = STR("u"), .password_hash = HASH);
    OK(&a, AUTH_ROLE_ADD, .role = STR("r"));
    OK(&a, AUTH_ROLE_ADD, .role = STR("s"));
    OK(&a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("s"));
    OK(&a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("r"));
    OK(&a, AUTH_ENABLE);
    return a;
}

/* Enabling needs user root with role root; it changes auth_rev, not the revision shown. */
START_TEST(enabling)
{
    struct auth_state *a = auth_state_new();
    ck_assert(auth_revision(a) == 1 && !auth_enabled(a));
    REFUSED(AUTH_REFUSED_ROOT_USER_MISSING, &a, AUTH_ENABLE);
    OK(&a, AUTH_USER_ADD, .user = STR("root"), .password_hash = HASH);
    REFUSED(AUTH_REFUSED_ROOT_ROLE_MISSING, &a, AUTH_ENABLE);
    OK(&a, AUTH_USER_GRANT, .user = STR("root"), .role = STR("root"));
    ck_assert_uint_eq(auth_revision(a), 3);
    uint64_t rev = auth_rev(a);
    OK(&a, AUTH_ENABLE);
    ck_assert(auth_enabled(a));
    ck_assert_uint_eq(auth_revision(a), 3);
    ck_assert_uint_gt(auth_rev(a), rev);
    rev = auth_rev(a);
    OK(&a, AUTH_ENABLE);
    ck_assert_uint_eq(auth_rev(a), rev);
    OK(&a, AUTH_DISABLE);
    ck_assert(!auth_enabled(a));
    ck_assert_uint_eq(auth_revision(a), 4);
    ck_assert_uint_gt(auth_rev(a), rev);
    auth_state_unref(a);
}
END_TEST

/* Users: what is refused, and what a change leaves. */
START_TEST(users)
{
    struct auth_state *a = auth_state_new();
    REFUSED(AUTH_REFUSED_USER_EMPTY, &a, AUTH_USER_ADD);
    OK(&a, AUTH_USER_ADD, .user = STR("b"), .password_hash = HASH);
    OK(&a, AUTH_USER_ADD, .user = STR("a"), .no_password = true, .password_hash = HASH);
    REFUSED(AUTH_REFUSED_USER_EXISTS, &a, AUTH_USER_ADD, .user = STR("a"));
    size_t n;
    const struct auth_user *const *all = auth_users(a, &n);
    ck_assert_uint_eq(n, 2);
    ck_assert(str_eqc(all[0]->name, "a") && str_eqc(all[1]->name, "b"));
    ck_assert(all[0]->no_password && str_empty(all[0]->password_hash));
    ck_assert(str_eq(all[1]->password_hash, HASH));
    uint64_t password_rev = all[1]->password_rev;
    OK(&a, AUTH_USER_PASSWORD, .user = STR("b"), .password_hash = STR("other"));
    ck_assert(str_eqc(auth_user(a, STR("b"))->password_hash, "other"));
    ck_assert_uint_gt(auth_user(a, STR("b"))->password_rev, password_rev);
    REFUSED(AUTH_REFUSED_USER_NOT_FOUND, &a, AUTH_USER_PASSWORD, .user = STR("c"));
    REFUSED(AUTH_REFUSED_USER_NOT_FOUND, &a, AUTH_USER_DELETE, .user = STR("c"));
    OK(&a, AUTH_USER_DELETE, .user = STR("a"));
    ck_assert_ptr_null(auth_user(a, STR("a")));
    ck_assert_ptr_nonnull(auth_user(a, STR("b")));
    auth_state_unref(a);
}
END_TEST

/* Roles of users stay sorted; granting twice changes nothing; a deleted role goes from its users.
 */
START_TEST(roles)
{
    struct auth_state *a = auth_state_new();
    REFUSED(AUTH_REFUSED_ROLE_EMPTY, &a, AUTH_ROLE_ADD);
    OK(&a, AUTH_ROLE_ADD, .role = STR("z"));
    OK(&a, AUTH_ROLE_ADD, .role = STR("m"));
    REFUSED(AUTH_REFUSED_ROLE_EXISTS, &a, AUTH_ROLE_ADD, .role = STR("z"));
    REFUSED(AUTH_REFUSED_USER_NOT_FOUND, &a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("z"));
    OK(&a, AUTH_USER_ADD, .user = STR("u"));
    REFUSED(AUTH_REFUSED_ROLE_NOT_FOUND, &a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("y"));
    OK(&a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("z"));
    OK(&a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("m"));
    OK(&a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("root"));
    const struct auth_user *u = auth_user(a, STR("u"));
    ck_assert_uint_eq(u->role_count, 3);
    ck_assert(str_eqc(u->roles[0], "m") && str_eqc(u->roles[1], "root") &&
              str_eqc(u->roles[2], "z"));
    uint64_t rev = auth_rev(a);
    OK(&a, AUTH_USER_GRANT, .user = STR("u"), .role = STR("m"));
    ck_assert_uint_eq(auth_rev(a), rev);
    OK(&a, AUTH_ROLE_DELETE, .role = STR("m"));
    REFUSED(AUTH_REFUSED_ROLE_NOT_FOUND, &a, AUTH_ROLE_DELETE, .role = STR("m"));
    ck_assert_uint_eq(auth_user(a, STR("u"))->role_count, 2);
    OK(&a, AUTH_USER_REVOKE, .user = STR("u"), .role = STR("z"));
    REFUSED(AUTH_REFUSED_ROLE_NOT_GRANTED, &a, AUTH_USER_REVOKE, .user = STR("u"),
            .role = STR("z"));
    auth_state_unref(a);
}
END_TEST

/* While enabled, what would lock everybody out is refused; before, it is not. */
START_TEST(root_stays)
{
    struct auth_state *a = enabled_state();
    OK(&a, AUTH_ROLE_ADD, .role = STR("root"));
    REFUSED(AUTH_REFUSED_INVALID, &a, AUTH_USER_DELETE, .user = STR("root"));
    REFUSED(AUTH_REFUSED_INVALID, &a, AUTH_ROLE_DELETE, .role = STR("root"));
    REFUSED(AUTH_REFUSED_INVALID, &a, AUTH_USER_REVOKE, .user = STR("root"), .role = STR("root"));
    OK(&a, AUTH_DISABLE);
    OK(&a, AUTH_ROLE_DELETE, .role = STR("root"));
    OK(&a, AUTH_USER_DELETE, .user = STR("root"));
    auth_state_unref(a);
}
END_TEST

/* A change by somebody who has not the role root any more is refused when applied. */
START_TEST(actors)
{
    struct auth_state *a = enabled_state();
    REFUSED(AUTH_REFUSED_USER_EMPTY, &a, AUTH_ROLE_ADD, .role = STR("x"), .actor_checked = true);
    REFUSED(AUTH_REFUSED_USER_NOT_FOUND, &a, AUTH_ROLE_ADD, .role = STR("x"), .actor_checked = true,
            .actor = STR("gone"));
    REFUSED(AUTH_REFUSED_ACTOR, &a, AUTH_ROLE_ADD, .role = STR("x"), .actor_checked = true,
            .actor = STR("u"));
    OK(&a, AUTH_ROLE_ADD, .role = STR("x"), .actor_checked = true, .actor = STR("root"));
    OK(&a, AUTH_DISABLE);
    OK(&a, AUTH_ROLE_ADD, .role = STR("y"), .actor_checked = true);
    auth_state_unref(a);
}
END_TEST

static void grant(struct auth_state **a, const char *role, enum auth_access access, const char *key,
                  struct str end)
{
    OK(a, AUTH_ROLE_GRANT, .role = str_of(role), .access = access, .key = str_of(key),
       .range_end = end);
}
static bool may(const struct auth_state *a, enum auth_access access, const char *key,
                struct str end)
{
    return auth_may(a, STR("u"), access, str_of(key), end);
}
#define FROM_KEY str_n("", 1)

/* Ranges count together across roles, adjacent and overlapping ones. */
START_TEST(ranges)
{
    struct auth_state *a = enabled_state();
    ck_assert(!may(a, AUTH_READ, "b", STR_NULL));
    grant(&a, "r", AUTH_READ, "b", STR("d"));
    grant(&a, "s", AUTH_READWRITE, "d", STR("f"));
    grant(&a, "r", AUTH_WRITE, "x", STR_NULL);
    ck_assert(may(a, AUTH_READ, "b", STR_NULL) && may(a, AUTH_READ, "c~", STR_NULL));
    ck_assert(!may(a, AUTH_WRITE, "b", STR_NULL) && !may(a, AUTH_READ, "f", STR_NULL));
    ck_assert(may(a, AUTH_READ, "b", STR("f")) && may(a, AUTH_READ, "bb", STR("e")));
    ck_assert(!may(a, AUTH_READ, "b", STR("f0")) && !may(a, AUTH_READ, "a", STR("c")));
    ck_assert(!may(a, AUTH_READWRITE, "b", STR("f")) && may(a, AUTH_READWRITE, "d", STR("f")));
    ck_assert(may(a, AUTH_WRITE, "x", STR_NULL) && !may(a, AUTH_READ, "x", STR_NULL));
    ck_assert(may(a, AUTH_WRITE, "x", str_n("x\0", 2)) && !may(a, AUTH_WRITE, "x", STR("x0")));
    ck_assert(!may(a, AUTH_READ, "c", STR("b")));
    ck_assert(!may(a, AUTH_READ, "c", FROM_KEY));
    grant(&a, "s", AUTH_READ, "e", FROM_KEY);
    ck_assert(may(a, AUTH_READ, "b", FROM_KEY) && !may(a, AUTH_READ, "a", FROM_KEY));
    ck_assert(may(a, AUTH_READ, "zzz", STR_NULL));
    /* Root may everything, strangers nothing. */
    ck_assert(auth_may(a, STR("root"), AUTH_READWRITE, FROM_KEY, FROM_KEY));
    ck_assert(!auth_may(a, STR("v"), AUTH_READ, STR("b"), STR_NULL));
    OK(&a, AUTH_DISABLE);
    ck_assert(auth_may(a, STR("v"), AUTH_READ, STR("b"), STR_NULL));
    auth_state_unref(a);
}
END_TEST

/* Permissions: granting again replaces the kind, revoking takes the very range. */
START_TEST(permissions)
{
    struct auth_state *a = enabled_state();
    REFUSED(AUTH_REFUSED_INVALID, &a, AUTH_ROLE_GRANT, .role = STR("r"));
    REFUSED(AUTH_REFUSED_INVALID, &a, AUTH_ROLE_GRANT, .role = STR("r"), .key = STR("b"),
            .range_end = STR("a"));
    REFUSED(AUTH_REFUSED_ROLE_NOT_FOUND, &a, AUTH_ROLE_GRANT, .role = STR("q"), .key = STR("b"));
    grant(&a, "r", AUTH_READ, "k", STR("m"));
    grant(&a, "r", AUTH_READ, "k", STR_NULL);
    grant(&a, "r", AUTH_WRITE, "k", STR("m"));
    const struct auth_role *r = auth_role(a, STR("r"));
    ck_assert_uint_eq(r->permission_count, 2);
    ck_assert(str_empty(r->permissions[0].range_end));
    ck_assert_int_eq(r->permissions[1].access, AUTH_WRITE);
    REFUSED(AUTH_REFUSED_PERMISSION_NOT_GRANTED, &a, AUTH_ROLE_REVOKE, .role = STR("r"),
            .key = STR("k"), .range_end = STR("l"));
    OK(&a, AUTH_ROLE_REVOKE, .role = STR("r"), .key = STR("k"), .range_end = STR("m"));
    ck_assert(may(a, AUTH_READ, "k", STR_NULL) && !may(a, AUTH_WRITE, "k", STR_NULL));
    auth_state_unref(a);
}
END_TEST

/* The signing key is set once, stays out of auth_rev and goes when disabled. */
START_TEST(token_keys)
{
    struct auth_state *a = enabled_state();
    uint64_t rev = auth_rev(a);
    REFUSED(AUTH_REFUSED_LIMIT, &a, AUTH_TOKEN_KEY, .token_key = STR("short"));
    OK(&a, AUTH_TOKEN_KEY, .token_key = STR("0123456789abcdef0123456789abcdef"));
    OK(&a, AUTH_TOKEN_KEY, .token_key = STR("fedcba98fedcba98fedcba98fedcba98"));
    ck_assert(str_eqc(auth_token_key(a), "0123456789abcdef0123456789abcdef"));
    /* It survives a restart, and so does what stands behind it. */
    AUTO_BUF bytes = BUF_INIT, again = BUF_INIT;
    struct auth_state *copy;
    auth_state_encode(a, &bytes);
    ck_assert_int_eq(auth_state_decode(buf_str(&bytes), &copy, NULL), 0);
    ck_assert(str_eqc(auth_token_key(copy), "0123456789abcdef0123456789abcdef"));
    auth_state_encode(copy, &again);
    ck_assert(str_eq(buf_str(&again), buf_str(&bytes)));
    auth_state_unref(copy);
    ck_assert_uint_eq(auth_rev(a), rev);
    OK(&a, AUTH_DISABLE);
    ck_assert(str_empty(auth_token_key(a)));
    auth_state_unref(a);
}
END_TEST

static struct str pick(struct random *r, const char *prefix, char *room)
{
    int n = snprintf(room, 16, "%s%u", prefix, random_below(r, 12));
    return str_n(room, (size_t)n);
}

/* Many random changes: an older state never changes, a copy by encoding equals its original and
 * decides the same, and merged ranges agree with asking every permission about every key. */
START_TEST(random_changes)
{
    struct random r = random_seeded(test_seed());
    struct auth_state *a = enabled_state();
    for (unsigned step = 0; step < 4000; step++) {
        char user[16], role[16], key[16], end[16];
        struct auth_change c = {.type = (enum auth_change_type)(3 + random_below(&r, 9)),
                                .user = pick(&r, "u", user),
                                .role = pick(&r, "r", role),
                                .password_hash = HASH,
                                .access = (enum auth_access)random_below(&r, 3),
                                .key = pick(&r, "k", key),
                                .range_end = pick(&r, "k", end)};
        if (random_below(&r, 3) == 0)
            c.range_end = random_below(&r, 2) ? FROM_KEY : STR_NULL;
        if ((c.type == AUTH_USER_DELETE || c.type == AUTH_ROLE_DELETE) && random_below(&r, 4))
            continue;
        AUTO_BUF before = BUF_INIT, after = BUF_INIT, change = BUF_INIT;
        struct auth_state *old = auth_state_ref(a), *copy = NULL;
        auth_state_encode(old, &before);
        auth_change_encode(&c, &change);
        ck_assert_int_eq(auth_change_decode(buf_str(&change), &c, NULL), 0);
        apply(&a, c);
        auth_state_encode(old, &after);
        ck_assert(str_eq(buf_str(&before), buf_str(&after)));
        auth_state_unref(old);
        buf_clear(&before);
        buf_clear(&after);
        auth_state_encode(a, &before);
        ck_assert_int_eq(auth_state_decode(buf_str(&before), &copy, NULL), 0);
        auth_state_encode(copy, &after);
        ck_assert(str_eq(buf_str(&before), buf_str(&after)));
        const struct auth_user *u = auth_user(copy, c.user);
        enum auth_access access = random_below(&r, 2) ? AUTH_READ : AUTH_WRITE;
        bool naive = false;
        for (size_t i = 0; u != NULL && i < u->role_count; i++) {
            const struct auth_role *role_of = auth_role(copy, u->roles[i]);
            for (size_t k = 0; role_of != NULL && k < role_of->permission_count; k++) {
                const struct auth_permission *p = &role_of->permissions[k];
                bool in = str_empty(p->range_end)
                              ? str_eq(p->key, c.key)
                              : str_cmp(p->key, c.key) <= 0 && (str_eq(p->range_end, FROM_KEY) ||
                                                                str_cmp(c.key, p->range_end) < 0);
                naive |= in && (p->access == access || p->access == AUTH_READWRITE);
            }
        }
        ck_assert(auth_may(copy, c.user, access, c.key, STR_NULL) == naive);
        auth_state_unref(copy);
    }
    auth_state_unref(a);
}
END_TEST

/* Bytes that encoding never writes are refused, at every length. */
START_TEST(malformed)
{
    struct auth_state *a = enabled_state(), *got = NULL;
    grant(&a, "r", AUTH_READ, "k", STR("m"));
    AUTO_BUF bytes = BUF_INIT;
    auth_state_encode(a, &bytes);
    for (size_t n = 0; n < bytes.len; n++)
        ck_assert_int_eq(auth_state_decode(str_sub(buf_str(&bytes), 0, n), &got, NULL), E_INVALID);
    buf_putc(&bytes, 0);
    ck_assert_int_eq(auth_state_decode(buf_str(&bytes), &got, NULL), E_INVALID);
    auth_state_unref(a);
}
END_TEST

UNIT_MAIN("auth", {
    UNIT_TEST(enabling);
    UNIT_TEST(users);
    UNIT_TEST(roles);
    UNIT_TEST(root_stays);
    UNIT_TEST(actors);
    UNIT_TEST(ranges);
    UNIT_TEST(permissions);
    UNIT_TEST(token_keys);
    UNIT_TEST(random_changes);
    UNIT_TEST(malformed);
})
