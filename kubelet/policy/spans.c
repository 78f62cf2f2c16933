/* spans.c - see spans.h. */
#include "kubelet/policy/spans.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <arpa/inet.h>

bool cidr_parse(struct str s, struct cidr *ret)
{
    struct str net, bits_text;
    uint64_t bits;
    char text[INET6_ADDRSTRLEN];
    if (!str_cut(s, '/', &net, &bits_text) || !str_to_u64(bits_text, &bits) ||
        net.len >= sizeof(text))
        return false;
    memcpy(text, net.data, net.len);
    text[net.len] = '\0';
    *ret = (struct cidr){0};
    ret->v6 = inet_pton(AF_INET, text, ret->bytes) != 1;
    if ((ret->v6 && inet_pton(AF_INET6, text, ret->bytes) != 1) || bits > (ret->v6 ? 128u : 32u))
        return false;
    ret->bits = (unsigned)bits;
    for (unsigned i = 0; i < sizeof(ret->bytes); i++) {
        unsigned left = ret->bits > 8 * i ? ret->bits - 8 * i : 0;
        if (left < 8)
            ret->bytes[i] &= (unsigned char)(0xff00u >> left);
    }
    return true;
}

struct str cidr_text(struct arena *a, const struct cidr *c)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(c->v6 ? AF_INET6 : AF_INET, c->bytes, text, sizeof(text));
    return arena_printf(a, "%s/%u", text, c->bits);
}

void cidr_list_add(struct arena *a, struct cidr_list *l, const struct cidr *c)
{
    l->items = arena_grow(a, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = *c;
}

/* By the first address; of those with the same, the widest comes first. */
static int by_start(const void *x, const void *y)
{
    const struct cidr *a = x, *b = y;
    int c = memcmp(a->bytes, b->bytes, sizeof(a->bytes));
    return c != 0 ? c : (a->bits > b->bits) - (a->bits < b->bits);
}

static bool contains(const struct cidr *wide, const struct cidr *c)
{
    unsigned whole = wide->bits / 8, rest = wide->bits % 8;
    if (memcmp(wide->bytes, c->bytes, whole) != 0)
        return false;
    return rest == 0 || ((wide->bytes[whole] ^ c->bytes[whole]) & (0xff00u >> rest) & 0xffu) == 0;
}

void cidr_list_reduce(struct cidr_list *l)
{
    size_t kept = 0;
    if (l->count == 0)
        return;
    qsort(l->items, l->count, sizeof(*l->items), by_start);
    for (size_t i = 0; i < l->count; i++)
        if (kept == 0 || !contains(&l->items[kept - 1], &l->items[i]))
            l->items[kept++] = l->items[i];
    l->count = kept;
}

void port_spans_add(struct arena *a, struct port_spans *l, int first, int last)
{
    l->items = arena_grow(a, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = (struct port_span){first, MAX_OF(first, last)};
}

static int by_first(const void *x, const void *y)
{
    const struct port_span *a = x, *b = y;
    return (a->first > b->first) - (a->first < b->first);
}

struct str port_spans_text(struct arena *a, struct port_spans *l)
{
    AUTO_BUF b = BUF_INIT;
    size_t kept = 0;
    ASSERT(l->count > 0);
    qsort(l->items, l->count, sizeof(*l->items), by_first);
    for (size_t i = 0; i < l->count; i++) {
        struct port_span *before = kept > 0 ? &l->items[kept - 1] : NULL;
        if (before != NULL && l->items[i].first <= before->last + 1)
            before->last = MAX_OF(before->last, l->items[i].last);
        else
            l->items[kept++] = l->items[i];
    }
    l->count = kept;
    for (size_t i = 0; i < kept; i++) {
        buf_printf(&b, "%s%d", i > 0 ? ", " : kept > 1 ? "{ " : "", l->items[i].first);
        if (l->items[i].last > l->items[i].first)
            buf_printf(&b, "-%d", l->items[i].last);
    }
    if (kept > 1)
        buf_puts(&b, " }");
    return arena_str(a, buf_str(&b));
}
