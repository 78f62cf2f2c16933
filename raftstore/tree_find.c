/* tree_find.c - finding a key's place in a node.
 *
 * Keys and separators lie all over memory: looking at one costs more than the
 * search among its neighbours. So each node keeps, in one piece, the "heads" of
 * its keys: the eight bytes behind the prefix that they all share, as a number.
 * Only keys with the same head, and the one found in the end, are looked at.
 *
 * Heads never contradict the order of the keys: a < b implies head(a) <= head(b),
 * short keys being filled up with zeros. */
#include "raftstore/tree_internal.h"

static uint64_t head_of(struct str key, size_t skip)
{
    uint64_t head = 0;
    if (key.len >= skip + sizeof(head)) {
        memcpy(&head, key.data + skip, sizeof(head));
        return __builtin_bswap64(head);
    }
    if (key.len > skip)
        memcpy(&head, key.data + skip, key.len - skip);
    return __builtin_bswap64(head);
}

static size_t common_prefix(struct str a, struct str b)
{
    size_t n = 0, max = MIN_OF(a.len, b.len);
    while (n < max && a.data[n] == b.data[n])
        n++;
    return n;
}

/* How key compares with all that begins with the first skip bytes of other: before
 * it, behind it, or 0: it begins so too. */
static int prefix_order(struct str key, struct str other, size_t skip)
{
    size_t len = MIN_OF(key.len, skip);
    int order = len > 0 ? memcmp(key.data, other.data, len) : 0;
    if (order != 0)
        return order;
    return key.len < skip ? -1 : 0;
}

/* Heads at [from, to) below `head`, or also those equal to it: where they end. */
static unsigned head_bound(const uint64_t *heads, unsigned from, unsigned to, uint64_t head,
                           bool equal_too)
{
    while (from < to) {
        unsigned mid = (from + to) / 2;
        if (heads[mid] < head || (equal_too && heads[mid] == head))
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

/* --- leaves --- */

static struct str leaf_key(const struct leaf *l, unsigned at)
{
    return kv_key(slot_newest(l->slots[at]));
}

unsigned leaf_find(const struct leaf *l, struct str key, bool *ret_equal)
{
    unsigned count = l->b.count;
    *ret_equal = false;
    if (count == 0)
        return 0;
    uint64_t head = head_of(key, l->skip);
    unsigned low = head_bound(l->heads, 0, count, head, false);
    int order = prefix_order(key, leaf_key(l, MIN_OF(low, count - 1)), l->skip);
    if (order != 0)
        return order < 0 ? 0 : count;
    if (low == count || l->heads[low] != head)
        return low;
    unsigned high = head_bound(l->heads, low, count, head, true);
    while (low < high) {
        unsigned mid = (low + high) / 2;
        order = str_cmp(leaf_key(l, mid), key);
        if (order == 0) {
            *ret_equal = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void leaf_index(struct leaf *l)
{
    if (l->b.count == 0)
        return;
    l->skip = (uint32_t)common_prefix(leaf_key(l, 0), leaf_key(l, l->b.count - 1u));
    for (unsigned i = 0; i < l->b.count; i++)
        l->heads[i] = head_of(leaf_key(l, i), l->skip);
}

void leaf_index_one(struct leaf *l, unsigned at)
{
    struct str key = leaf_key(l, at);
    unsigned other = at > 0 ? at - 1 : 1;
    if (l->b.count == 1 || prefix_order(key, leaf_key(l, other), l->skip) != 0)
        leaf_index(l);
    else
        l->heads[at] = head_of(key, l->skip);
}

/* --- inner nodes: the first child has no separator --- */

unsigned inner_find(const struct inner *in, struct str key)
{
    unsigned count = in->b.count;
    if (count < 2)
        return 0;
    int order = prefix_order(key, sep_str(in->children[1].sep), in->skip);
    if (order != 0)
        return order < 0 ? 0 : count - 1;
    uint64_t head = head_of(key, in->skip);
    unsigned high = head_bound(in->heads, 1, count, head, true);
    unsigned low = high; /* The separators at [low, high) have the same head. */
    while (low > 1 && in->heads[low - 1] == head)
        low--;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (str_cmp(sep_str(in->children[mid].sep), key) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low - 1;
}

void inner_index(struct inner *in)
{
    if (in->b.count < 2)
        return;
    in->skip = (uint32_t)common_prefix(sep_str(in->children[1].sep),
                                       sep_str(in->children[in->b.count - 1].sep));
    for (unsigned i = 1; i < in->b.count; i++)
        in->heads[i] = head_of(sep_str(in->children[i].sep), in->skip);
}

void inner_index_one(struct inner *in, unsigned at)
{
    if (at == 0)
        return;
    struct str sep = sep_str(in->children[at].sep);
    unsigned other = at > 1 ? at - 1 : 2;
    if (in->b.count == 2 || prefix_order(sep, sep_str(in->children[other].sep), in->skip) != 0)
        inner_index(in);
    else
        in->heads[at] = head_of(sep, in->skip);
}

/* --- for tree_check.c --- */

bool leaf_index_ok(const struct leaf *l)
{
    for (unsigned i = 0; i < l->b.count; i++) {
        struct str key = leaf_key(l, i);
        if (key.len < l->skip || prefix_order(key, leaf_key(l, 0), l->skip) != 0 ||
            l->heads[i] != head_of(key, l->skip))
            return false;
    }
    return true;
}

bool inner_index_ok(const struct inner *in)
{
    for (unsigned i = 1; i < in->b.count; i++) {
        struct str sep = sep_str(in->children[i].sep);
        if (sep.len < in->skip || prefix_order(sep, sep_str(in->children[1].sep), in->skip) != 0 ||
            in->heads[i] != head_of(sep, in->skip))
            return false;
    }
    return true;
}
