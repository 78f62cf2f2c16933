/* store_rig.h - stores in one process, driven synchronously: a test's own loop
 * takes the answers. Peers talk over unix sockets in a temporary folder, so no
 * port is ever fixed. */
#ifndef TEST_STORE_RIG_H
#define TEST_STORE_RIG_H

#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mailbox.h"
#include "raftstore/store.h"
#include "raftstore/store_hooks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <signal.h>

#define RIG_MEMBERS 5

#if defined(__SANITIZE_THREAD__)
/* libuv closes sockets by a system call that TSan does not see: it takes the
 * next file of that number for the same one. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:^sys_list$\nrace:^sys_open$\nrace:^sys_close$\nrace:^sys_lock$\nrace:^sys_sync_"
           "dir$\n";
}
#endif

struct rig {
    char dir[64];
    uv_loop_t loop;
    struct mailbox mb;
    uint32_t count;
    bool tcp; /* Each listens on a port the system picks; members join the first. */
    struct store *stores[RIG_MEMBERS];
    struct store_member members[RIG_MEMBERS];
    char names[RIG_MEMBERS][8], addresses[RIG_MEMBERS][96], dirs[RIG_MEMBERS][80];
    struct store_config config; /* What all have in common. */
    struct store_hooks hooks;
};

struct answer {
    bool done;
    int code;
    int64_t rev;
    bool succeeded;
};

static inline void rig_init(struct rig *r, uint32_t count)
{
    memset(r, 0, sizeof(*r));
    signal(SIGPIPE, SIG_IGN); /* As every program does. */
    snprintf(r->dir, sizeof(r->dir), "/tmp/test_store_XXXXXX");
    if (mkdtemp(r->dir) == NULL)
        PANIC("no temporary folder");
    uv_loop_init(&r->loop);
    mailbox_init(&r->mb, &r->loop);
    r->count = count;
    r->config.heartbeat_ms = 20;
    r->config.election_ms = 200;
    for (uint32_t i = 0; i < RIG_MEMBERS; i++) {
        snprintf(r->names[i], sizeof(r->names[i]), "m%u", i + 1);
        snprintf(r->addresses[i], sizeof(r->addresses[i]), "unix:%s/%u.sock", r->dir, i + 1);
        snprintf(r->dirs[i], sizeof(r->dirs[i]), "%s/%u", r->dir, i + 1);
        r->members[i] =
            (struct store_member){.id = i + 1, .name = r->names[i], .address = r->addresses[i]};
    }
}

static inline int rig_try_start(struct rig *r, uint32_t i, struct error *err)
{
    struct store_config c = r->config;
    c.data_dir = r->dirs[i];
    c.name = r->names[i];
    if (r->count > 0) {
        c.listen_address = r->addresses[i];
        c.initial_members = r->members;
        c.initial_member_count = c.join ? 0 : r->count;
    }
    if (r->tcp)
        c.listen_address = "127.0.0.1:0";
    int rc = store_open_hooked(&c, &r->hooks, &r->stores[i], err);
    if (rc == 0 && r->tcp)
        snprintf(r->addresses[i], sizeof(r->addresses[i]), "127.0.0.1:%u",
                 store_peer_port(r->stores[i]));
    return rc;
}

static inline void rig_start(struct rig *r, uint32_t i)
{
    struct error err = {0};
    if (rig_try_start(r, i, &err) < 0)
        PANIC("store %u: %s", i + 1, error_message(&err));
}

static inline void rig_stop(struct rig *r, uint32_t i)
{
    store_close(r->stores[i]);
    r->stores[i] = NULL;
}

static inline void rig_kill(struct rig *r, uint32_t i)
{
    store_kill(r->stores[i]);
    r->stores[i] = NULL;
}

static inline void rig_done(struct rig *r)
{
    for (uint32_t i = 0; i < RIG_MEMBERS; i++)
        if (r->stores[i] != NULL)
            rig_stop(r, i);
    mailbox_close(&r->mb, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    uv_loop_close(&r->loop);
    file_remove_tree(r->dir, NULL);
}

static inline void rig_on_tick(uv_timer_t *t)
{
    UNUSED(t);
}

/* Runs the loop until *done, at most ms. */
static inline bool rig_wait(struct rig *r, const bool *done, uint64_t ms)
{
    uint64_t end = env_now_ms(env_system()) + ms;
    uv_timer_t tick;
    uv_timer_init(&r->loop, &tick);
    uv_timer_start(&tick, rig_on_tick, 5, 5);
    while (!*done && env_now_ms(env_system()) < end)
        uv_run(&r->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&r->loop, UV_RUN_NOWAIT);
    return *done;
}

static inline void rig_sleep(struct rig *r, uint64_t ms)
{
    bool never = false;
    rig_wait(r, &never, ms);
}

static inline void rig_on_txn(int code, const struct txn_result *result, void *arg)
{
    struct answer *a = arg;
    *a = (struct answer){true, code, result != NULL ? result->rev : 0,
                         result != NULL && result->succeeded};
}

static inline void rig_on_done(int code, int64_t rev, void *arg)
{
    struct answer *a = arg;
    *a = (struct answer){true, code, rev, code == 0};
}

/* Starts a put without waiting for it. */
static inline void rig_put_start(struct rig *r, uint32_t i, const char *key, const char *value,
                                 struct answer *a)
{
    struct txn_op op = {.type = OP_PUT, .key = str_of(key), .value = str_of(value)};
    struct txn t = {.success = &op, .success_count = 1};
    *a = (struct answer){0};
    store_txn(r->stores[i], &t, &r->mb, rig_on_txn, a);
}

static inline struct answer rig_put(struct rig *r, uint32_t i, const char *key, const char *value)
{
    struct answer *a = xzalloc(sizeof(*a)), ret; /* Survives its test when the answer is late. */
    rig_put_start(r, i, key, value, a);
    if (!rig_wait(r, &a->done, 20000))
        PANIC("no answer to a put within 20 s");
    ret = *a;
    free(a);
    return ret;
}

/* Until it succeeds: leaders change. Only for keys with one writer. */
static inline int64_t rig_must_put(struct rig *r, uint32_t i, const char *key, const char *value)
{
    struct answer a = {0};
    for (int tries = 0; tries < 200; tries++) {
        a = rig_put(r, i, key, value);
        if (a.code == 0)
            return a.rev;
        rig_sleep(r, 20);
    }
    PANIC("put on store %u: %s", i + 1, error_text(a.code));
}

static inline struct answer rig_barrier(struct rig *r, uint32_t i)
{
    struct answer a = {0};
    store_read_barrier(r->stores[i], &r->mb, rig_on_done, &a);
    if (!rig_wait(r, &a.done, 20000))
        PANIC("no answer to a read within 20 s");
    return a;
}

/* The value at a confirmed read point; NULL when there is none. free() it. */
static inline char *rig_get(struct rig *r, uint32_t i, const char *key)
{
    struct answer a = {0};
    for (int tries = 0; tries < 200; tries++) {
        a = rig_barrier(r, i);
        if (a.code == 0)
            break;
        rig_sleep(r, 20);
    }
    if (a.code != 0)
        PANIC("read on store %u: %s", i + 1, error_text(a.code));
    struct store_view *v = store_view(r->stores[i]);
    if (store_view_rev(v) < a.rev)
        PANIC("the view is behind its barrier");
    const struct kv *kv = store_view_get(v, str_of(key), 0);
    char *value = kv != NULL ? xstrndup(kv_value(kv).data, kv_value(kv).len) : NULL;
    store_view_unref(v);
    return value;
}

/* The index of the leading store, waiting for one; -1 after 20 s. */
static inline int rig_leader(struct rig *r)
{
    for (int tries = 0; tries < 2000; tries++) {
        for (int i = 0; i < RIG_MEMBERS; i++) {
            struct store_status st;
            if (r->stores[i] == NULL)
                continue;
            store_status(r->stores[i], &st);
            if (st.is_leader)
                return i;
        }
        rig_sleep(r, 10);
    }
    return -1;
}

/* Waits until every running store has applied what the first one had now. */
static inline bool rig_caught_up(struct rig *r, uint64_t ms)
{
    uint64_t end = env_now_ms(env_system()) + ms;
    struct store_status want = {0}, st;
    for (int i = 0; i < RIG_MEMBERS; i++)
        if (r->stores[i] != NULL) {
            store_status(r->stores[i], &st);
            want = st.rev > want.rev ? st : want;
        }
    for (int i = 0; i < RIG_MEMBERS; i++) {
        while (r->stores[i] != NULL && (store_status(r->stores[i], &st), st.rev < want.rev)) {
            if (env_now_ms(env_system()) > end)
                return false;
            rig_sleep(r, 5);
        }
    }
    return true;
}

#endif
