/* list.h - an intrusive doubly linked list. Not thread-safe.
 *
 * A head is a struct list of its own. A node that is in no list points at
 * itself after list_init(), so that list_remove() is always safe. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "lib/base/base.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_insert_between(struct list *n, struct list *prev, struct list *next)
{
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
}
static inline void list_push_back(struct list *head, struct list *n)
{
    list_insert_between(n, head->prev, head);
}
static inline void list_push_front(struct list *head, struct list *n)
{
    list_insert_between(n, head, head->next);
}
/* Leaves n initialised: removing twice is harmless. */
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
/* First node, removed; NULL when empty. */
static inline struct list *list_pop_front(struct list *head)
{
    if (list_empty(head))
        return NULL;
    struct list *n = head->next;
    list_remove(n); /* NOLINT(clang-analyzer-unix.Malloc): it does not see nodes leave a list. */
    return n;
}
/* Moves every node of `from` behind those of `to`. Do this before running
 * callbacks over a list, since callbacks may edit it. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev; /* NOLINT(clang-analyzer-unix.Malloc): as above. */
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_ENTRY(ptr, type, member) CONTAINER_OF(ptr, type, member)
#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* The body may remove `it`. */
#define LIST_FOREACH_SAFE(it, head)                                                                \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

#endif
