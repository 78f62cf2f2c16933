/* object_store.c - see object_store.h: what is held, for whom, and when it must be read. */
#include "kubelet/object_store.h"

#include "lib/api/scheme.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"

int change_detection_parse(const char *text, enum change_detection *ret, struct error *err)
{
    static const char *const names[] = {
        [DETECT_WATCH] = "Watch", [DETECT_CACHE] = "Cache", [DETECT_GET] = "Get"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum change_detection)i;
            return 0;
        }
    return error_set(err, E_INVALID,
                     "configMapAndSecretChangeDetectionStrategy: '%s' is none of Watch, Cache, Get",
                     text);
}

void object_store_init(struct object_store *s, enum change_detection d)
{
    *s = (struct object_store){.detection = d};
    map_init(&s->objects);
}

void object_store_done(struct object_store *s)
{
    ASSERT(s->objects.count == 0);
    map_done(&s->objects);
}

/* --- objects ---------------------------------------------------------------------------------- */

static uint64_t version_of(struct api_object *o)
{
    uint64_t rv = 0;
    return str_to_u64(api_object_meta(o)->resource_version, &rv) ? rv : 0;
}

static bool is_immutable(const struct held_object *o)
{
    if (o->object == NULL)
        return false;
    if (o->kind == OBJECT_SECRET) {
        const struct core_v1_secret *s = o->object->msg;
        return s->has_immutable && s->immutable;
    }
    const struct core_v1_config_map *c = o->object->msg;
    return c->has_immutable && c->immutable;
}

static void tell_users(struct held_object *o)
{
    LIST_FOREACH_SAFE (it, &o->uses) {
        struct object_use *u = LIST_ENTRY(it, struct object_use, link);
        if (u->version != 0 && u->version != o->version)
            o->store->changed(u->user);
    }
}

static void take_over(struct held_object *o, struct api_object *object)
{
    bool same = object == NULL ? o->object == NULL
                               : o->object != NULL && version_of(object) == version_of(o->object);
    struct api_object *before = o->object;
    o->object = object != NULL ? api_object_ref(object) : NULL; /* An equal one may be shared. */
    api_object_unref(before);
    o->version += !same || o->version == 0;
}

static void set_code(struct held_object *o, int code, const char *message)
{
    free(o->message);
    o->code = code;
    o->message = code != 0 ? xstrdup(message) : NULL;
}

static void keep_watch(struct held_object *o)
{
    bool wanted = o->store->detection == DETECT_WATCH && o->read_began != 0 && !is_immutable(o);
    if (wanted == o->watched)
        return;
    o->watched = wanted;
    if (wanted)
        o->store->watch(o);
    else
        o->store->unwatch(o);
}

/* --- uses ------------------------------------------------------------------------------------- */

static struct held_object *find(struct object_store *s, enum object_kind kind,
                                struct str namespace_name, struct str name)
{
    AUTO_BUF b = BUF_INIT;
    buf_putc(&b, kind == OBJECT_SECRET ? 's' : 'c');
    buf_append_str(&b, namespace_name);
    buf_putc(&b, '/');
    buf_append_str(&b, name);
    struct held_object *o = map_get(&s->objects, buf_str(&b));
    if (o != NULL)
        return o;
    o = xzalloc(sizeof(*o));
    o->store = s;
    o->kind = kind;
    list_init(&o->uses);
    list_init(&o->waiting);
    map_set(&s->objects, buf_str(&b), o);
    o->key = str_n(map_key(&s->objects, buf_str(&b)), b.len);
    o->namespace_name = str_sub(o->key, 1, namespace_name.len);
    o->name = str_sub(o->key, 2 + namespace_name.len, o->key.len);
    return o;
}

struct object_use *object_store_use(struct object_store *s, enum object_kind kind,
                                    struct str namespace_name, struct str name, void *user)
{
    struct object_use *u = xzalloc(sizeof(*u));
    u->of = find(s, kind, namespace_name, name);
    u->since = ++s->count;
    u->user = user;
    list_push_back(&u->of->uses, &u->link);
    return u;
}

static void forget_unused(struct held_object *o)
{
    struct object_store *s = o->store;
    if (!list_empty(&o->uses) || !list_empty(&o->waiting) || o->answering)
        return;
    if (o->watched)
        s->unwatch(o);
    if (o->asked_began != 0)
        s->cancel(o);
    map_remove(&s->objects, o->key);
    api_object_unref(o->object);
    free(o->message);
    free(o);
}

void object_store_drop(struct object_use *u)
{
    if (u == NULL)
        return;
    struct held_object *o = u->of;
    if (u->read != NULL)
        u->read->use = NULL;
    list_remove(&u->link);
    free(u);
    forget_unused(o);
}

/* --- reading ---------------------------------------------------------------------------------- */

bool object_store_look(struct object_use *u, uint64_t ttl_ms, uint64_t now_ms)
{
    const struct held_object *o = u->of;
    bool known = o->read_began > u->since && (o->code == 0 || o->code == E_NOT_FOUND);
    switch (o->store->detection) {
    case DETECT_WATCH:
        break;
    case DETECT_CACHE:
        known = known && now_ms - o->read_ms < ttl_ms;
        break;
    case DETECT_GET:
        known = false;
        break;
    }
    if (known)
        u->version = o->version;
    return known;
}

static void ask(struct held_object *o)
{
    o->asked_began = ++o->store->count;
    o->store->ask(o);
}

void object_store_read(struct object_use *u, struct object_read *r,
                       void (*done)(struct object_read *r))
{
    struct held_object *o = u->of;
    bool any_time = o->store->detection == DETECT_GET;
    *r = (struct object_read){
        .use = u, .needs = any_time ? ++o->store->count : u->since, .done = done};
    ASSERT(u->read == NULL);
    u->read = r;
    list_push_back(&o->waiting, &r->link);
    if (o->asked_began == 0)
        ask(o);
}

void object_store_answer(struct held_object *o, struct api_object *object, int code,
                         const char *message, uint64_t now_ms)
{
    struct list done;
    list_init(&done);
    o->answering = true;
    o->read_began = o->asked_began;
    o->asked_began = 0;
    o->read_ms = now_ms;
    /* A watch may have told of something newer meanwhile. */
    bool older = code == 0 && o->object != NULL && version_of(object) < version_of(o->object);
    if (!older && (code == 0 || code == E_NOT_FOUND))
        take_over(o, object);
    set_code(o, code, message);
    LIST_FOREACH_SAFE (it, &o->waiting) {
        struct object_read *r = LIST_ENTRY(it, struct object_read, link);
        if (r->needs > o->read_began)
            continue;
        list_remove(it);
        list_push_back(&done, it);
        if (r->use != NULL)
            r->use->version = o->version;
    }
    if (!list_empty(&o->waiting))
        ask(o);
    if (code == 0 || code == E_NOT_FOUND)
        keep_watch(o);
    tell_users(o);
    struct list *l;
    while ((l = list_pop_front(&done)) != NULL) {
        struct object_read *r = LIST_ENTRY(l, struct object_read, link);
        if (r->use != NULL)
            r->use->read = NULL;
        r->done(r);
    }
    o->answering = false;
    forget_unused(o);
}

/* --- watching --------------------------------------------------------------------------------- */

void object_store_seen(struct held_object *o, struct api_object *object)
{
    if (o->object != NULL && version_of(object) < version_of(o->object))
        return;
    take_over(o, object);
    set_code(o, 0, NULL);
    tell_users(o);
    keep_watch(o); /* It may have become immutable: the watch ends. */
}

void object_store_gone(struct held_object *o, struct api_object *gone)
{
    if (o->object == NULL || version_of(o->object) > version_of(gone))
        return;
    take_over(o, NULL);
    set_code(o, E_NOT_FOUND, "not found");
    tell_users(o);
}

void object_store_synced(struct held_object *o, struct api_object *object)
{
    if (object != NULL)
        object_store_seen(o, object);
    else if (o->object != NULL && o->asked_began == 0)
        ask(o); /* It went between the read and the watch, or the watch began with older state. */
}
