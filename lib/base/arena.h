/* arena.h - memory that is freed whole: one per request, one per API object.
 *
 * Not thread-safe; an arena may move between threads. Allocations are 16-byte
 * aligned and live until arena_free(). Allocation aborts when the system has
 * no memory; input-sized data is bounded by the caller (see arena_bytes()). */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;

/* chunk_bytes: size of the first chunk, 0 for the default (4 KiB). Later
 * chunks double up to 1 MiB; larger requests get a chunk of their own. */
struct arena *arena_new(size_t chunk_bytes);
void arena_free(struct arena *a); /* Runs the holds, newest first. NULL is a no-op. */
/* As free and new in one: the first chunk is kept. */
void arena_clear(struct arena *a);

void *arena_alloc(struct arena *a, size_t size);  /* Uninitialised. */
void *arena_zalloc(struct arena *a, size_t size); /* Zeroed. */
#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_array((a), sizeof(type), (n)))
void *arena_array(struct arena *a, size_t size, size_t count); /* Zeroed, overflow-checked. */

void *arena_memdup(struct arena *a, const void *p, size_t size);
/* Copies get a NUL behind them. */
struct str arena_str(struct arena *a, struct str s);
struct str arena_strc(struct arena *a, const char *s);
char *arena_strdup(struct arena *a, const char *s);
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Returns an array with room for one more than `count` elements of `size`
 * bytes: `items` itself, or a larger copy with *cap updated. The tail is
 * zeroed. The old copy stays until arena_free(). */
void *arena_grow(struct arena *a, void *items, size_t count, size_t *cap, size_t size);

/* Calls release(obj) when the arena is freed: how an arena holds a reference. */
void arena_hold(struct arena *a, void *obj, void (*release)(void *obj));

/* Bytes taken from the system for this arena. */
size_t arena_bytes(const struct arena *a);
/* Of them, those given out: what one chunk would have to hold. */
size_t arena_used(const struct arena *a);

static inline void arena_free_ptr(struct arena **a)
{
    arena_free(*a);
}
#define AUTO_ARENA __attribute__((cleanup(arena_free_ptr))) struct arena

#endif
