/* json_index.h - finds members while an object is being built: small objects
 * are searched, large ones (a ConfigMap's data, a CRD) get a hash map, so that
 * building stays linear whatever is sent. */
#ifndef API_JSON_INDEX_H
#define API_JSON_INDEX_H

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/map.h"

enum { JSON_SEARCH_MAX = 16 };

struct json_index {
    struct map map; /* Key to position + 1; made when needed. */
    bool used;
};

static inline void json_index_done(struct json_index *x)
{
    if (x->used)
        map_done(&x->map);
}

static inline struct json_member *json_index_find(const struct json_index *x, const struct json *o,
                                                  struct str key)
{
    if (x->used) {
        uintptr_t position = (uintptr_t)map_get(&x->map, key);
        return position != 0 ? &o->object.members[position - 1] : NULL;
    }
    for (size_t i = 0; i < o->object.count; i++)
        if (str_eq(o->object.members[i].key, key))
            return &o->object.members[i];
    return NULL;
}

/* Adds a member whose key is new; the key is borrowed. */
static inline void json_index_add(struct json_index *x, struct arena *a, struct json *o,
                                  struct str key, struct json *value)
{
    size_t n = o->object.count;
    o->object.members =
        arena_grow(a, o->object.members, n, &o->object.cap, sizeof(struct json_member));
    o->object.members[o->object.count++] = (struct json_member){key, value};
    if (n < JSON_SEARCH_MAX)
        return;
    size_t from = n;
    if (!x->used) {
        map_init(&x->map);
        x->used = true;
        from = 0;
    }
    for (size_t i = from; i <= n; i++)
        map_set(&x->map, o->object.members[i].key, (void *)(i + 1));
}

#endif
