/* arena.c - chunked bump allocation. */
#include "lib/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ARENA_ALIGN 16u
#define ARENA_CHUNK_DEFAULT 4096u
#define ARENA_CHUNK_MAX (1024u * 1024u)

struct chunk {
    struct chunk *next;
    size_t size; /* Usable bytes behind the header. */
    size_t used;
    size_t pad;
};
static_assert(sizeof(struct chunk) % ARENA_ALIGN == 0, "chunk payload must stay aligned");

struct hold {
    struct hold *next;
    void *obj;
    void (*release)(void *obj);
};

/* Lives at the start of its own first chunk, so that a small object costs one
 * allocation. */
struct arena {
    struct chunk *chunks; /* The one being filled comes first. */
    struct hold *holds;
    size_t bytes;
    size_t next_size;
};

static char *chunk_data(struct chunk *c)
{
    return (char *)(c + 1);
}

static size_t align_up(size_t n)
{
    return (n + (ARENA_ALIGN - 1)) & ~(size_t)(ARENA_ALIGN - 1);
}

static struct chunk *chunk_new(size_t size)
{
    struct chunk *c = xmalloc(sizeof(*c) + size);
    c->next = NULL;
    c->size = size;
    c->used = 0;
    return c;
}

static void arena_start(struct arena *a, struct chunk *home)
{
    home->next = NULL;
    home->used = align_up(sizeof(*a));
    a->chunks = home;
    a->holds = NULL;
    a->bytes = sizeof(*home) + home->size;
    /* The second chunk is no larger than the first: what lasts, a watch's request, just spills
     * over. */
    a->next_size = MIN_OF(MAX_OF(home->size, ARENA_CHUNK_DEFAULT), ARENA_CHUNK_MAX);
}

struct arena *arena_new(size_t chunk_bytes)
{
    size_t size = chunk_bytes != 0 ? chunk_bytes : ARENA_CHUNK_DEFAULT - sizeof(struct chunk);
    size = MAX_OF(align_up(size), align_up(sizeof(struct arena)) + ARENA_ALIGN);
    struct chunk *c = chunk_new(size);
    struct arena *a = (struct arena *)(void *)chunk_data(c);
    arena_start(a, c);
    return a;
}

/* Runs the holds and frees the chunks but for the one that the arena itself lies in. */
static struct chunk *arena_strip(struct arena *a)
{
    struct chunk *home = (struct chunk *)(void *)a - 1;
    for (struct hold *h = a->holds; h != NULL; h = h->next)
        h->release(h->obj);
    for (struct chunk *c = a->chunks, *next; c != NULL; c = next) {
        next = c->next;
        if (c != home)
            free(c);
    }
    return home;
}

void arena_free(struct arena *a)
{
    if (a != NULL)
        free(arena_strip(a));
}

void arena_clear(struct arena *a)
{
    arena_start(a, arena_strip(a));
}

static void *alloc_slow(struct arena *a, size_t size)
{
    bool own = size > a->next_size / 4;
    struct chunk *c = chunk_new(own ? size : a->next_size);
    a->bytes += sizeof(*c) + c->size;
    c->used = size;
    if (own) {
        /* Behind the head, which still has room for small requests. */
        c->next = a->chunks->next;
        a->chunks->next = c;
    } else {
        c->next = a->chunks;
        a->chunks = c;
        a->next_size = MIN_OF(a->next_size * 2, (size_t)ARENA_CHUNK_MAX);
    }
    return chunk_data(c);
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2)
        PANIC("arena allocation of %zu bytes", size);
    size = align_up(size != 0 ? size : 1);
    struct chunk *c = a->chunks;
    if (size > c->size - c->used)
        return alloc_slow(a, size);
    void *p = chunk_data(c) + c->used;
    c->used += size;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    memset(p, 0, size);
    return p;
}

void *arena_array(struct arena *a, size_t size, size_t count)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(size, count, &bytes))
        PANIC("arena array of %zu x %zu bytes", count, size);
    return arena_zalloc(a, bytes);
}

void *arena_memdup(struct arena *a, const void *p, size_t size)
{
    void *copy = arena_alloc(a, size);
    if (size != 0)
        memcpy(copy, p, size);
    return copy;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.len + 1);
    if (s.len != 0)
        memcpy(p, s.data, s.len);
    p[s.len] = '\0';
    return str_n(p, s.len);
}

struct str arena_strc(struct arena *a, const char *s)
{
    return arena_str(a, str_of(s));
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_memdup(a, s, strlen(s) + 1);
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return str_n(p, (size_t)n);
}

void *arena_grow(struct arena *a, void *items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return items;
    size_t next = *cap != 0 ? *cap * 2 : 4;
    void *bigger = arena_array(a, size, next);
    if (count != 0)
        memcpy(bigger, items, count * size);
    *cap = next;
    return bigger;
}

void arena_hold(struct arena *a, void *obj, void (*release)(void *obj))
{
    struct hold *h = arena_alloc(a, sizeof(*h));
    h->next = a->holds;
    h->obj = obj;
    h->release = release;
    a->holds = h;
}

size_t arena_bytes(const struct arena *a)
{
    return a->bytes;
}

size_t arena_used(const struct arena *a)
{
    size_t used = 0;
    for (const struct chunk *c = a->chunks; c != NULL; c = c->next)
        used += c->used;
    return used;
}
