/* informer_cache.c - see informer_cache.h. Pure. */
#include "lib/client/informer_cache.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/client/gang_key.h"
#include "lib/base/arena.h"

#include <string.h>

/* Objects filed under one index key; order does not matter. */
struct index_bucket {
    struct api_object **items; /* Borrowed from the cache. */
    size_t count, cap;
};

#define KEY_MAX 600 /* namespace (63) / name (253), and room */

/* "namespace/name" in a buffer of the caller's. */
static struct str key_in(char *buffer, size_t size, const struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    size_t len = m->namespace.len + (m->namespace.len != 0) + m->name.len;
    ASSERT_CMP(len, <, size);
    char *p = buffer;
    if (m->namespace.len != 0) {
        memcpy(p, m->namespace.data, m->namespace.len);
        p += m->namespace.len;
        *p++ = '/';
    }
    if (m->name.len != 0)
        memcpy(p, m->name.data, m->name.len);
    return str_n(buffer, len);
}

/* Names come from a server: a key beyond all limits is refused, not trusted. */
static bool key_fits(const struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    return m->namespace.len + m->name.len + 2 < KEY_MAX;
}

/* --- indexes ----------------------------------------------------------------------- */

struct filing {
    struct map *filed;
    struct api_object *object;
};

static void file_object(void *ctx, struct str key)
{
    struct filing *f = ctx;
    struct index_bucket *b = map_get(f->filed, key);
    if (b == NULL) {
        b = xzalloc(sizeof(*b));
        map_set(f->filed, key, b);
    }
    for (size_t i = 0; i < b->count; i++) /* An owner named twice. */
        if (b->items[i] == f->object)
            return;
    if (b->count == b->cap) {
        b->cap = b->cap != 0 ? b->cap * 2 : 4;
        b->items = xrealloc(b->items, b->cap * sizeof(struct api_object *));
    }
    b->items[b->count++] = f->object;
}

static void unfile_object(void *ctx, struct str key)
{
    struct filing *f = ctx;
    struct index_bucket *b = map_get(f->filed, key);
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i] == f->object) {
            b->items[i] = b->items[--b->count];
            break;
        }
    if (b->count == 0) {
        map_remove(f->filed, key);
        free(b->items);
        free(b);
    }
}

static void index_all(struct informer_cache *c, struct api_object *o,
                      void (*act)(void *, struct str))
{
    for (unsigned i = 0; i < c->index_count; i++) {
        struct filing f = {&c->filed[i], o};
        c->indexes[i].keys(o, act, &f);
    }
}

/* --- life ----------------------------------------------------------------------------- */

void informer_cache_init(struct informer_cache *c, const struct informer_index *indexes,
                         void (*on_change)(enum informer_change, struct api_object *,
                                           struct api_object *, void *),
                         void *arg)
{
    memset(c, 0, sizeof(*c));
    map_init(&c->objects);
    map_init(&c->incoming);
    while (c->index_count < INFORMER_INDEXES_MAX && indexes[c->index_count].name != NULL) {
        c->indexes[c->index_count] = indexes[c->index_count];
        map_init(&c->filed[c->index_count]);
        c->index_count++;
    }
    c->on_change = on_change;
    c->arg = arg;
}

static void unref_all(struct map *m)
{
    size_t pos = 0;
    void *o;
    while (map_next(m, &pos, NULL, &o))
        api_object_unref(o);
    map_clear(m);
}

void informer_cache_done(struct informer_cache *c)
{
    for (unsigned i = 0; i < c->index_count; i++) {
        size_t pos = 0;
        void *v;
        while (map_next(&c->filed[i], &pos, NULL, &v)) {
            free(((struct index_bucket *)v)->items);
            free(v);
        }
        map_done(&c->filed[i]);
    }
    unref_all(&c->objects);
    unref_all(&c->incoming);
    map_done(&c->objects);
    map_done(&c->incoming);
}

/* --- changes --------------------------------------------------------------------------- */

static void remove_key(struct informer_cache *c, struct str key, struct api_object *last_state,
                       enum informer_change change)
{
    struct api_object *old = map_remove(&c->objects, key);
    if (old == NULL)
        return;
    index_all(c, old, unfile_object);
    c->on_change(change, last_state != NULL ? last_state : old, NULL, c->arg);
    api_object_unref(old);
}

static bool same_incarnation(const struct api_object *x, const struct api_object *y)
{
    return str_eq(api_object_meta(x)->uid, api_object_meta(y)->uid);
}

void informer_cache_put(struct informer_cache *c, struct api_object *o)
{
    char buffer[KEY_MAX];
    if (!key_fits(o)) {
        api_object_unref(o);
        return;
    }
    struct str key = key_in(buffer, sizeof(buffer), o);
    struct api_object *old = map_get(&c->objects, key);
    if (old != NULL && !same_incarnation(old, o)) {
        remove_key(c, key, NULL, INFORMER_DELETE_UNKNOWN);
        old = NULL;
    }
    if (old != NULL &&
        str_eq(api_object_meta(old)->resource_version, api_object_meta(o)->resource_version)) {
        api_object_unref(o);
        return;
    }
    if (old != NULL)
        index_all(c, old, unfile_object);
    map_set(&c->objects, key, o);
    index_all(c, o, file_object);
    /* A handler may cause nothing here, but keep o for the call all the same. */
    c->on_change(old != NULL ? INFORMER_UPDATE : INFORMER_ADD, old, o, c->arg);
    api_object_unref(old);
}

void informer_cache_delete(struct informer_cache *c, struct api_object *last_state)
{
    char buffer[KEY_MAX];
    if (key_fits(last_state))
        remove_key(c, key_in(buffer, sizeof(buffer), last_state), last_state, INFORMER_DELETE);
    api_object_unref(last_state);
}

void informer_cache_replace_begin(struct informer_cache *c)
{
    informer_cache_replace_abandon(c);
}

void informer_cache_replace_add(struct informer_cache *c, struct api_object *o)
{
    char buffer[KEY_MAX];
    if (!key_fits(o)) {
        api_object_unref(o);
        return;
    }
    api_object_unref(map_set(&c->incoming, key_in(buffer, sizeof(buffer), o), o));
}

void informer_cache_replace_remove(struct informer_cache *c, struct api_object *o)
{
    char buffer[KEY_MAX];
    if (key_fits(o))
        api_object_unref(map_remove(&c->incoming, key_in(buffer, sizeof(buffer), o)));
    api_object_unref(o);
}

void informer_cache_replace_commit(struct informer_cache *c)
{
    struct map incoming = c->incoming;
    map_init(&c->incoming);
    size_t pos = 0;
    struct str key;
    void *o;
    /* Deletions first, so that nobody sees old and new side by side. Removing
     * the current entry while walking is allowed. */
    while (map_next(&c->objects, &pos, &key, &o))
        if (!map_has(&incoming, key)) {
            char buffer[KEY_MAX];
            remove_key(c, key_in(buffer, sizeof(buffer), o), NULL, INFORMER_DELETE_UNKNOWN);
        }
    pos = 0;
    while (map_next(&incoming, &pos, NULL, &o))
        informer_cache_put(c, o);
    map_done(&incoming);
}

void informer_cache_replace_abandon(struct informer_cache *c)
{
    unref_all(&c->incoming);
}

/* --- lookups --------------------------------------------------------------------------- */

struct api_object *informer_cache_get(const struct informer_cache *c, struct str key)
{
    return map_get(&c->objects, key);
}

struct api_object *const *informer_cache_by_index(const struct informer_cache *c, const char *index,
                                                  struct str key, size_t *ret_count)
{
    for (unsigned i = 0; i < c->index_count; i++) {
        if (strcmp(c->indexes[i].name, index) != 0)
            continue;
        const struct index_bucket *b = map_get(&c->filed[i], key);
        *ret_count = b != NULL ? b->count : 0;
        return b != NULL ? b->items : NULL;
    }
    PANIC("no index \"%s\"", index);
}

struct str informer_key_of(struct arena *a, struct str namespace_name, struct str name)
{
    if (str_empty(namespace_name))
        return arena_str(a, name);
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(namespace_name), STR_ARG(name));
}

struct str informer_key(struct arena *a, const struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    return informer_key_of(a, m->namespace, m->name);
}

void informer_split_key(struct str key, struct str *ret_namespace, struct str *ret_name)
{
    if (!str_cut(key, '/', ret_namespace, ret_name)) {
        *ret_namespace = STR_NULL;
        *ret_name = key;
    }
}

/* --- ready-made indexes ------------------------------------------------------------------ */

void informer_index_namespace(const struct api_object *o, void (*emit)(void *, struct str),
                              void *ctx)
{
    emit(ctx, api_object_meta(o)->namespace);
}

void informer_index_owner(const struct api_object *o, void (*emit)(void *, struct str), void *ctx)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    for (size_t i = 0; i < m->owner_references_count; i++)
        emit(ctx, m->owner_references[i].uid);
}

void informer_index_controller(const struct api_object *o, void (*emit)(void *, struct str),
                               void *ctx)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    for (size_t i = 0; i < m->owner_references_count; i++)
        if (m->owner_references[i].controller) {
            emit(ctx, m->owner_references[i].uid);
            return;
        }
}

void informer_index_orphan(const struct api_object *o, void (*emit)(void *, struct str), void *ctx)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    for (size_t i = 0; i < m->owner_references_count; i++)
        if (m->owner_references[i].controller)
            return;
    emit(ctx, m->namespace);
}

void informer_index_gang(const struct api_object *o, void (*emit)(void *, struct str), void *ctx)
{
    char buffer[GANG_KEY_MAX];
    ASSERT(o->kind->msg == &core_v1_pod_msg);
    struct str key = gang_key(o->msg, buffer);
    if (!str_empty(key))
        emit(ctx, key);
}

void informer_index_node(const struct api_object *o, void (*emit)(void *, struct str), void *ctx)
{
    ASSERT(o->kind->msg == &core_v1_pod_msg);
    emit(ctx, ((const struct core_v1_pod *)o->msg)->spec.node_name);
}
