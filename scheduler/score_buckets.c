/* score_buckets.c - see score_buckets.h. */
#include "scheduler/score_buckets.h"

#include <stdlib.h>

void score_buckets_init(struct score_buckets *b, size_t score_max, size_t node_count)
{
    *b = (struct score_buckets){.count = score_max + 1};
    b->items = xzalloc(b->count * sizeof(*b->items));
    b->places = xzalloc((node_count + 1) * sizeof(*b->places));
}

void score_buckets_done(struct score_buckets *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->items[i].nodes);
    free(b->items);
    free(b->places);
    *b = (struct score_buckets){0};
}

void score_buckets_add(struct score_buckets *b, uint32_t node, size_t score)
{
    ASSERT(score < b->count);
    struct score_bucket *k = &b->items[score];
    if (k->count == k->cap) {
        k->cap = k->cap != 0 ? k->cap * 2 : 16;
        k->nodes = xrealloc(k->nodes, k->cap * sizeof(*k->nodes));
    }
    b->places[node] = k->count;
    k->nodes[k->count++] = node;
    b->top = MAX_OF(b->top, score);
    b->nodes++;
}

void score_buckets_remove(struct score_buckets *b, uint32_t node, size_t score)
{
    struct score_bucket *k = &b->items[score];
    size_t place = b->places[node];
    ASSERT(place < k->count && k->nodes[place] == node);
    k->nodes[place] = k->nodes[--k->count];
    b->places[k->nodes[place]] = place;
    b->nodes--;
}

const struct score_bucket *score_buckets_best(struct score_buckets *b)
{
    if (b->nodes == 0)
        return NULL;
    while (b->items[b->top].count == 0)
        b->top--;
    return &b->items[b->top];
}
