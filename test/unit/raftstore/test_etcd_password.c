/* test_etcd_password.c - bcrypt on workers, answers on the loop. */
#include "lib/base/error.h"
#include "lib/base/mailbox.h"
#include "raftstore/etcd/password.h"
#include "test/unit/unit.h"

struct rig {
    uv_loop_t loop;
    struct mailbox mailbox;
    struct passwords *p;
    unsigned waiting;
    bool right;
    char hash[64];
};

static void rig_init(struct rig *r)
{
    ck_assert_int_eq(uv_loop_init(&r->loop), 0);
    ck_assert_int_eq(mailbox_init(&r->mailbox, &r->loop), 0);
    r->p = passwords_new(0);
    r->waiting = 0;
}

static void rig_done(struct rig *r)
{
    passwords_free(r->p);
    mailbox_close(&r->mailbox, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&r->loop), 0);
}

static void answered(bool right, struct str hash, void *arg)
{
    struct rig *r = arg;
    r->right = right;
    snprintf(r->hash, sizeof(r->hash), STR_FMT, STR_ARG(hash));
    if (--r->waiting == 0)
        uv_stop(&r->loop);
}

static void wait_all(struct rig *r)
{
    while (r->waiting > 0)
        uv_run(&r->loop, UV_RUN_DEFAULT);
}

static bool check(struct rig *r, const char *password, const char *hash)
{
    r->waiting = 1;
    ck_assert_int_eq(password_check(r->p, str_of(password), str_of(hash), &r->mailbox, answered, r),
                     0);
    wait_all(r);
    return r->right;
}

/* What was hashed is right with its password alone, and two hashes of one password differ. */
START_TEST(hash_and_check)
{
    struct rig r;
    rig_init(&r);
    r.waiting = 1;
    ck_assert_int_eq(password_hash(r.p, STR("secret"), &r.mailbox, answered, &r), 0);
    wait_all(&r);
    ck_assert_int_eq(strncmp(r.hash, "$2a$10$", 7), 0);
    char one[64];
    memcpy(one, r.hash, sizeof(one));
    ck_assert(check(&r, "secret", one) && !check(&r, "secre", one) && !check(&r, "", one));
    r.waiting = 1;
    ck_assert_int_eq(password_hash(r.p, STR("secret"), &r.mailbox, answered, &r), 0);
    wait_all(&r);
    ck_assert_str_ne(one, r.hash);
    rig_done(&r);
}
END_TEST

/* Hashes that others made: OpenBSD's and Go's vectors. */
START_TEST(known_hashes)
{
    struct rig r;
    rig_init(&r);
    ck_assert(check(&r, "allmine", "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"));
    ck_assert(!check(&r, "allmin", "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"));
    ck_assert(check(&r, "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
    rig_done(&r);
}
END_TEST

/* No hash, or no hash of ours, is wrong whatever the password is. */
START_TEST(unknown_users)
{
    struct rig r;
    rig_init(&r);
    ck_assert(!check(&r, "x", "") && !check(&r, "", "") && !check(&r, "x", "$6$salt$hash"));
    ck_assert(!check(&r, "x", "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
    rig_done(&r);
}
END_TEST

/* Too long, with a NUL, and too many at a time. */
START_TEST(limits)
{
    struct rig r;
    rig_init(&r);
    char longer[PASSWORD_BYTES_MAX + 1];
    memset(longer, 'x', sizeof(longer));
    ck_assert_int_eq(password_hash(r.p, str_n(longer, sizeof(longer)), &r.mailbox, answered, &r),
                     E_INVALID);
    ck_assert_int_eq(password_hash(r.p, str_n("a\0b", 3), &r.mailbox, answered, &r), E_INVALID);
    /* Cheap ones: the least cost there is. */
    struct str hash = STR("$2a$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
    int rc = 0;
    for (unsigned i = 0; i < PASSWORD_QUEUE_MAX + 1; i++) {
        rc = password_check(r.p, STR("x"), hash, &r.mailbox, answered, &r);
        r.waiting += rc == 0 ? 1 : 0;
    }
    ck_assert_int_eq(rc, E_TOO_MANY);
    wait_all(&r);
    rig_done(&r);
}
END_TEST

UNIT_MAIN("etcd passwords", {
    UNIT_TEST(hash_and_check);
    UNIT_TEST(known_hashes);
    UNIT_TEST(unknown_users);
    UNIT_TEST(limits);
})
