/* informer_bucket.c - see informer_bucket.h. Linear probing; what is taken out is
 * closed up behind, so that there are no tombstones. */
#include "lib/client/informer_bucket.h"

#define PLAIN_MAX 32u /* Up to here the array is searched. */

static uint32_t slot_of(const struct informer_bucket *b, const struct api_object *o)
{
    uint64_t h = (uint64_t)(uintptr_t)o * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32) & (b->place_cap - 1);
}

/* Where it stands, or the free slot where it would. */
static uint32_t find_slot(const struct informer_bucket *b, const struct api_object *o)
{
    uint32_t i = slot_of(b, o);
    while (b->places[i] != 0 && b->items[b->places[i] - 1] != o)
        i = (i + 1) & (b->place_cap - 1);
    return i;
}

/* Index in items; UINT32_MAX: not there. */
static uint32_t find(const struct informer_bucket *b, const struct api_object *o)
{
    if (b->places != NULL)
        return b->places[find_slot(b, o)] - 1;
    for (uint32_t i = 0; i < b->count; i++)
        if (b->items[i] == o)
            return i;
    return UINT32_MAX;
}

static void make_table(struct informer_bucket *b)
{
    free(b->places);
    b->place_cap = b->cap * 2;
    b->places = xzalloc(b->place_cap * sizeof(*b->places));
    for (uint32_t i = 0; i < b->count; i++)
        b->places[find_slot(b, b->items[i])] = i + 1;
}

void informer_bucket_put(struct informer_bucket *b, struct api_object *o)
{
    if (find(b, o) != UINT32_MAX)
        return;
    if (b->count == b->cap) {
        b->cap = b->cap != 0 ? b->cap * 2 : 2;
        b->items = xrealloc(b->items, b->cap * sizeof(struct api_object *));
        if (b->cap > PLAIN_MAX)
            make_table(b);
    }
    b->items[b->count++] = o;
    if (b->places != NULL)
        b->places[find_slot(b, o)] = b->count;
}

/* Whoever stands behind a free slot and could not have come past it moves up. */
static void close_up(struct informer_bucket *b, uint32_t hole)
{
    uint32_t mask = b->place_cap - 1;
    b->places[hole] = 0;
    for (uint32_t i = (hole + 1) & mask; b->places[i] != 0; i = (i + 1) & mask) {
        uint32_t home = slot_of(b, b->items[b->places[i] - 1]);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        b->places[hole] = b->places[i];
        b->places[i] = 0;
        hole = i;
    }
}

static void shrink(struct informer_bucket *b)
{
    b->cap /= 2;
    b->items = xrealloc(b->items, b->cap * sizeof(struct api_object *));
    if (b->places == NULL)
        return;
    if (b->cap > PLAIN_MAX) {
        make_table(b);
        return;
    }
    free(b->places);
    b->places = NULL;
    b->place_cap = 0;
}

void informer_bucket_remove(struct informer_bucket *b, const struct api_object *o)
{
    uint32_t at = find(b, o);
    if (at == UINT32_MAX)
        return;
    if (b->places != NULL) {
        close_up(b, find_slot(b, o));
        if (at != b->count - 1)
            b->places[find_slot(b, b->items[b->count - 1])] = at + 1;
    }
    b->items[at] = b->items[--b->count];
    if (b->cap > PLAIN_MAX && b->count < b->cap / 4)
        shrink(b);
}

void informer_bucket_done(struct informer_bucket *b)
{
    free(b->items);
    free(b->places);
    *b = (struct informer_bucket){0};
}
