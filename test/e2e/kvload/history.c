/* history.c - see history.h. */
#include "test/e2e/kvload/history_internal.h"

#include "lib/base/buf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define VIOLATIONS_SHOWN 40

uint32_t history_keys(uint32_t writers)
{
    return (writers + 2) * HISTORY_SLOTS;
}

struct history *history_new(uint32_t writers, int64_t base_rev)
{
    struct history *h = xzalloc(sizeof(*h));
    h->keys = history_keys(writers);
    h->leased = h->keys - HISTORY_SLOTS;
    h->base = base_rev;
    history_op_new(h, OP_READ, 0); /* Number 0 is nobody's. */
    return h;
}

void history_free(struct history *h)
{
    for (struct watch_log *w = h->watches, *next; w != NULL; w = next) {
        next = w->next_log;
        free(w->events.items);
        free(w);
    }
    free(h->ops);
    free(h->leases);
    free(h->events.items);
    free(h->starts);
    free(h);
}

void history_violation(struct history *h, const char *fmt, ...)
{
    va_list args;
    if (h->violations++ >= VIOLATIONS_SHOWN)
        return;
    fputs("VIOLATION: ", stdout);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

uint64_t history_violations(const struct history *h)
{
    return h->violations;
}

/* --- keys and values ------------------------------------------------------------ */

void history_key(uint32_t key, char ret[HISTORY_KEY_BYTES])
{
    snprintf(ret, HISTORY_KEY_BYTES, "kv/%03u/%03u", key / HISTORY_SLOTS % 1000,
             key % HISTORY_SLOTS);
}

bool history_key_parse(struct str name, uint32_t *ret)
{
    char text[HISTORY_KEY_BYTES], again[HISTORY_KEY_BYTES];
    unsigned group, slot;
    if (name.len >= sizeof(text))
        return false;
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    if (sscanf(text, "kv/%3u/%3u", &group, &slot) != 2 || slot >= HISTORY_SLOTS)
        return false;
    *ret = group * HISTORY_SLOTS + slot;
    history_key(*ret, again);
    return strcmp(text, again) == 0;
}

void history_value(uint64_t id, size_t len, char *p)
{
    char head[64];
    snprintf(head, sizeof(head), "%016" PRIx64 " %010zu ", id, len);
    memcpy(p, head, HISTORY_VALUE_MIN);
    memset(p + HISTORY_VALUE_MIN, 'a' + (int)(id % 26), len - HISTORY_VALUE_MIN);
}

bool history_value_parse(struct str value, uint64_t *ret_id)
{
    if (value.len < HISTORY_VALUE_MIN)
        return false;
    *ret_id = strtoull(value.data, NULL, 16);
    AUTO_FREE char *want = xmalloc(value.len);
    history_value(*ret_id, value.len, want);
    return memcmp(want, value.data, value.len) == 0;
}

/* --- operations ------------------------------------------------------------------- */

uint64_t history_op_new(struct history *h, enum op_kind kind, int64_t now_us)
{
    if (h->op_count == h->op_cap) {
        h->op_cap = MAX_OF(h->op_cap * 2, (size_t)4096);
        h->ops = xrealloc(h->ops, h->op_cap * sizeof(*h->ops));
    }
    h->ops[h->op_count] = (struct op){.kind = kind, .start_us = now_us};
    return h->op_count++;
}

struct op *history_op(struct history *h, uint64_t id)
{
    return id < h->op_count ? &h->ops[id] : NULL;
}

uint64_t history_op_count(const struct history *h)
{
    return h->op_count;
}

static uint64_t mix(uint64_t digest, uint64_t v)
{
    digest ^= v + UINT64_C(0x9e3779b97f4a7c15) + (digest << 6) + (digest >> 2);
    digest *= UINT64_C(0xff51afd7ed558ccd);
    return digest ^ digest >> 32;
}

uint64_t history_digest(uint64_t digest, const struct seen_kv *kv)
{
    digest = mix(digest, kv->key);
    digest = mix(digest, (uint64_t)kv->mod);
    digest = mix(digest, (uint64_t)kv->create);
    digest = mix(digest, (uint64_t)kv->version);
    return mix(digest, kv->op);
}

uint32_t history_lease_new(struct history *h, int64_t ttl_us, int64_t renewed_us)
{
    if (h->lease_count + 1 >= h->lease_cap) {
        h->lease_cap = MAX_OF(h->lease_cap * 2, 64u);
        h->leases = xrealloc(h->leases, h->lease_cap * sizeof(*h->leases));
    }
    h->leases[++h->lease_count] = (struct lease){.ttl_us = ttl_us, .renewed_us = renewed_us};
    return h->lease_count;
}

struct lease *history_lease(struct history *h, uint32_t number)
{
    return number >= 1 && number <= h->lease_count ? &h->leases[number] : NULL;
}

bool history_leased_gone(const struct history *h, uint64_t id)
{
    const struct op *o = &h->ops[id];
    return h->last_op[o->key % HISTORY_SLOTS] != id && h->last_op[o->key % HISTORY_SLOTS + 1] != id;
}

void history_compacted(struct history *h, int64_t rev)
{
    h->compacted = MAX_OF(h->compacted, rev);
}

/* --- watches ------------------------------------------------------------------------ */

struct watch_log *history_watch(struct history *h, const char *name, uint32_t first, uint32_t count)
{
    struct watch_log *w = xzalloc(sizeof(*w));
    w->h = h;
    snprintf(w->name, sizeof(w->name), "%s", name);
    w->first = first;
    w->count = count;
    w->all = count >= h->keys;
    w->from = w->next = history_rev(h) + 1;
    w->next_log = h->watches;
    h->watches = w;
    return w;
}

static void push(struct event_list *l, const struct seen_event *e)
{
    if (l->count == l->cap) {
        l->cap = MAX_OF(l->cap * 2, (size_t)1024);
        l->items = xrealloc(l->items, l->cap * sizeof(*l->items));
    }
    l->items[l->count++] = *e;
}

bool same_event(const struct seen_event *a, const struct seen_event *b)
{
    return a->kv.key == b->kv.key && a->kv.mod == b->kv.mod && a->deleted == b->deleted &&
           (a->deleted || (a->kv.op == b->kv.op && a->kv.create == b->kv.create &&
                           a->kv.version == b->kv.version)) &&
           (!a->has_prev || !b->has_prev ||
            (a->prev_mod == b->prev_mod && a->prev_op == b->prev_op));
}

int64_t history_rev(const struct history *h)
{
    return h->base + (int64_t)h->rev_count;
}

/* The events of one revision, all at once, from a watcher of everything. */
static void know_revision(struct history *h, const struct watch_log *w,
                          const struct seen_event *events, size_t count)
{
    int64_t rev = events->kv.mod;
    if (rev <= history_rev(h)) { /* Another one told us before. */
        size_t i = (size_t)(rev - h->base - 1);
        size_t from = h->starts[i], to = i + 1 < h->rev_count ? h->starts[i + 1] : h->events.count;
        bool same = to - from == count;
        for (size_t k = 0; same && k < count; k++)
            same = same_event(&h->events.items[from + k], &events[k]);
        if (!same)
            history_violation(h,
                              "%s saw other events at revision %" PRId64 " than others: %zu, %zu",
                              w->name, rev, count, to - from);
        return;
    }
    if (h->rev_count == h->rev_cap) {
        h->rev_cap = MAX_OF(h->rev_cap * 2, (size_t)4096);
        h->starts = xrealloc(h->starts, h->rev_cap * sizeof(*h->starts));
    }
    h->starts[h->rev_count++] = h->events.count;
    for (size_t k = 0; k < count; k++) {
        push(&h->events, &events[k]);
        uint32_t key = events[k].kv.key;
        if (key >= h->leased && key < h->keys)
            h->last_op[key - h->leased] = events[k].deleted ? 0 : events[k].kv.op;
    }
}

void watch_log_add(struct watch_log *w, const struct seen_event *events, size_t count)
{
    struct history *h = w->h;
    for (size_t i = 0, end; i < count; i = end) {
        int64_t rev = events[i].kv.mod;
        for (end = i + 1; end < count && events[end].kv.mod == rev;)
            end++;
        if (rev < w->next || rev == w->answer_rev) {
            history_violation(h,
                              "%s got revision %" PRId64 " after %" PRId64
                              ": again, out of order, or in two parts",
                              w->name, rev, w->next - 1);
            continue;
        }
        if (w->all && rev != w->next) {
            history_violation(h, "%s missed revisions %" PRId64 " to %" PRId64, w->name, w->next,
                              rev - 1);
            w->next = rev + 1;
            continue;
        }
        if (w->all)
            know_revision(h, w, events + i, end - i);
        else
            for (size_t k = i; k < end; k++)
                push(&w->events, &events[k]);
        w->next = rev + 1;
    }
    if (count > 0)
        w->answer_rev = events[count - 1].kv.mod;
}

void watch_log_progress(struct watch_log *w, int64_t rev)
{
    /* A watch of everything knows by itself; there the promise is checked. */
    if (w->all && rev >= w->next)
        history_violation(w->h,
                          "%s was promised that nothing up to %" PRId64
                          " is outstanding, but has only seen up to %" PRId64,
                          w->name, rev, w->next - 1);
    else if (!w->all)
        w->next = MAX_OF(w->next, rev + 1);
}

void watch_log_lost(struct watch_log *w, int64_t compact_rev)
{
    history_violation(w->h,
                      "%s wanted revision %" PRId64 ", compacted up to %" PRId64
                      ": it was away for longer than the test allows for",
                      w->name, w->next, compact_rev);
    w->next = compact_rev + 1;
}

void watch_log_end(struct watch_log *w)
{
    w->next = MAX_OF(w->next, history_rev(w->h) + 1);
}

int64_t watch_log_next(const struct watch_log *w)
{
    return w->next;
}

void history_counts(const struct history *h, struct history_counts *ret)
{
    *ret = (struct history_counts){.unknown_found = h->unknown_found, .events = h->events.count};
    for (size_t i = 1; i < h->op_count; i++) {
        const struct op *o = &h->ops[i];
        if (!op_is_write(o))
            ret->reads += o->outcome == OUTCOME_DONE;
        else if (o->outcome == OUTCOME_DONE)
            ret->done++;
        else if (o->outcome == OUTCOME_REFUSED)
            ret->refused++;
        else
            ret->unknown++;
    }
    for (const struct watch_log *w = h->watches; w != NULL; w = w->next_log)
        ret->watched += w->all ? (uint64_t)(w->next - w->from) : w->events.count;
}
