/* test_store_members.c - what the cluster tells of its members, learners, moves. */
#include "test/unit/raftstore/store_rig.h"
#include "test/unit/unit.h"

/* Owned; NULL when id is no member of what store i knows. */
static struct store_member *member_of(struct rig *r, uint32_t i, uint64_t id, uint32_t *ret_at)
{
    uint32_t count;
    struct store_member *list = store_members(r->stores[i], &count);
    for (*ret_at = 0; *ret_at < count; ++*ret_at)
        if (list[*ret_at].id == id)
            return list;
    free(list);
    return NULL;
}

static bool shows(struct rig *r, uint32_t i, uint64_t id, const char *name, const char *urls)
{
    uint32_t at;
    struct store_member *list = member_of(r, i, id, &at);
    bool ok =
        list != NULL && strcmp(list[at].name, name) == 0 && strcmp(list[at].client_urls, urls) == 0;
    free(list);
    return ok;
}

static bool is_learner(struct rig *r, uint32_t i, uint64_t id)
{
    uint32_t at;
    struct store_member *list = member_of(r, i, id, &at);
    bool ok = list != NULL && list[at].is_learner && !list[at].is_voter;
    free(list);
    return ok;
}

static bool is_voter(struct rig *r, uint32_t i, uint64_t id)
{
    uint32_t at;
    struct store_member *list = member_of(r, i, id, &at);
    bool ok = list != NULL && !list[at].is_learner && list[at].is_voter;
    free(list);
    return ok;
}

#define EVENTUALLY(r, condition)                                                                   \
    do {                                                                                           \
        for (int tries_ = 0; !(condition) && tries_ < 1000; tries_++)                              \
            rig_sleep(r, 10);                                                                      \
        ck_assert(condition);                                                                      \
    } while (0)

static struct answer wait_for(struct rig *r, struct answer *a)
{
    if (!rig_wait(r, &a->done, 20000))
        PANIC("no answer within 20 s");
    return *a;
}

static void start3(struct rig *r)
{
    static const char *const urls[] = {"http://1:2379", "http://2:2379,http://two:2379", ""};
    rig_init(r, 3);
    for (uint32_t i = 0; i < 3; i++) {
        r->config.client_urls = urls[i];
        rig_start(r, i);
    }
    r->config.client_urls = NULL;
    rig_must_put(r, 0, "a", "1");
}

/* Every member shows every member's name and client URLs, also new ones. */
START_TEST(client_urls)
{
    struct rig r;
    start3(&r);
    for (uint32_t i = 0; i < 3; i++) {
        EVENTUALLY(&r, shows(&r, i, 1, "m1", "http://1:2379"));
        EVENTUALLY(&r, shows(&r, i, 2, "m2", "http://2:2379,http://two:2379"));
        EVENTUALLY(&r, shows(&r, i, 3, "m3", ""));
    }
    rig_stop(&r, 2);
    r.config.client_urls = "http://moved:1";
    rig_start(&r, 2);
    for (uint32_t i = 0; i < 3; i++)
        EVENTUALLY(&r, shows(&r, i, 3, "m3", "http://moved:1"));
    rig_done(&r);
}
END_TEST

static struct answer add_learner(struct rig *r, const char *address)
{
    struct answer a = {0};
    store_member_add_learner(r->stores[0], address, &r->mb, rig_on_done, &a);
    return wait_for(r, &a);
}

static int promote(struct rig *r, uint32_t i, uint64_t id)
{
    struct answer a = {0};
    store_member_promote(r->stores[i], id, &r->mb, rig_on_done, &a);
    return wait_for(r, &a).code;
}

/* A learner stays one over restarts and changes of leader; promoted, it votes. */
START_TEST(learner)
{
    struct rig r;
    start3(&r);
    struct answer added = add_learner(&r, r.addresses[3]);
    ck_assert_int_eq(added.code, 0);
    uint64_t id = (uint64_t)added.rev;
    ck_assert_int_eq(add_learner(&r, r.addresses[3]).code, E_EXISTS);
    ck_assert_int_eq(promote(&r, 1, id), E_AGAIN); /* It was never heard of. */
    ck_assert_int_eq(promote(&r, 1, 12345), E_NOT_FOUND);
    r.config.join = true;
    rig_start(&r, 3);
    EVENTUALLY(&r, is_learner(&r, 3, id));
    rig_must_put(&r, 3, "b", "2");
    struct store_status st;
    store_status(r.stores[3], &st);
    ck_assert(st.is_learner && !st.is_voter);
    rig_sleep(&r, 600); /* Three election timeouts: a standby would be promoted by now. */
    ck_assert(is_learner(&r, 0, id));

    rig_stop(&r, 3);
    rig_start(&r, 3);
    rig_stop(&r, (uint32_t)rig_leader(&r));
    uint32_t any = r.stores[0] != NULL ? 0 : 1;
    rig_must_put(&r, any, "c", "3");
    EVENTUALLY(&r, is_learner(&r, 3, id));
    ck_assert(is_learner(&r, any, id));
    int code;
    for (int tries = 0; (code = promote(&r, any, id)) == E_AGAIN && tries < 500; tries++)
        rig_sleep(&r, 10);
    ck_assert_int_eq(code, 0);
    EVENTUALLY(&r, is_voter(&r, 3, id));
    ck_assert_int_eq(promote(&r, any, id), E_INVALID);
    rig_done(&r);
}
END_TEST

static int update(struct rig *r, uint32_t i, uint64_t id, const char *address)
{
    struct answer a = {0};
    store_member_update(r->stores[i], id, address, &r->mb, rig_on_done, &a);
    return wait_for(r, &a).code;
}

/* A member that moved is found at its new address; nobody else's is taken. */
START_TEST(moved)
{
    struct rig r;
    start3(&r);
    ck_assert_int_eq(update(&r, 0, 3, r.addresses[1]), E_EXISTS);
    ck_assert_int_eq(update(&r, 0, 99, r.addresses[4]), E_NOT_FOUND);
    ck_assert_int_eq(update(&r, 0, 3, r.addresses[4]), 0);
    ck_assert_int_eq(update(&r, 1, 3, r.addresses[4]), 0);
    rig_must_put(&r, 2, "before", "1"); /* It has not moved yet, and is still reached. */
    rig_stop(&r, 2);
    rig_must_put(&r, 0, "during", "1");
    memcpy(r.addresses[2], r.addresses[4], sizeof(r.addresses[2]));
    rig_start(&r, 2);
    ck_assert(rig_caught_up(&r, 10000));
    rig_must_put(&r, 2, "after", "1");
    /* The other two make no majority with a third that they cannot reach. */
    int leader = rig_leader(&r);
    rig_stop(&r, leader == 2 ? 0 : (uint32_t)leader);
    rig_must_put(&r, 2, "with it", "1");
    uint32_t at;
    struct store_member *list = member_of(&r, 2, 3, &at);
    ck_assert_str_eq(list[at].address, r.addresses[4]);
    free(list);
    rig_done(&r);
}
END_TEST

static void on_auth(int code, enum auth_refusal refusal, int64_t rev, void *arg)
{
    UNUSED(refusal);
    *(struct answer *)arg = (struct answer){true, code, rev, code == 0};
}

static int add_role(struct rig *r, uint32_t i, const char *role)
{
    struct answer a = {0};
    store_auth_change(r->stores[i],
                      &(struct auth_change){.type = AUTH_ROLE_ADD, .role = str_of(role)}, &r->mb,
                      on_auth, &a);
    return wait_for(r, &a).code;
}

/* Nobody is given what a member of the version before would stop at, until all
 * are upgraded; what that version knows goes on. */
START_TEST(rolling_upgrade)
{
    struct rig r;
    rig_init(&r, 3);
    r.config.client_urls = "http://all:2379";
    for (uint32_t i = 0; i < 3; i++) {
        r.hooks.command_format = i == 2 ? 1 : 0;
        rig_start(&r, i);
    }
    r.hooks.command_format = 0;
    rig_must_put(&r, 0, "a", "1");
    for (uint32_t i = 0; i < 3; i++) {
        EVENTUALLY(&r, shows(&r, i, 1, "m1", "") && shows(&r, i, 3, "m3", ""));
        ck_assert_int_eq(add_role(&r, i, "role"), E_UNAVAILABLE);
    }
    ck_assert_int_eq(add_learner(&r, r.addresses[3]).code, E_UNAVAILABLE);
    rig_must_put(&r, 2, "a", "2");
    rig_stop(&r, 2);
    rig_start(&r, 2);
    for (uint32_t i = 0; i < 3; i++) {
        char role[8];
        int code = E_UNAVAILABLE;
        snprintf(role, sizeof(role), "role%u", i);
        EVENTUALLY(&r, shows(&r, i, 3, "m3", "http://all:2379"));
        for (int tries = 0; (code = add_role(&r, i, role)) == E_UNAVAILABLE && tries < 500; tries++)
            rig_sleep(&r, 10);
        ck_assert_int_eq(code, 0);
    }
    rig_done(&r);
}
END_TEST

UNIT_MAIN("store_members", UNIT_TEST(client_urls); UNIT_TEST(learner); UNIT_TEST(moved);
          UNIT_TEST(rolling_upgrade))
