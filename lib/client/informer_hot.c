/* informer_hot.c - see informer_hot.h. A clock: who comes to the head and was
 * looked at meanwhile goes round once more. */
#include "lib/client/informer_hot.h"

#include "lib/api/pack.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"

static void tell(struct informer_hot *h)
{
    bool much = h->bytes > informer_hot_bytes_max || h->freed > INFORMER_FREED_MAX;
    if (much && h->on_crowded != NULL)
        h->on_crowded(h->arg);
}

/* In api_object.cached. */
enum { IN_CACHE = 1, IN_RING = 2, USED = 4, LENT = 8 };

#define KNOWN_PER_NEW ((size_t)64) /* So many are set aside again in the time that packs one. */

size_t informer_hot_bytes_max = 6u << 20;

void informer_hot_init(struct informer_hot *h, struct api_packer *packer,
                       void (*on_crowded)(void *arg), void *arg)
{
    *h = (struct informer_hot){
        .packer = packer != NULL ? packer : api_packer_new(), .on_crowded = on_crowded, .arg = arg};
}

static uint32_t refs_of(const struct api_object *o)
{
    return atomic_load_explicit(&o->refs, memory_order_relaxed);
}

static size_t size_of(const struct api_object *o)
{
    return sizeof(*o) + (o->arena != NULL ? arena_bytes(o->arena) : 0);
}

static void push(struct informer_hot *h, struct api_object *o)
{
    if (h->count == h->cap) {
        size_t cap = h->cap != 0 ? h->cap * 2 : 64;
        struct api_object **ring = xzalloc(cap * sizeof(struct api_object *));
        for (size_t i = 0; i < h->count; i++)
            ring[i] = h->ring[(h->first + i) & (h->cap - 1)];
        free(h->ring);
        h->ring = ring;
        h->cap = cap;
        h->first = 0;
    }
    h->ring[(h->first + h->count++) & (h->cap - 1)] = o;
    h->bytes += size_of(o);
}

static struct api_object *pop(struct informer_hot *h)
{
    struct api_object *o = h->ring[h->first];
    h->first = (h->first + 1) & (h->cap - 1);
    h->count--;
    h->bytes -= size_of(o);
    return o;
}

void informer_hot_done(struct informer_hot *h)
{
    while (h->count != 0)
        api_object_unref(pop(h));
    free(h->ring);
    api_packer_free(h->packer);
    *h = (struct informer_hot){0};
}

static void to_ring(struct informer_hot *h, struct api_object *o)
{
    if (!api_kind_packs(o->kind))
        return;
    o->cached |= IN_RING;
    push(h, api_object_ref(o));
    tell(h);
}

void informer_hot_enter(struct informer_hot *h, struct api_object *o)
{
    o->cached |= IN_CACHE;
    if ((o->cached & IN_RING) == 0)
        to_ring(h, o);
}

void informer_hot_use(struct informer_hot *h, struct api_object *o)
{
    if ((o->cached & IN_RING) != 0) {
        o->cached |= USED;
        return;
    }
    if (o->msg != NULL && (o->cached & LENT) == 0)
        return; /* Of a kind that is not packed. */
    api_object_unpack(o);
    to_ring(h, o);
}

bool informer_hot_lend(struct informer_hot *h, struct api_object *o)
{
    UNUSED(h);
    if (o->msg != NULL)
        return false;
    api_object_unpack(o);
    o->cached |= LENT;
    return true;
}

void informer_hot_return(struct informer_hot *h, struct api_object *o)
{
    o->cached &= (uint8_t)~LENT;
    if ((o->cached & IN_RING) != 0)
        return; /* Somebody else looked at it. */
    if (refs_of(o) == 1)
        api_object_pack(h->packer, o);
    else
        to_ring(h, o);
}

/* Nobody but cache and ring holds it. */
static bool is_ours(const struct api_object *o)
{
    return refs_of(o) == 2;
}

void informer_hot_leave(struct informer_hot *h, struct api_object *o)
{
    o->cached &= (uint8_t)~IN_CACHE;
    if ((o->cached & IN_RING) == 0)
        return;
    if (!is_ours(o)) { /* Who holds it lets it go, some time. */
        h->freed += size_of(o);
        tell(h);
        return;
    }
    /* The ring's place comes free in its turn; the memory does now. */
    h->bytes -= size_of(o);
    h->freed += size_of(o);
    arena_free(o->arena);
    o->arena = NULL;
    o->msg = NULL;
    h->bytes += size_of(o);
    tell(h);
}

/* Off the ring, and packed if it is still cached. False: it stays. */
static bool set_aside(struct informer_hot *h, struct api_object *o)
{
    bool cached = (o->cached & IN_CACHE) != 0;
    size_t bytes = size_of(o);
    if (cached && (!is_ours(o) || (o->cached & USED) != 0))
        return false;
    if (cached)
        api_object_pack(h->packer, o);
    h->freed += bytes;
    o->cached &= (uint8_t) ~(IN_RING | USED);
    api_object_unref(o);
    return true;
}

enum hot_state informer_hot_cool(struct informer_hot *h, size_t max)
{
    size_t tries = h->count, effort = max * KNOWN_PER_NEW;
    for (; h->bytes > informer_hot_bytes_max && tries != 0 && effort != 0; tries--) {
        struct api_object *o = pop(h);
        effort -= MIN_OF(effort, o->pack != NULL ? 1 : KNOWN_PER_NEW);
        bool held = (o->cached & IN_CACHE) != 0 && !is_ours(o);
        h->held = held ? h->held + 1 : 0;
        if (set_aside(h, o))
            continue;
        o->cached &= (uint8_t)~USED;
        push(h, o);
    }
    if (h->bytes <= informer_hot_bytes_max)
        return HOT_COOL;
    /* Some that are held say nothing of those behind them. */
    bool all_held = h->held >= h->count;
    h->held = all_held ? 0 : h->held;
    return all_held ? HOT_HELD : HOT_CROWDED;
}
