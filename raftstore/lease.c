/* lease.c - the table of leases, by id and by deadline. */
#include "raftstore/lease.h"

/* Stale versions tolerated before the list is swept. */
#define STALE_MIN 16

static bool due_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    UNUSED(arg);
    const struct lease *x = HEAP_ENTRY(a, struct lease, by_deadline);
    const struct lease *y = HEAP_ENTRY(b, struct lease, by_deadline);
    return x->deadline_ms < y->deadline_ms || (x->deadline_ms == y->deadline_ms && x->id < y->id);
}

static struct str id_str(const int64_t *id)
{
    return str_n((const char *)id, sizeof(*id));
}

void leases_init(struct leases *ls)
{
    map_init(&ls->by_id);
    heap_init(&ls->by_deadline, due_before, NULL);
}

static void puts_clear(struct lease *l)
{
    for (size_t i = 0; i < l->puts.count; i++)
        kv_unref(l->puts.items[i]);
    kv_list_done(&l->puts);
}

static void lease_free(struct lease *l)
{
    puts_clear(l);
    free(l);
}

void leases_done(struct leases *ls)
{
    size_t pos = 0;
    struct str id;
    void *l;
    while (map_next(&ls->by_id, &pos, &id, &l))
        lease_free(l);
    map_done(&ls->by_id);
    heap_done(&ls->by_deadline);
}

size_t leases_count(const struct leases *ls)
{
    return ls->by_id.count;
}

static int by_id(const void *a, const void *b)
{
    const struct lease *x = *(struct lease *const *)a, *y = *(struct lease *const *)b;
    return (x->id > y->id) - (x->id < y->id);
}

struct lease **leases_sorted(const struct leases *ls)
{
    struct lease **all = xmalloc((leases_count(ls) + 1) * sizeof(all[0]));
    size_t pos = 0, n = 0;
    struct str id;
    void *l;
    while (map_next(&ls->by_id, &pos, &id, &l))
        all[n++] = l;
    qsort(all, n, sizeof(all[0]), by_id);
    return all;
}

struct lease *leases_get(const struct leases *ls, int64_t id)
{
    return map_get(&ls->by_id, id_str(&id));
}

struct lease *leases_first_due(const struct leases *ls)
{
    struct heap_node *n = heap_peek(&ls->by_deadline);
    return n != NULL ? HEAP_ENTRY(n, struct lease, by_deadline) : NULL;
}

/* Walks down the heap from its top as long as leases are due. */
size_t leases_due(const struct leases *ls, uint64_t now_ms, struct lease **ret, size_t max)
{
    const struct heap *h = &ls->by_deadline;
    /* Each one found makes room for at most two behind it. */
    size_t *todo = xmalloc((MIN_OF(max, h->count) + 2) * sizeof(todo[0]));
    size_t left = 0, n = 0;
    todo[left++] = 0;
    while (left > 0 && n < max) {
        size_t i = todo[--left];
        if (i >= h->count)
            continue;
        struct lease *l = HEAP_ENTRY(h->items[i], struct lease, by_deadline);
        if (l->deadline_ms > now_ms)
            continue;
        ret[n++] = l;
        if (2 * i + 1 < h->count)
            todo[left++] = 2 * i + 1;
        if (2 * i + 2 < h->count)
            todo[left++] = 2 * i + 2;
    }
    free(todo);
    return n;
}

static uint64_t deadline_of(const struct lease *l, uint64_t now_ms)
{
    return now_ms + (uint64_t)l->ttl_s * 1000;
}

struct lease *lease_add(struct leases *ls, int64_t id, int64_t ttl_s, uint64_t now_ms)
{
    struct lease *l = xzalloc(sizeof(*l));
    l->id = id;
    l->ttl_s = ttl_s;
    l->deadline_ms = deadline_of(l, now_ms);
    void *before = map_set(&ls->by_id, id_str(&id), l);
    ASSERT(before == NULL);
    heap_push(&ls->by_deadline, &l->by_deadline);
    return l;
}

void lease_remove(struct leases *ls, struct lease *l)
{
    map_remove(&ls->by_id, id_str(&l->id));
    heap_remove(&ls->by_deadline, &l->by_deadline);
    lease_free(l);
}

void lease_extend(struct leases *ls, struct lease *l, uint64_t now_ms)
{
    l->deadline_ms = deadline_of(l, now_ms);
    heap_update(&ls->by_deadline, &l->by_deadline);
}

void leases_extend(struct leases *ls, uint64_t now_ms)
{
    size_t pos = 0;
    struct str id;
    void *at;
    heap_done(&ls->by_deadline);
    heap_init(&ls->by_deadline, due_before, NULL);
    while (map_next(&ls->by_id, &pos, &id, &at)) {
        struct lease *l = at;
        l->deadline_ms = deadline_of(l, now_ms);
        l->by_deadline = (struct heap_node){0};
        heap_push(&ls->by_deadline, &l->by_deadline);
    }
}

/* Keeps the versions that are current in root. */
static void sweep(struct lease *l, struct tree_root root)
{
    size_t n = 0;
    for (size_t i = 0; i < l->puts.count; i++) {
        const struct kv *kv = l->puts.items[i];
        if (tree_get_version(root, kv_key(kv), 0) == kv)
            l->puts.items[n++] = kv;
        else
            kv_unref(kv);
    }
    l->puts.count = n;
    ASSERT_CMP(l->live, ==, n);
}

void lease_attach(struct lease *l, const struct kv *kv, struct tree_root root)
{
    l->live++;
    kv_list_push(&l->puts, kv_ref(kv));
    if (l->puts.count > 2 * l->live + STALE_MIN)
        sweep(l, root);
}

void lease_detach(struct lease *l)
{
    ASSERT_CMP(l->live, >, 0);
    if (--l->live == 0)
        puts_clear(l);
}

static int by_key(const void *a, const void *b)
{
    return str_cmp(kv_key(*(const struct kv *const *)a), kv_key(*(const struct kv *const *)b));
}

const struct kv_list *lease_keys(struct lease *l, struct tree_root root, bool sorted)
{
    if (l->puts.count > l->live) /* Else all are current. */
        sweep(l, root);
    if (sorted && l->puts.count > 1)
        qsort(l->puts.items, l->puts.count, sizeof(l->puts.items[0]), by_key);
    return &l->puts;
}
