/* work_queue_core.c - see work_queue_core.h. Pure: no loop, no clock. */
#include "lib/client/work_queue_core.h"

#include <string.h>

static bool due_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    UNUSED(arg);
    return HEAP_ENTRY(a, const struct work_item, by_due)->due_ms <
           HEAP_ENTRY(b, const struct work_item, by_due)->due_ms;
}

void work_core_init(struct work_queue_core *c, uint32_t base_delay_ms, uint32_t max_delay_ms,
                    double qps, unsigned burst, uint64_t now_ms)
{
    memset(c, 0, sizeof(*c));
    map_init(&c->items);
    list_init(&c->ready[0]);
    list_init(&c->ready[1]);
    heap_init(&c->delayed, due_before, NULL);
    c->base_delay_ms = base_delay_ms != 0 ? base_delay_ms : 5;
    c->max_delay_ms = max_delay_ms != 0 ? max_delay_ms : 1000u * 1000;
    c->qps = qps > 0 ? qps : 10;
    c->burst = burst != 0 ? burst : 100;
    c->tokens = c->burst;
    c->tokens_at_ms = now_ms;
}

void work_core_done(struct work_queue_core *c)
{
    size_t pos = 0;
    void *item;
    while (map_next(&c->items, &pos, NULL, &item))
        free(item);
    map_done(&c->items);
    heap_done(&c->delayed);
}

static struct work_item *find(const struct work_queue_core *c, struct str key)
{
    return map_get(&c->items, key);
}

static struct work_item *find_or_new(struct work_queue_core *c, struct str key)
{
    struct work_item *item = find(c, key);
    if (item != NULL)
        return item;
    item = xzalloc(sizeof(*item) + key.len + 1);
    list_init(&item->ready);
    item->key_len = key.len;
    if (key.len != 0)
        memcpy(item->key, key.data, key.len);
    map_set(&c->items, key, item);
    return item;
}

/* Items without any state are forgotten. */
static void drop_if_idle(struct work_queue_core *c, struct work_item *item)
{
    if (item->waiting || item->processing || item->requeues != 0 || heap_has(&item->by_due))
        return;
    map_remove(&c->items, str_n(item->key, item->key_len));
    free(item);
}

static void wait_item(struct work_queue_core *c, struct work_item *item, bool low)
{
    bool pending = item->processing ? item->dirty : item->waiting;
    bool forward = pending && item->low && !low;
    item->low = pending ? item->low && low : low;
    if (item->processing) {
        item->dirty = true;
        return;
    }
    if (forward) {
        list_remove(&item->ready);
        list_push_back(&c->ready[0], &item->ready);
    }
    if (item->waiting)
        return;
    item->waiting = true;
    item->since_ms = c->now_ms;
    c->adds++;
    list_push_back(&c->ready[item->low], &item->ready);
    c->ready_count++;
}

void work_core_add(struct work_queue_core *c, struct str key)
{
    wait_item(c, find_or_new(c, key), false);
}

void work_core_add_low(struct work_queue_core *c, struct str key)
{
    wait_item(c, find_or_new(c, key), true);
}

void work_core_add_at(struct work_queue_core *c, struct str key, uint64_t due_ms)
{
    struct work_item *item = find_or_new(c, key);
    if (!heap_has(&item->by_due)) {
        item->due_ms = due_ms;
        heap_push(&c->delayed, &item->by_due);
    } else if (due_ms < item->due_ms) {
        item->due_ms = due_ms;
        heap_update(&c->delayed, &item->by_due);
    }
}

/* A token bucket that may run into debt: the debt is the delay. */
static uint64_t bucket_delay(struct work_queue_core *c, uint64_t now_ms)
{
    double elapsed_s = (double)(now_ms - c->tokens_at_ms) / 1000.0;
    c->tokens = MIN_OF(c->tokens + elapsed_s * c->qps, c->burst) - 1;
    c->tokens_at_ms = now_ms;
    return c->tokens >= 0 ? 0 : (uint64_t)(-c->tokens / c->qps * 1000.0);
}

uint64_t work_core_backoff(struct work_queue_core *c, struct str key, uint64_t now_ms)
{
    struct work_item *item = find_or_new(c, key);
    uint64_t own = c->base_delay_ms;
    for (unsigned i = 0; i < item->requeues && own < c->max_delay_ms; i++)
        own *= 2;
    own = MIN_OF(own, (uint64_t)c->max_delay_ms);
    if (item->requeues < 64)
        item->requeues++;
    uint64_t shared = bucket_delay(c, now_ms);
    return MAX_OF(own, shared);
}

void work_core_forget(struct work_queue_core *c, struct str key)
{
    struct work_item *item = find(c, key);
    if (item == NULL)
        return;
    item->requeues = 0;
    drop_if_idle(c, item);
}

unsigned work_core_requeues(const struct work_queue_core *c, struct str key)
{
    const struct work_item *item = find(c, key);
    return item != NULL ? item->requeues : 0;
}

static void end_delays(struct work_queue_core *c, uint64_t until_ms, bool low)
{
    for (;;) {
        struct heap_node *n = heap_peek(&c->delayed);
        if (n == NULL || HEAP_ENTRY(n, struct work_item, by_due)->due_ms > until_ms)
            return;
        heap_remove(&c->delayed, n);
        wait_item(c, HEAP_ENTRY(n, struct work_item, by_due), low);
    }
}

void work_core_tick(struct work_queue_core *c, uint64_t now_ms)
{
    end_delays(c, now_ms, false);
}

void work_core_hasten(struct work_queue_core *c)
{
    end_delays(c, UINT64_MAX, true);
}

uint64_t work_core_next_due(const struct work_queue_core *c)
{
    struct heap_node *n = heap_peek(&c->delayed);
    return n != NULL ? HEAP_ENTRY(n, struct work_item, by_due)->due_ms : UINT64_MAX;
}

struct work_item *work_core_take(struct work_queue_core *c)
{
    bool both = !list_empty(&c->ready[0]) && !list_empty(&c->ready[1]);
    bool low = both ? c->since_low + 1 >= WORK_LOW_EVERY : list_empty(&c->ready[0]);
    struct list *l = list_pop_front(&c->ready[low]);
    if (l == NULL)
        return NULL;
    c->since_low = both && !low ? c->since_low + 1 : 0;
    struct work_item *item = LIST_ENTRY(l, struct work_item, ready);
    c->ready_count--;
    item->waiting = false;
    item->processing = true;
    c->busy_count++;
    return item;
}

void work_core_finish(struct work_queue_core *c, struct str key)
{
    struct work_item *item = find(c, key);
    ASSERT(item != NULL);
    ASSERT(item->processing);
    item->processing = false;
    c->busy_count--;
    if (item->dirty) {
        item->dirty = false;
        wait_item(c, item, item->low);
        return;
    }
    drop_if_idle(c, item);
}
