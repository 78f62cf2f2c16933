/* load_bulk.c - lists of everything and snapshots, one after another, each from
 * the next endpoint. The first list is looked through; those after it are only
 * measured, so that the generator takes little of the machine. */
#include "test/bench/load_store.h"

#include "lib/base/base.h"

#include <stdio.h>
#include <string.h>

struct bulk {
    struct load_call call;
    uint64_t bytes, keys, remaining;
    int64_t count;
    bool bad;
    bool done;
    int status;
};

static void bulk_list(struct load_call *call, const uint8_t *data, size_t len)
{
    struct bulk *b = call->user;
    struct wire_answer a;
    struct wire_kv kv;
    uint8_t last[KEY_BYTES] = "";
    b->bytes += len;
    if (!wire_answer(data, len, &a)) {
        b->bad = true;
        return;
    }
    b->count = a.count;
    while (wire_next_kv(&a.body, data + len, 2, &kv)) {
        b->keys++;
        if (kv.key_len != KEY_BYTES || memcmp(last, kv.key, KEY_BYTES) >= 0 ||
            !wire_value_ok(kv.value, kv.value_len))
            b->bad = true;
        else
            memcpy(last, kv.key, KEY_BYTES);
    }
    b->bad |= b->keys != (uint64_t)a.count;
}

static void bulk_counted(struct load_call *call, const uint8_t *data, size_t len)
{
    struct bulk *b = call->user;
    struct wire_answer a;
    b->bad = !wire_answer(data, len, &a);
    b->count = a.count;
}

static void bulk_piece(struct load_call *call, const uint8_t *data, size_t len)
{
    UNUSED(data);
    ((struct bulk *)call->user)->bytes += len;
}

static void bulk_end(struct load_call *call, int status, const char *text)
{
    struct bulk *b = call->user;
    b->status = status;
    b->done = true;
    if (status != 0 || b->bad)
        load_complain("list or snapshot", status, text);
}

static bool bulk_once(struct load_loop *loop, struct load_conn *conn, bool list, bool look,
                      struct bulk *b)
{
    uint8_t message[MESSAGE_MAX];
    size_t len = list ? wire_range(message, &(struct wire_range){.all = true}) : 0;
    memset(b, 0, sizeof(*b));
    b->call.user = b;
    b->call.on_end = bulk_end;
    if (list && look)
        b->call.on_message = bulk_list;
    else
        b->call.on_piece = bulk_piece;
    load_call_start(conn, &b->call, list ? PATH_RANGE : PATH_SNAPSHOT, message, len, true);
    load_loop_run(loop, &b->done, NULL, NULL);
    return b->status == 0 && !b->bad;
}

void bulk_run(const struct load_config *config, const char *what, uint64_t count, const bool *stop,
              struct bulk_result *ret)
{
    struct load_loop *loop = load_loop_new();
    struct load_conn *conns[ENDPOINTS_MAX];
    struct bulk b;
    uint64_t begun = load_now_ns();
    bool list = strcmp(what, "list") == 0;
    *ret = (struct bulk_result){0};
    for (size_t i = 0; i < config->endpoint_count; i++)
        conns[i] = load_conn_new(loop, config->endpoints[i]);
    for (uint64_t i = 0; (count == 0 || i < count) && !__atomic_load_n(stop, __ATOMIC_RELAXED);
         i++) {
        uint64_t start = load_now_ns();
        bool good = bulk_once(loop, conns[i % config->endpoint_count], list, i == 0, &b);
        ret->done += good;
        ret->failed += !good;
        ret->bytes += b.bytes;
        load_times_add(&ret->times, load_now_ns() - start);
    }
    ret->seconds = (double)(load_now_ns() - begun) / 1e9;
    load_loop_free(loop);
}

int64_t bulk_count_keys(const struct load_config *config)
{
    struct load_loop *loop = load_loop_new();
    struct load_conn *conn = load_conn_new(loop, config->endpoints[0]);
    struct bulk b = {.call = {.on_message = bulk_counted, .on_end = bulk_end}};
    uint8_t message[MESSAGE_MAX];
    b.call.user = &b;
    size_t len = wire_range(message, &(struct wire_range){.all = true, .count_only = true});
    load_call_start(conn, &b.call, PATH_RANGE, message, len, true);
    load_loop_run(loop, &b.done, NULL, NULL);
    load_loop_free(loop);
    return b.status == 0 && !b.bad ? b.count : -1;
}
