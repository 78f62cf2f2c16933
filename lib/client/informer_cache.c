/* informer_cache.c - see informer_cache.h. Pure. */
#include "lib/client/informer_cache.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/owner.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/client/gang_key.h"
#include "lib/base/arena.h"
#include "lib/client/informer_bucket.h"
#include "lib/client/informer_hot.h"

#include <string.h>

#define COOL_MAX 256u /* Packed in one go: about a millisecond. */
#define KEY_MAX 600   /* namespace (63) / name (253), and room */

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
    struct informer_bucket *b = map_get(f->filed, key);
    if (b == NULL) {
        b = xzalloc(sizeof(*b));
        map_set(f->filed, key, b);
    }
    informer_bucket_put(b, f->object);
}

static void unfile_object(void *ctx, struct str key)
{
    struct filing *f = ctx;
    struct informer_bucket *b = map_get(f->filed, key);
    if (b == NULL)
        return;
    informer_bucket_remove(b, f->object);
    if (b->count == 0) {
        map_remove(f->filed, key);
        informer_bucket_done(b);
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

/* --- packed or not ---------------------------------------------------------------------- */

/* An object of the cache is to be read. */
static struct api_object *used(const struct informer_cache *c, struct api_object *o)
{
    if (o != NULL && c->hot != NULL)
        informer_hot_use(c->hot, o);
    return o;
}

/* The cache's reference ends. */
static void release(struct informer_cache *c, struct api_object *o)
{
    if (o != NULL && c->hot != NULL)
        informer_hot_leave(c->hot, o);
    api_object_unref(o);
}

static void entered(struct informer_cache *c, struct api_object *o)
{
    if (c->hot != NULL)
        informer_hot_enter(c->hot, o);
}

void informer_cache_pack(struct informer_cache *c, struct api_packer *packer,
                         void (*on_crowded)(void *arg), void *arg)
{
    c->hot = xzalloc(sizeof(*c->hot));
    informer_hot_init(c->hot, packer, on_crowded, arg);
}

enum hot_state informer_cache_cool(struct informer_cache *c)
{
    return c->hot != NULL ? informer_hot_cool(c->hot, COOL_MAX) : HOT_COOL;
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

static void release_all(struct informer_cache *c, struct map *m)
{
    size_t pos = 0;
    void *o;
    while (map_next(m, &pos, NULL, &o))
        release(c, o);
    map_clear(m);
}

void informer_cache_done(struct informer_cache *c)
{
    for (unsigned i = 0; i < c->index_count; i++) {
        size_t pos = 0;
        void *v;
        while (map_next(&c->filed[i], &pos, NULL, &v)) {
            informer_bucket_done(v);
            free(v);
        }
        map_done(&c->filed[i]);
    }
    release_all(c, &c->objects);
    release_all(c, &c->incoming);
    map_done(&c->objects);
    map_done(&c->incoming);
    if (c->hot != NULL)
        informer_hot_done(c->hot);
    free(c->hot);
}

/* --- changes --------------------------------------------------------------------------- */

static void remove_key(struct informer_cache *c, struct str key, struct api_object *last_state,
                       enum informer_change change)
{
    struct api_object *old = used(c, map_remove(&c->objects, key));
    if (old == NULL)
        return;
    index_all(c, old, unfile_object);
    c->on_change(change, last_state != NULL ? last_state : old, NULL, c->arg);
    release(c, old);
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
    struct api_object *old = used(c, map_get(&c->objects, key));
    if (old != NULL && !same_incarnation(old, o)) {
        remove_key(c, key, NULL, INFORMER_DELETE_UNKNOWN);
        old = NULL;
    }
    if (old != NULL &&
        str_eq(api_object_meta(old)->resource_version, api_object_meta(o)->resource_version)) {
        release(c, o); /* May come from the incoming state. */
        return;
    }
    if (old != NULL)
        index_all(c, old, unfile_object);
    map_set(&c->objects, key, o);
    entered(c, o);
    index_all(c, o, file_object);
    /* A handler may cause nothing here, but keep o for the call all the same. */
    c->on_change(old != NULL ? INFORMER_UPDATE : INFORMER_ADD, old, o, c->arg);
    release(c, old);
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
    release(c, map_set(&c->incoming, key_in(buffer, sizeof(buffer), o), o));
    entered(c, o);
    (void)informer_cache_cool(c);
}

void informer_cache_replace_remove(struct informer_cache *c, struct api_object *o)
{
    char buffer[KEY_MAX];
    if (key_fits(o))
        release(c, map_remove(&c->incoming, key_in(buffer, sizeof(buffer), o)));
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
            remove_key(c, key_in(buffer, sizeof(buffer), used(c, o)), NULL,
                       INFORMER_DELETE_UNKNOWN);
        }
    pos = 0;
    while (map_next(&incoming, &pos, &key, &o)) {
        (void)map_remove(&incoming, key); /* What is taken over needs no second place. */
        informer_cache_put(c, used(c, o));
        (void)informer_cache_cool(c); /* Handlers keep nothing that they were lent. */
    }
    map_done(&incoming);
}

void informer_cache_replace_abandon(struct informer_cache *c)
{
    release_all(c, &c->incoming);
}

/* --- lookups --------------------------------------------------------------------------- */

struct api_object *informer_cache_get(const struct informer_cache *c, struct str key)
{
    return used(c, map_get(&c->objects, key));
}

struct api_object *informer_cache_next(const struct informer_cache *c, size_t *pos)
{
    void *o = NULL;
    return map_next(&c->objects, pos, NULL, &o) ? used(c, o) : NULL;
}

const struct map *informer_cache_index(const struct informer_cache *c, const char *index)
{
    for (unsigned i = 0; i < c->index_count; i++)
        if (strcmp(c->indexes[i].name, index) == 0)
            return &c->filed[i];
    PANIC("no index \"%s\"", index);
}

size_t informer_cache_index_count(const struct informer_cache *c, const char *index, struct str key)
{
    const struct informer_bucket *b = map_get(informer_cache_index(c, index), key);
    return b != NULL ? b->count : 0;
}

struct api_object *const *informer_cache_by_index(const struct informer_cache *c, const char *index,
                                                  struct str key, size_t *ret_count)
{
    const struct informer_bucket *b = map_get(informer_cache_index(c, index), key);
    *ret_count = b != NULL ? b->count : 0;
    for (size_t k = 0; k < *ret_count; k++)
        (void)used(c, b->items[k]);
    return b != NULL ? b->items : NULL;
}

/* --- one after another -------------------------------------------------------------------- */

struct informer_walk informer_cache_walk(const struct informer_cache *c, const char *index,
                                         struct str key)
{
    const struct informer_bucket *b = map_get(informer_cache_index(c, index), key);
    return b != NULL ? (struct informer_walk){c->hot, b->items, b->count, 0, false}
                     : (struct informer_walk){0};
}

void informer_walk_end(struct informer_walk *w)
{
    if (w->lent)
        informer_hot_return(w->hot, w->items[w->at - 1]);
    w->lent = false;
}

void informer_walk_keep(struct informer_walk *w)
{
    if (w->hot != NULL)
        informer_hot_use(w->hot, w->items[w->at - 1]);
}

struct api_object *informer_walk_next(struct informer_walk *w)
{
    informer_walk_end(w);
    if (w->at == w->count)
        return NULL;
    struct api_object *o = w->items[w->at++];
    w->lent = w->hot != NULL && informer_hot_lend(w->hot, o);
    return o;
}

/* --- keys --------------------------------------------------------------------------------- */

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
    const struct meta_v1_owner_reference *r = owner_controller(api_object_meta(o));
    if (r != NULL)
        emit(ctx, r->uid);
}

void informer_index_orphan(const struct api_object *o, void (*emit)(void *, struct str), void *ctx)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    if (owner_controller(m) == NULL)
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

void informer_index_ended(const struct api_object *o, void (*emit)(void *, struct str), void *ctx)
{
    ASSERT(o->kind->msg == &core_v1_pod_msg);
    if (pod_is_terminal(o->msg))
        emit(ctx, STR(""));
}

struct str informer_label_key(struct arena *a, struct str namespace_name, struct str label,
                              struct str value)
{
    return arena_printf(a, STR_FMT "/" STR_FMT "=" STR_FMT, STR_ARG(namespace_name), STR_ARG(label),
                        STR_ARG(value));
}

void informer_index_label(const struct api_object *o, void (*emit)(void *, struct str), void *ctx)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    AUTO_ARENA *a = arena_new(1024);
    for (size_t i = 0; i < m->labels_count; i++)
        emit(ctx, informer_label_key(a, m->namespace, m->labels[i].key, m->labels[i].value));
}
