/* heap.h - a priority queue of embedded nodes that know their place, so that
 * changing or removing any item costs O(log n). Not thread-safe. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include "lib/base/base.h"

/* Zero-initialised, a node is in no heap. */
struct heap_node {
    size_t place; /* Index + 1; 0: in no heap. */
};

struct heap {
    struct heap_node **items;
    size_t count, cap;
    /* Does a come out before b? arg is the heap's. */
    bool (*before)(const struct heap_node *a, const struct heap_node *b, void *arg);
    void *arg;
};

void heap_init(struct heap *h,
               bool (*before)(const struct heap_node *a, const struct heap_node *b, void *arg),
               void *arg);
void heap_done(struct heap *h);                      /* Frees the table; nodes are the caller's. */
void heap_push(struct heap *h, struct heap_node *n); /* Must be in no heap. */
struct heap_node *heap_peek(const struct heap *h);   /* NULL when empty. */
struct heap_node *heap_pop(struct heap *h);          /* NULL when empty. */
void heap_remove(struct heap *h, struct heap_node *n); /* Must be in this heap. */
void heap_update(struct heap *h, struct heap_node *n); /* Its order has changed. */
static inline bool heap_has(const struct heap_node *n)
{
    return n->place != 0;
}
/* Aborts unless order and places hold: for tests. */
void heap_check(const struct heap *h);

#define HEAP_ENTRY(ptr, type, member) CONTAINER_OF(ptr, type, member)

#endif
