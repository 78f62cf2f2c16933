/* map.h - a hash map from byte strings to pointers (SipHash-2-4, open
 * addressing). Not thread-safe. Keys are copied; values are borrowed. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t cap;   /* A power of two, or 0. */
    size_t count; /* Live entries. */
    size_t used;  /* Live entries and tombstones. */
    uint64_t seed[2];
};

void map_init(struct map *m); /* Draws its hash seed from the system: keys may come from outside. */
void map_done(struct map *m); /* Frees keys and table, not values. */
void *map_get(const struct map *m, struct str key); /* NULL when absent. */
bool map_has(const struct map *m, struct str key);
/* The map's own copy of a key that is there: it stays where it is until it is removed. */
const char *map_key(const struct map *m, struct str key);
/* Sets and returns the value that was there before, NULL if none. */
void *map_set(struct map *m, struct str key, void *value);
void *map_remove(struct map *m, struct str key); /* The value removed, or NULL. */
void map_clear(struct map *m);
/* Iteration in no order: start with *pos = 0. The map may lose the current
 * entry but gain none meanwhile. */
bool map_next(const struct map *m, size_t *pos, struct str *ret_key, void **ret_value);

uint64_t base_siphash(const uint64_t seed[2], const void *p, size_t len);

#endif
