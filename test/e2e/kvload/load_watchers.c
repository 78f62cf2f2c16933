/* load_watchers.c - watch streams of three watches each, resumed by revision. */
#include "test/e2e/kvload/load_internal.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"
#include "test/e2e/kvload/wire.h"

#include <inttypes.h>

#define STALL_US 5000000 /* Of silence. */

static void watcher_connect(uv_timer_t *timer);

static void watcher_wait(struct watcher *w)
{
    if (w->waiting || w->l->phase == DONE)
        return;
    w->waiting = true;
    uv_timer_start(&w->timer, watcher_connect, RETRY_MS + below(w->l, RETRY_MS), 0);
}

static void on_watch_message(struct grpc_call *call, struct str message, void *arg)
{
    struct watcher *w = arg;
    struct load *l = w->l;
    struct wire_watch a;
    uint64_t before = history_violations(l->h);
    w->heard_us = now_us();
    w->answers++;
    if (wire_watch_answer(grpc_call_arena(call), message, &a) < 0) {
        history_violation(l->h, "watcher %u got an answer that cannot be read", w->number);
        return;
    }
    if (a.wrong != NULL)
        history_violation(l->h, "watcher %u: %s", w->number, a.wrong);
    bool known = a.id >= 1 && a.id <= WATCHES;
    if (a.canceled) {
        if (known && a.compact_rev > 0)
            watch_log_lost(w->logs[a.id - 1], a.compact_rev);
        note_error(l, GRPC_CANCELLED, str_of(a.reason));
        grpc_call_cancel(call);
        return;
    }
    if (a.created)
        return;
    for (size_t i = 0; i < a.count; i++)
        a.events[i].at_us = w->heard_us;
    if (a.count > 0 && known)
        watch_log_add(w->logs[a.id - 1], a.events, a.count);
    else if (a.count > 0)
        history_violation(l->h, "watcher %u got events of watch %" PRId64, w->number, a.id);
    else
        for (int i = 0; i < WATCHES; i++)
            if (!known || a.id == i + 1)
                watch_log_progress(w->logs[i], a.rev);
    if (history_violations(l->h) > before)
        printf("    from %s: answer %" PRIu64 " of its stream, begun at %" PRId64
               ", header %" PRId64 ", %zu events from %" PRId64 " on, watch %" PRId64 "\n",
               l->config.endpoints[w->endpoint], w->answers, w->begun_rev, a.rev, a.count,
               a.count > 0 ? a.events[0].kv.mod : 0, a.id);
}

static void on_watch_end(struct grpc_call *call, enum grpc_status status, struct str text,
                         void *arg)
{
    UNUSED(call);
    struct watcher *w = arg;
    w->call = NULL;
    if (w->l->phase == DONE)
        return;
    if (status != GRPC_CANCELLED)
        note_error(w->l, status, text);
    watcher_wait(w);
}

static void watcher_connect(uv_timer_t *timer)
{
    struct watcher *w = CONTAINER_OF(timer, struct watcher, timer);
    struct load *l = w->l;
    w->waiting = false;
    if (w->http != NULL) {
        http_client_close(w->http, NULL, NULL);
        w->endpoint = (w->endpoint + 1) % (uint32_t)l->config.endpoint_count;
    }
    w->http = connect_to(l, w->endpoint);
    /* The server ends the stream when its member has no leader. */
    static const struct http_header metadata[] = {{STR("hasleader"), STR("true")}};
    struct grpc_call_config config = {
        .method = "/etcdserverpb.Watch/Watch",
        .metadata = metadata,
        .metadata_count = 1,
        .client_streaming = true,
        .on_message = on_watch_message,
        .on_end = on_watch_end,
        .arg = w,
    };
    struct error err = {0};
    w->heard_us = now_us();
    w->answers = 0;
    w->begun_rev = watch_log_next(w->logs[0]);
    if (grpc_call_start(w->http, &config, &w->call, &err) < 0)
        PANIC("cannot watch: %s", error_message(&err));
    for (int i = 0; i < WATCHES; i++) {
        struct net_bytes *b =
            wire_watch_create(w->first[i], w->count[i], watch_log_next(w->logs[i]), i + 1);
        grpc_call_send(w->call, b);
        net_bytes_unref(b);
    }
}

void watcher_init(struct load *l, uint32_t number)
{
    struct watcher *w = &l->watchers[number];
    w->l = l;
    w->number = number;
    w->endpoint = number % (uint32_t)l->config.endpoint_count;
    w->count[0] = l->keys;
    w->first[1] = (l->config.writers + 2 - number % 3) % (l->config.writers + 2) * HISTORY_SLOTS;
    w->count[1] = HISTORY_SLOTS;
    w->first[2] = l->config.writers * HISTORY_SLOTS;
    w->count[2] = 1;
    for (int i = 0; i < WATCHES; i++) {
        char name[48];
        snprintf(name, sizeof(name), "watcher %u of %s", number,
                 i == 0   ? "everything"
                 : i == 1 ? "a group"
                          : "a key");
        w->logs[i] = history_watch(l->h, name, w->first[i], w->count[i]);
    }
    uv_timer_init(&l->loop, &w->timer);
    watcher_wait(w);
}

void watcher_done(struct watcher *w)
{
    if (w->http != NULL)
        http_client_close(w->http, NULL, NULL);
    uv_close((uv_handle_t *)&w->timer, NULL);
}

void watcher_ask_progress(struct watcher *w)
{
    if (w->call == NULL)
        return;
    struct net_bytes *b = wire_watch_progress();
    grpc_call_send(w->call, b);
    net_bytes_unref(b);
}

void watcher_check_stall(struct watcher *w)
{
    struct load *l = w->l;
    if (w->call != NULL && now_us() - w->heard_us > STALL_US &&
        watch_log_next(w->logs[0]) <= MAX_OF(history_rev(l->h), l->max_rev)) {
        w->heard_us = now_us();
        grpc_call_cancel(w->call);
    }
}
