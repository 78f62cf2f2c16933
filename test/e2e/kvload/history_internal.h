/* history_internal.h - what history.c and history_check.c share. */
#ifndef TEST_KVLOAD_HISTORY_INTERNAL_H
#define TEST_KVLOAD_HISTORY_INTERNAL_H

#include "test/e2e/kvload/history.h"

struct event_list {
    struct seen_event *items;
    size_t count, cap;
};

struct watch_log {
    struct watch_log *next_log;
    struct history *h;
    char name[48];
    uint32_t first, count;
    bool all; /* Of every key: its events make the history. */
    int64_t from, next;
    int64_t answer_rev; /* Of the last event of the last answer. */
    struct event_list events;
};

struct history {
    uint32_t keys;
    uint32_t leased;      /* The first key of the group with leases. */
    struct lease *leases; /* From number 1 on. */
    uint32_t lease_count, lease_cap;
    uint64_t last_op[HISTORY_SLOTS]; /* Of each of them as watched last; 0: it does not exist. */
    int64_t base;
    struct op *ops;
    size_t op_count, op_cap;
    struct event_list events; /* By revision. */
    size_t *starts;           /* Index of the first event of revision base + 1 + i. */
    size_t rev_count, rev_cap;
    struct watch_log *watches;
    int64_t compacted;
    uint64_t violations;
    uint64_t unknown_found;
};

static inline bool op_is_write(const struct op *o)
{
    return o->kind <= OP_COUNTER;
}
bool same_event(const struct seen_event *a, const struct seen_event *b);

#endif
