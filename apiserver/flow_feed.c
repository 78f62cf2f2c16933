/* flow_feed.c - see flow_feed.h. */
#include "apiserver/flow_feed.h"

#include "apiserver/apiserver.h"
#include "apiserver/flow_control.h"
#include "apiserver/flow_share.h"
#include "apiserver/registry.h"
#include "lib/base/error.h"
#include "lib/base/str.h"
#include "raftstore/store.h"

#include <uv.h>

#define GROUP "flowcontrol.apiserver.k8s.io"

struct flow_feed {
    struct apiserver *server;
    struct mailbox *mailbox;
    struct store_cursor *cursor;
    struct str prefixes[2];
    uv_timer_t timer;
    void (*changed)(void *arg);
    void *arg;
};

static void on_events(void *arg);

static void load(struct flow_feed *f)
{
    struct store_view *v = store_view(f->server->store);
    flow_control_load(f->server->flow, v);
    store_view_unref(v);
}

/* Also on the store's thread. */
static bool concerns_us(void *arg, const struct event *e)
{
    const struct flow_feed *f = arg;
    for (size_t j = 0; j < ARRAY_SIZE(f->prefixes); j++)
        if (str_has_prefix(kv_key(e->kv), f->prefixes[j]))
            return true;
    return false;
}

static int start_over(struct flow_feed *f, struct error *err)
{
    struct store_view *v = store_view(f->server->store);
    int64_t rev = store_view_rev(v);
    flow_control_load(f->server->flow, v);
    store_view_unref(v);
    store_cursor_free(f->cursor);
    f->cursor = NULL;
    int code = store_cursor_new(f->server->store, rev, f->mailbox, on_events, f, &f->cursor, err);
    if (code == 0)
        store_cursor_filter(f->cursor, concerns_us);
    return code;
}

static void on_events(void *arg)
{
    struct flow_feed *f = arg;
    struct error err = {0};
    const struct event_batch *b;
    bool lost = false, ours = false;
    while ((b = store_cursor_next(f->cursor, &lost)) != NULL)
        for (uint32_t i = 0; i < b->count; i++)
            ours |= concerns_us(f, &b->events[i]);
    if (lost) {
        if (start_over(f, &err) != 0)
            PANIC("flow control: no event cursor: %s", error_message(&err));
    } else if (ours) {
        load(f);
    }
    if (lost || ours)
        f->changed(f->arg);
}

static void on_timer(uv_timer_t *t)
{
    struct flow_feed *f = t->data;
    if (flow_control_adjust(f->server->flow))
        load(f);
}

int flow_feed_start(struct apiserver *s, struct uv_loop_s *loop, struct mailbox *mb,
                    void (*changed)(void *arg), void *arg, struct flow_feed **ret,
                    struct error *err)
{
    static const char *const names[] = {"prioritylevelconfigurations", "flowschemas"};
    *ret = NULL;
    if (s->flow == NULL)
        return 0;
    struct flow_feed *f = xzalloc(sizeof(*f));
    f->server = s;
    f->mailbox = mb;
    f->changed = changed;
    f->arg = arg;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        f->prefixes[i] = registry_storage(STR(GROUP), str_of(names[i]))->prefix;
    int code = start_over(f, err);
    if (code != 0) {
        free(f);
        return code;
    }
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    uv_timer_start(&f->timer, on_timer, FLOW_ADJUST_MS, FLOW_ADJUST_MS);
    *ret = f;
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void flow_feed_stop(struct flow_feed *f)
{
    if (f == NULL)
        return;
    store_cursor_free(f->cursor);
    uv_close((uv_handle_t *)&f->timer, on_closed);
}
