/* bytes.c - see bytes.h. */
#include "lib/net/bytes.h"

#include "lib/base/buf.h"

#include <string.h>

struct net_bytes_stolen {
    struct net_bytes base;
    void *memory;
};

static void net_bytes_free(struct net_bytes *b)
{
    free(b);
}

static void net_bytes_free_stolen(struct net_bytes *b)
{
    struct net_bytes_stolen *stolen = CONTAINER_OF(b, struct net_bytes_stolen, base);
    free(stolen->memory);
    free(stolen);
}

void net_bytes_init(struct net_bytes *b, const void *data, size_t len,
                    void (*release)(struct net_bytes *b))
{
    atomic_init(&b->refs, 1);
    b->len = len;
    b->data = data;
    b->headroom = 0;
    b->release = release;
}

struct net_bytes *net_bytes_new(size_t len)
{
    struct net_bytes *b = xmalloc(sizeof(*b) + len);
    net_bytes_init(b, b + 1, len, net_bytes_free);
    return b;
}

struct net_bytes *net_bytes_copy(const void *p, size_t len)
{
    struct net_bytes *b = net_bytes_new(len);
    if (len > 0)
        memcpy(b + 1, p, len);
    return b;
}

struct net_bytes *net_bytes_steal(struct buf *b)
{
    struct net_bytes_stolen *stolen = xmalloc(sizeof(*stolen));
    net_bytes_init(&stolen->base, b->data, b->len, net_bytes_free_stolen);
    stolen->memory = b->data != NULL ? b->data - b->skip : NULL;
    *b = BUF_INIT;
    return &stolen->base;
}

struct net_bytes *net_bytes_steal_private(struct buf *b)
{
    size_t room = b->skip;
    struct net_bytes *stolen = net_bytes_steal(b);
    stolen->headroom = room;
    return stolen;
}

uint8_t *net_bytes_edit(struct net_bytes *b)
{
    ASSERT(b->release == net_bytes_free);
    return (uint8_t *)(b + 1);
}

void net_bytes_shrink(struct net_bytes *b, size_t len)
{
    ASSERT(len <= b->len);
    b->len = len;
}

struct net_bytes *net_bytes_ref(struct net_bytes *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void net_bytes_unref(struct net_bytes *b)
{
    if (b == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1)
        b->release(b);
}
