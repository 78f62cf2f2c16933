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
    bool stale;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map entries; /* Name -> struct entry; under the lock. */
static _Atomic uint64_t serial;

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
