/* json_edit.h - many changes to one object, in linear time however large it is:
 * lookups go through a hash map when the object is, and removed members leave
 * holes until json_edit_done(). */
#ifndef API_JSON_EDIT_H
#define API_JSON_EDIT_H

#include "lib/api/json_index.h"

struct json_edit {
    struct arena *arena;
    struct json *object;
    struct json_index index;
};

static inline struct json_edit json_edit_of(struct arena *a, struct json *object)
{
    struct json_edit e = {.arena = a, .object = object};
    if (object->object.count > JSON_SEARCH_MAX) {
        map_init(&e.index.map);
        e.index.used = true;
        for (size_t i = 0; i < object->object.count; i++)
            map_set(&e.index.map, object->object.members[i].key, (void *)(i + 1));
    }
    return e;
}

/* NULL when absent. */
static inline struct json *json_edit_get(const struct json_edit *e, struct str key)
{
    const struct json_member *m = json_index_find(&e->index, e->object, key);
    return m != NULL ? m->value : NULL;
}

/* The key is borrowed. */
static inline void json_edit_set(struct json_edit *e, struct str key, struct json *value)
{
    struct json_member *m = json_index_find(&e->index, e->object, key);
    if (m != NULL)
        m->value = value;
    else
        json_index_add(&e->index, e->arena, e->object, key, value);
}

static inline void json_edit_remove(struct json_edit *e, struct str key)
{
    struct json_member *m = json_index_find(&e->index, e->object, key);
    if (m != NULL)
        m->value = NULL;
}

static inline void json_edit_done(struct json_edit *e)
{
    struct json *o = e->object;
    size_t kept = 0;
    for (size_t i = 0; i < o->object.count; i++)
        if (o->object.members[i].value != NULL)
            o->object.members[kept++] = o->object.members[i];
    o->object.count = kept;
    json_index_done(&e->index);
}

#endif
