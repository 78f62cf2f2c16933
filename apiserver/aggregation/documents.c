/* documents.c - see documents.h. */
#include "apiserver/aggregation/documents.h"

#include "lib/base/arena.h"
#include "lib/base/map.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define OPENAPI_PREFIX "/openapi/v3/"

struct entry {
    char *resources, *openapi;
    char *v2, *v2_tag, *v2_prefix, *v2_group;
    int32_t v2_priority;
    bool stale;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map entries; /* Name -> struct entry; under the lock. */
static _Atomic uint64_t serial, v2_serial;

static struct entry *find(struct str name, bool make)
{
    if (entries.cap == 0)
        map_init(&entries);
    struct entry *e = map_get(&entries, name);
    if (e == NULL && make) {
        e = xzalloc(sizeof(*e));
        map_set(&entries, name, e);
    }
    return e;
}

static bool replace(char **text, struct str with)
{
    if (*text != NULL && str_eqc(with, *text))
        return false;
    free(*text);
    *text = xstrndup(with.data != NULL ? with.data : "", with.len);
    return true;
}

void aggregated_documents_put(struct str name, const struct aggregated_documents *d)
{
    pthread_mutex_lock(&lock);
    struct entry *e = find(name, true);
    bool changed = replace(&e->resources, d->resources);
    changed |= replace(&e->openapi, d->openapi);
    changed |= e->stale != d->stale;
    e->stale = d->stale;
    if (changed)
        atomic_fetch_add(&serial, 1);
    pthread_mutex_unlock(&lock);
}

void aggregated_documents_stale(struct str name)
{
    pthread_mutex_lock(&lock);
    struct entry *e = find(name, true);
    if (!e->stale)
        atomic_fetch_add(&serial, 1);
    e->stale = true;
    pthread_mutex_unlock(&lock);
}

void aggregated_documents_drop(struct str name)
{
    pthread_mutex_lock(&lock);
    struct entry *e = entries.cap != 0 ? map_remove(&entries, name) : NULL;
    if (e != NULL) {
        free(e->resources);
        free(e->openapi);
        if (e->v2 != NULL)
            atomic_fetch_add(&v2_serial, 1);
        free(e->v2);
        free(e->v2_tag);
        free(e->v2_prefix);
        free(e->v2_group);
        free(e);
        atomic_fetch_add(&serial, 1);
    }
    pthread_mutex_unlock(&lock);
}

static struct str copy(struct arena *a, const char *text)
{
    return text != NULL && text[0] != '\0' ? arena_strc(a, text) : STR_NULL;
}

bool aggregated_documents_get(struct arena *a, struct str name, struct aggregated_documents *ret)
{
    pthread_mutex_lock(&lock);
    struct entry *e = find(name, false);
    if (e != NULL)
        *ret = (struct aggregated_documents){copy(a, e->resources), copy(a, e->openapi), e->stale};
    pthread_mutex_unlock(&lock);
    return e != NULL;
}

void aggregated_documents_openapi(void (*each)(struct str name, struct str url, void *arg),
                                  void *arg)
{
    size_t pos = 0;
    void *value;
    struct str name, rest;
    pthread_mutex_lock(&lock);
    while (entries.cap != 0 && map_next(&entries, &pos, NULL, &value)) {
        struct str url = str_of(((struct entry *)value)->openapi);
        if (!str_has_prefix(url, STR(OPENAPI_PREFIX)))
            continue;
        str_cut(str_sub(url, sizeof(OPENAPI_PREFIX) - 1, url.len), '?', &name, &rest);
        each(name, url, arg);
    }
    pthread_mutex_unlock(&lock);
}

uint64_t aggregated_documents_serial(void)
{
    return atomic_load(&serial);
}

/* --- OpenAPI v2 ------------------------------------------------------------------------------ */
void aggregated_documents_put_v2(const struct aggregated_v2 *d)
{
    pthread_mutex_lock(&lock);
    struct entry *e = find(d->name, true);
    bool changed = replace(&e->v2, d->text);
    changed |= replace(&e->v2_prefix, d->prefix);
    changed |= replace(&e->v2_group, d->group);
    changed |= e->v2_priority != d->priority;
    e->v2_priority = d->priority;
    replace(&e->v2_tag, d->tag);
    if (changed)
        atomic_fetch_add(&v2_serial, 1);
    pthread_mutex_unlock(&lock);
}

struct str aggregated_documents_v2_tag(struct arena *a, struct str name)
{
    pthread_mutex_lock(&lock);
    struct entry *e = find(name, false);
    struct str tag = e != NULL ? copy(a, e->v2_tag) : STR_NULL;
    pthread_mutex_unlock(&lock);
    return tag;
}

static int by_precedence(const void *x, const void *y)
{
    const struct aggregated_v2 *a = x, *b = y;
    if (!str_eq(a->group, b->group) && a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return str_cmp(a->name, b->name);
}

/* A group has the greatest priority that any of its versions asks for. */
static void raise_priorities(struct aggregated_v2 *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++)
            if (str_eq(list[i].group, list[k].group))
                list[i].priority = MAX_OF(list[i].priority, list[k].priority);
}

struct aggregated_v2 *aggregated_documents_v2(struct arena *a, size_t *ret_count,
                                              uint64_t *ret_serial)
{
    size_t pos = 0, count = 0;
    void *value;
    struct str name;
    pthread_mutex_lock(&lock);
    struct aggregated_v2 *list = ARENA_ARRAY(a, struct aggregated_v2, entries.count + 1);
    while (entries.cap != 0 && map_next(&entries, &pos, &name, &value)) {
        const struct entry *e = value;
        if (e->v2 == NULL)
            continue;
        list[count++] = (struct aggregated_v2){.name = arena_str(a, name),
                                               .prefix = copy(a, e->v2_prefix),
                                               .group = copy(a, e->v2_group),
                                               .priority = e->v2_priority,
                                               .text = copy(a, e->v2)};
    }
    *ret_serial = atomic_load(&v2_serial);
    pthread_mutex_unlock(&lock);
    raise_priorities(list, count);
    qsort(list, count, sizeof(*list), by_precedence);
    *ret_count = count;
    return list;
}

uint64_t aggregated_documents_v2_serial(void)
{
    return atomic_load(&v2_serial);
}
