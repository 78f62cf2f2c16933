/* heap.c - see heap.h. */
#include "lib/base/heap.h"

static void heap_put(struct heap *h, size_t i, struct heap_node *n)
{
    h->items[i] = n;
    n->place = i + 1;
}

/* Moves n from the hole at i towards the root. */
static size_t heap_sift_up(struct heap *h, size_t i, struct heap_node *n)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!h->before(n, h->items[parent], h->arg))
            break;
        heap_put(h, i, h->items[parent]);
        i = parent;
    }
    heap_put(h, i, n);
    return i;
}

static void heap_sift_down(struct heap *h, size_t i, struct heap_node *n)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->before(h->items[child + 1], h->items[child], h->arg))
            child++;
        if (!h->before(h->items[child], n, h->arg))
            break;
        heap_put(h, i, h->items[child]);
        i = child;
    }
    heap_put(h, i, n);
}

void heap_init(struct heap *h,
               bool (*before)(const struct heap_node *a, const struct heap_node *b, void *arg),
               void *arg)
{
    *h = (struct heap){.before = before, .arg = arg};
}

void heap_done(struct heap *h)
{
    free(h->items);
    h->items = NULL;
    h->count = h->cap = 0;
}

void heap_push(struct heap *h, struct heap_node *n)
{
    ASSERT(n->place == 0);
    if (h->count == h->cap) {
        h->cap = h->cap == 0 ? 16 : h->cap * 2;
        h->items = xrealloc(h->items, h->cap * sizeof(struct heap_node *));
    }
    heap_sift_up(h, h->count++, n);
}

struct heap_node *heap_peek(const struct heap *h)
{
    return h->count > 0 ? h->items[0] : NULL;
}

struct heap_node *heap_pop(struct heap *h)
{
    struct heap_node *n = heap_peek(h);
    if (n != NULL)
        heap_remove(h, n);
    return n;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    ASSERT(n->place > 0 && n->place <= h->count && h->items[n->place - 1] == n);
    size_t i = n->place - 1;
    struct heap_node *last = h->items[--h->count];
    n->place = 0;
    if (last != n && heap_sift_up(h, i, last) == i)
        heap_sift_down(h, i, last);
}

void heap_update(struct heap *h, struct heap_node *n)
{
    ASSERT(n->place > 0 && n->place <= h->count && h->items[n->place - 1] == n);
    size_t i = n->place - 1;
    if (heap_sift_up(h, i, n) == i)
        heap_sift_down(h, i, n);
}

void heap_check(const struct heap *h)
{
    for (size_t i = 0; i < h->count; i++) {
        ASSERT(h->items[i]->place == i + 1);
        if (i > 0)
            ASSERT(!h->before(h->items[i], h->items[(i - 1) / 2], h->arg));
    }
}
