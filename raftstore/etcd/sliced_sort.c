/* sliced_sort.c - see sliced_sort.h. */
#include "raftstore/etcd/sliced_sort.h"

#include "lib/base/base.h"

#define RUN 512

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Equal ones stand by rising key, in either direction. */
static int compare(const struct kv *a, const struct kv *b, const struct sliced_sort *s)
{
    int order = 0;
    switch (s->target) {
    case SORT_KEY:
        order = str_cmp(kv_key(a), kv_key(b));
        break;
    case SORT_VERSION:
        order = compare_numbers(kv_version(a), kv_version(b));
        break;
    case SORT_CREATE:
        order = compare_numbers(kv_create_rev(a), kv_create_rev(b));
        break;
    case SORT_MOD:
        order = compare_numbers(a->mod_rev, b->mod_rev);
        break;
    case SORT_VALUE:
        order = str_cmp(kv_value(a), kv_value(b));
        break;
    }
    if (order == 0)
        return str_cmp(kv_key(a), kv_key(b));
    return s->descend ? -order : order;
}

static int by_rule(const void *a, const void *b, void *arg)
{
    return compare(*(const struct kv *const *)a, *(const struct kv *const *)b, arg);
}

void sliced_sort_init(struct sliced_sort *s, const struct kv **items, const struct kv **spare,
                      size_t count, enum sort_target target, bool descend)
{
    *s = (struct sliced_sort){
        .items = items, .spare = spare, .count = count, .target = target, .descend = descend};
}

static void start_pair(struct sliced_sort *s)
{
    s->left = s->begin;
    s->right = MIN_OF(s->begin + s->width, s->count);
    s->done = s->begin;
}

static void make_run(struct sliced_sort *s)
{
    size_t n = MIN_OF((size_t)RUN, s->count - s->begin);
    qsort_r(s->items + s->begin, n, sizeof(s->items[0]), by_rule, s);
    s->begin += n;
    if (s->begin < s->count)
        return;
    s->width = RUN;
    s->begin = 0;
    start_pair(s);
}

/* The next item of the pair of runs; false once the pair is merged. */
static bool merge_one(struct sliced_sort *s)
{
    size_t middle = MIN_OF(s->begin + s->width, s->count);
    size_t end = MIN_OF(s->begin + 2 * s->width, s->count);
    bool more_left = s->left < middle, more_right = s->right < end;
    if (!more_left && !more_right)
        return false;
    bool from_left =
        !more_right || (more_left && compare(s->items[s->left], s->items[s->right], s) <= 0);
    s->spare[s->done++] = s->items[from_left ? s->left++ : s->right++];
    return true;
}

static void next_pair(struct sliced_sort *s)
{
    s->begin += 2 * s->width;
    if (s->begin >= s->count) { /* The pass is done. */
        const struct kv **sorted = s->spare;
        s->spare = s->items;
        s->items = sorted;
        s->width *= 2;
        s->begin = 0;
    }
    start_pair(s);
}

bool sliced_sort_step(struct sliced_sort *s, size_t budget)
{
    for (size_t used = 0; used < budget;) {
        if (s->width == 0) {
            if (s->count == 0)
                return false;
            make_run(s);
            used += (size_t)RUN * 10;
        } else if (s->width >= s->count) {
            return false;
        } else if (merge_one(s)) {
            used++;
        } else {
            next_pair(s);
        }
    }
    return true;
}
