/* tail.c - the replica's index of the log. */
#include "raftstore/tail.h"

#include "lib/base/base.h"

#define CAP_MIN 64
/* What a slot and an entry's header cost, so that tiny entries count too. */
#define ENTRY_OVERHEAD ((uint64_t)sizeof(struct entry))

struct tail_slot {
    struct entry *entry; /* NULL: only on disk. */
    uint64_t term;
    uint32_t size;
    enum entry_type type;
};

void tail_init(struct tail *t)
{
    *t = (struct tail){.first = 1, .cached = 1};
}

static struct tail_slot *slot_at(const struct tail *t, uint64_t index)
{
    ASSERT(tail_has(t, index));
    return &t->slots[(t->head + (size_t)(index - t->first)) & (t->cap - 1)];
}

static void slot_release(struct tail *t, struct tail_slot *s)
{
    if (s->entry == NULL)
        return;
    t->cache_bytes -= s->size + ENTRY_OVERHEAD;
    entry_unref(s->entry);
    s->entry = NULL;
}

void tail_done(struct tail *t)
{
    tail_cut(t, t->first);
    free(t->slots);
    *t = (struct tail){.first = 1, .cached = 1};
}

void tail_reset(struct tail *t, uint64_t index, uint64_t term)
{
    tail_cut(t, t->first);
    t->first = t->cached = index + 1;
    tail_set_base(t, index, term);
}

static void grow(struct tail *t)
{
    size_t cap = t->cap == 0 ? CAP_MIN : t->cap * 2;
    struct tail_slot *slots = xmalloc(cap * sizeof(*slots));
    for (size_t i = 0; i < t->count; i++)
        slots[i] = t->slots[(t->head + i) & (t->cap - 1)];
    free(t->slots);
    t->slots = slots;
    t->cap = cap;
    t->head = 0;
}

void tail_append(struct tail *t, struct entry *e)
{
    if (t->count == 0 && t->base_index == 0)
        t->first = t->cached = e->index;
    ASSERT_CMP(e->index, ==, tail_last(t) + 1);
    if (t->count == t->cap)
        grow(t);
    t->count++;
    *slot_at(t, e->index) = (struct tail_slot){entry_ref(e), e->term, e->size, e->type};
    t->bytes += e->size + ENTRY_OVERHEAD;
    t->cache_bytes += e->size + ENTRY_OVERHEAD;
}

void tail_cut(struct tail *t, uint64_t index)
{
    while (t->count > 0 && tail_last(t) >= index) {
        struct tail_slot *s = slot_at(t, tail_last(t));
        slot_release(t, s);
        t->bytes -= s->size + ENTRY_OVERHEAD;
        t->count--;
    }
    t->cached = MIN_OF(t->cached, tail_last(t) + 1);
}

void tail_trim(struct tail *t, uint64_t index)
{
    while (t->count > 0 && t->first < index) {
        struct tail_slot *s = slot_at(t, t->first);
        slot_release(t, s);
        t->bytes -= s->size + ENTRY_OVERHEAD;
        t->head = (t->head + 1) & (t->cap - 1);
        t->first++;
        t->count--;
    }
    t->cached = MAX_OF(t->cached, t->first);
}

void tail_evict(struct tail *t, uint64_t max_bytes, uint64_t limit)
{
    while (t->cache_bytes > max_bytes && t->cached <= limit && tail_has(t, t->cached))
        slot_release(t, slot_at(t, t->cached++));
}

void tail_set_base(struct tail *t, uint64_t index, uint64_t term)
{
    t->base_index = index;
    t->base_term = term;
}

bool tail_has(const struct tail *t, uint64_t index)
{
    return index >= t->first && index - t->first < t->count;
}

uint64_t tail_term(const struct tail *t, uint64_t index)
{
    if (tail_has(t, index))
        return slot_at(t, index)->term;
    return index != 0 && index == t->base_index ? t->base_term : 0;
}

uint32_t tail_size(const struct tail *t, uint64_t index)
{
    return slot_at(t, index)->size;
}

enum entry_type tail_type(const struct tail *t, uint64_t index)
{
    return slot_at(t, index)->type;
}

struct entry *tail_get(const struct tail *t, uint64_t index)
{
    return tail_has(t, index) ? slot_at(t, index)->entry : NULL;
}
