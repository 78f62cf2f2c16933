/* fieldset.c - sets of paths; see fieldset.h. */
#include "lib/api/fieldset.h"

#include "lib/base/arena.h"

#include <stdlib.h>

size_t fieldset_size(const struct fieldset *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++)
        n += s->items[i].member + fieldset_size(&s->items[i].children);
    return n;
}

bool fieldset_equal(const struct fieldset *x, const struct fieldset *y)
{
    if (x->count != y->count)
        return false;
    if (x->items == y->items)
        return true;
    for (size_t i = 0; i < x->count; i++) {
        const struct fieldset_item *a = &x->items[i], *b = &y->items[i];
        if (a->member != b->member || fieldpath_elem_cmp(&a->elem, &b->elem) != 0 ||
            !fieldset_equal(&a->children, &b->children))
            return false;
    }
    return true;
}

/* Where elem stands or would stand. */
static size_t place(const struct fieldset *s, const struct fieldpath_elem *elem, bool *ret_found)
{
    size_t low = 0, high = s->count;
    *ret_found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = fieldpath_elem_cmp(elem, &s->items[mid].elem);
        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order > 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct fieldset_item *fieldset_find(const struct fieldset *s,
                                          const struct fieldpath_elem *elem)
{
    bool found;
    size_t at = place(s, elem, &found);
    return found ? &s->items[at] : NULL;
}

bool fieldset_has(const struct fieldset *s, const struct fieldpath_elem *path, size_t len)
{
    const struct fieldset_item *item = NULL;
    for (size_t i = 0; i < len; i++, s = &item->children) {
        item = fieldset_find(s, &path[i]);
        if (item == NULL)
            return false;
    }
    return item != NULL && item->member;
}

/* --- building -------------------------------------------------------------------- */
static struct fieldset_item *append(struct arena *a, struct fieldset *s)
{
    if (s->count == s->cap) {
        uint32_t cap = s->cap == 0 ? 4 : s->cap * 2;
        struct fieldset_item *items = arena_alloc(a, cap * sizeof(*items));
        if (s->count != 0)
            memcpy(items, s->items, s->count * sizeof(*items));
        s->items = items;
        s->cap = cap;
    }
    return &s->items[s->count++];
}

static void push(struct arena *a, struct fieldset *s, const struct fieldpath_elem *elem,
                 bool member, struct fieldset children)
{
    struct fieldset_item *item = append(a, s);
    item->elem = *elem;
    item->member = member;
    item->children = children;
}

struct fieldset_item *fieldset_add(struct arena *a, struct fieldset *s,
                                   const struct fieldpath_elem *elem)
{
    size_t at = s->count;
    if (at != 0 && fieldpath_elem_cmp(&s->items[at - 1].elem, elem) >= 0) {
        bool found;
        at = place(s, elem, &found);
        if (found)
            return &s->items[at];
    }
    append(a, s);
    memmove(&s->items[at + 1], &s->items[at], (s->count - 1 - at) * sizeof(*s->items));
    s->items[at] = (struct fieldset_item){.elem = *elem};
    return &s->items[at];
}

void fieldset_append(struct arena *a, struct fieldset *s, const struct fieldpath_elem *elem,
                     bool member, struct fieldset children)
{
    push(a, s, elem, member, children);
}

void fieldset_insert(struct arena *a, struct fieldset *s, const struct fieldpath_elem *path,
                     size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct fieldset_item *item = fieldset_add(a, s, &path[i]);
        if (i + 1 == len)
            item->member = true;
        s = &item->children;
    }
}

/* --- algebra ----------------------------------------------------------------------- */
struct fieldset fieldset_union(struct arena *a, const struct fieldset *x, const struct fieldset *y)
{
    if (x->count == 0)
        return *y;
    if (y->count == 0)
        return *x;
    struct fieldset out = FIELDSET_EMPTY;
    size_t i = 0, j = 0;
    while (i < x->count || j < y->count) {
        int order = i == x->count   ? 1
                    : j == y->count ? -1
                                    : fieldpath_elem_cmp(&x->items[i].elem, &y->items[j].elem);
        if (order < 0) {
            *append(a, &out) = x->items[i++];
        } else if (order > 0) {
            *append(a, &out) = y->items[j++];
        } else {
            const struct fieldset_item *p = &x->items[i++], *q = &y->items[j++];
            push(a, &out, &p->elem, p->member || q->member,
                 fieldset_union(a, &p->children, &q->children));
        }
    }
    return out;
}

struct fieldset fieldset_intersection(struct arena *a, const struct fieldset *x,
                                      const struct fieldset *y)
{
    struct fieldset out = FIELDSET_EMPTY;
    size_t i = 0, j = 0;
    while (i < x->count && j < y->count) {
        int order = fieldpath_elem_cmp(&x->items[i].elem, &y->items[j].elem);
        if (order < 0) {
            i++;
        } else if (order > 0) {
            j++;
        } else {
            const struct fieldset_item *p = &x->items[i++], *q = &y->items[j++];
            bool member = p->member && q->member;
            struct fieldset children = fieldset_intersection(a, &p->children, &q->children);
            if (member || children.count != 0)
                push(a, &out, &p->elem, member, children);
        }
    }
    return out;
}

static struct fieldset difference(struct arena *a, const struct fieldset *x,
                                  const struct fieldset *y, bool recursive);

/* What is left of p; false: nothing. */
static bool item_left(struct arena *a, const struct fieldset_item *p, const struct fieldset_item *q,
                      bool recursive, struct fieldset_item *ret)
{
    *ret = *p;
    if (q == NULL)
        return true;
    if (recursive && q->member)
        return false;
    ret->member = p->member && !q->member;
    ret->children = difference(a, &p->children, &q->children, recursive);
    return ret->member || ret->children.count != 0;
}

/* x itself where nothing goes: copies begin with the first item that changes. */
static struct fieldset difference(struct arena *a, const struct fieldset *x,
                                  const struct fieldset *y, bool recursive)
{
    struct fieldset out = *x;
    bool own = false;
    for (size_t i = 0, j = 0; i < x->count; i++) {
        const struct fieldset_item *p = &x->items[i], *q = NULL;
        struct fieldset_item left;
        int order = 1;
        while (j < y->count && (order = fieldpath_elem_cmp(&p->elem, &y->items[j].elem)) > 0)
            j++;
        if (j < y->count && order == 0)
            q = &y->items[j++];
        bool any = item_left(a, p, q, recursive, &left);
        bool same = any && left.member == p->member && left.children.items == p->children.items;
        if (same && !own)
            continue;
        if (!own) {
            own = true;
            out.items = arena_alloc(a, x->count * sizeof(*x->items));
            out.cap = x->count;
            out.count = (uint32_t)i;
            memcpy(out.items, x->items, i * sizeof(*x->items));
        }
        if (any)
            out.items[out.count++] = left;
    }
    if (out.count == 0)
        return FIELDSET_EMPTY;
    return out;
}

struct fieldset fieldset_difference(struct arena *a, const struct fieldset *x,
                                    const struct fieldset *y)
{
    return difference(a, x, y, false);
}

struct fieldset fieldset_recursive_difference(struct arena *a, const struct fieldset *x,
                                              const struct fieldset *y)
{
    return difference(a, x, y, true);
}

struct fieldset fieldset_leaves(struct arena *a, const struct fieldset *s)
{
    struct fieldset out = FIELDSET_EMPTY;
    for (size_t i = 0; i < s->count; i++) {
        const struct fieldset_item *p = &s->items[i];
        struct fieldset children = fieldset_leaves(a, &p->children);
        bool leaf = p->member && p->children.count == 0;
        if (leaf || children.count != 0)
            push(a, &out, &p->elem, leaf, children);
    }
    return out;
}

/* --- iteration ----------------------------------------------------------------------- */
struct walk {
    struct fieldpath_elem path[FIELDSET_PATH_MAX];
    void (*fn)(const struct fieldpath_elem *path, size_t len, void *arg);
    void *arg;
};

static void each(struct walk *w, const struct fieldset *s, size_t depth)
{
    if (depth == FIELDSET_PATH_MAX)
        return;
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].member) {
            w->path[depth] = s->items[i].elem;
            w->fn(w->path, depth + 1, w->arg);
        }
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].children.count != 0) {
            w->path[depth] = s->items[i].elem;
            each(w, &s->items[i].children, depth + 1);
        }
}

void fieldset_each(const struct fieldset *s,
                   void (*fn)(const struct fieldpath_elem *path, size_t len, void *arg), void *arg)
{
    struct walk w;
    w.fn = fn;
    w.arg = arg;
    each(&w, s, 0);
}
