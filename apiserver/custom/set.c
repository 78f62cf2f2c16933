/* set.c - see set.h. */
#include "apiserver/custom/set.h"

#include "apiserver/aggregation/apiservice.h"
#include "apiserver/custom/compiler.h"
#include "apiserver/custom/definition.h"
#include "apiserver/custom/publish.h"
#include "apiserver/encryption.h"
#include "lib/base/arena.h"
#include "raftstore/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define REV_UNKNOWN INT64_C(-1)

struct entry {
    struct str name; /* Owned. */
    int64_t mod_rev; /* REV_UNKNOWN: the definition is older than what is stored. */
    struct custom_definition *definition; /* NULL: not served. */
};

struct custom_set {
    _Atomic uint32_t refs;
    int64_t rev;           /* Of the view it was made from. */
    bool incomplete;       /* Some definitions were not ready ... */
    unsigned finished;     /* ... when so many had become so. */
    struct entry *entries; /* By name. */
    size_t count;
    const struct resource **resources;
    size_t resource_count;
    struct map by_gvr, by_prefix;
    struct registry_group *groups; /* All; NULL: only built-in ones. */
    size_t group_count;
    uint64_t serial;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct custom_set *newest; /* Under the lock. */
static struct map indexes;        /* Name -> index + 1; under the lock. */
static uint64_t last_serial;      /* Under the lock. */
static _Thread_local struct custom_set *current;

/* --- life ------------------------------------------------------------------------------- */
static struct custom_set *set_ref(struct custom_set *s)
{
    if (s != NULL)
        atomic_fetch_add(&s->refs, 1);
    return s;
}

static void set_unref(struct custom_set *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (size_t i = 0; i < s->count; i++) {
        custom_definition_unref(s->entries[i].definition);
        free((void *)(uintptr_t)s->entries[i].name.data);
    }
    map_done(&s->by_gvr);
    map_done(&s->by_prefix);
    free(s->entries);
    free((void *)s->resources);
    free(s->groups);
    free(s);
}

static struct str own_str(struct str s)
{
    char *p = xzalloc(s.len + 1);
    memcpy(p, s.data, s.len);
    return str_n(p, s.len);
}

/* --- building ----------------------------------------------------------------------------- */
static const struct entry *find_entry(const struct custom_set *s, struct str name)
{
    size_t low = 0, high = s != NULL ? s->count : 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = str_cmp(s->entries[mid].name, name);
        if (order == 0)
            return &s->entries[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* The same index for every definition of one name: watches are found by it. */
static uint32_t index_of(struct str name)
{
    if (indexes.cap == 0)
        map_init(&indexes);
    uintptr_t index = (uintptr_t)map_get(&indexes, name);
    if (index == 0) {
        index = registry_count() + indexes.count + 1;
        map_set(&indexes, name, (void *)index);
    }
    return (uint32_t)(index - 1);
}

/* Large definitions are made elsewhere: until then what was served stays. */
static void find_definition(struct entry *e, const struct kv *kv, const struct entry *old,
                            bool *ret_incomplete)
{
    struct custom_definition *before = old != NULL ? old->definition : NULL;
    const struct compiler_source s = {.name = e->name,
                                      .value = stored_value(kv),
                                      .mod_rev = kv->mod_rev,
                                      .index = index_of(e->name),
                                      .before = before};
    if (old != NULL && old->mod_rev == kv->mod_rev) {
        e->definition = before != NULL ? custom_definition_ref(before) : NULL;
    } else if (s.value.len < COMPILER_BYTES_MIN) {
        custom_definition_make(&s, &e->definition);
    } else if (!custom_compiler_take(&s, &e->definition)) {
        e->definition = before != NULL ? custom_definition_ref(before) : NULL;
        e->mod_rev = REV_UNKNOWN;
        *ret_incomplete = true;
    }
}

static size_t add_resources(struct custom_set *s, const struct custom_definition *d)
{
    size_t n = 0;
    char key[1024];
    for (size_t i = 0; i < d->count; i++) {
        const struct custom_version *v = &d->versions[i];
        if (!v->served)
            continue;
        int len = snprintf(key, sizeof(key), "%s/%s/%s", v->kind.group, v->kind.version,
                           v->kind.resource);
        if (len < 0 || (size_t)len >= sizeof(key))
            continue;
        map_set(&s->by_gvr, str_n(key, (size_t)len), (void *)(uintptr_t)&v->res);
        s->resources[s->resource_count++] = &v->res;
        n++;
    }
    struct str prefix = d->storage->res.prefix;
    map_set(&s->by_prefix,
            str_sub(prefix, sizeof(REGISTRY_ROOT) - 1, prefix.len - sizeof(REGISTRY_ROOT)),
            (void *)(uintptr_t)&d->storage->res);
    return n;
}

static int by_priority(const void *x, const void *y)
{
    return apiservice_compare_versions(*(const char *const *)x, *(const char *const *)y);
}

static void add_version(struct registry_group *g, const char *version)
{
    size_t n = 0;
    for (; g->versions[n] != NULL; n++)
        if (strcmp(g->versions[n], version) == 0)
            return;
    if (n < REGISTRY_VERSIONS_MAX)
        g->versions[n] = version;
}

static int by_group(const void *x, const void *y)
{
    return strcmp(((const struct registry_group *)x)->name,
                  ((const struct registry_group *)y)->name);
}

static void make_groups(struct custom_set *s)
{
    size_t built_in;
    const struct registry_group *first = registry_built_in(&built_in);
    if (s->resource_count == 0)
        return;
    s->groups = xzalloc((built_in + s->resource_count) * sizeof(*s->groups));
    memcpy(s->groups, first, built_in * sizeof(*s->groups));
    s->group_count = built_in;
    for (size_t i = 0; i < s->resource_count; i++) {
        const struct api_kind *k = s->resources[i]->kind;
        size_t at = built_in;
        while (at < s->group_count && strcmp(s->groups[at].name, k->group) != 0)
            at++;
        if (at == s->group_count)
            s->groups[s->group_count++].name = k->group;
        add_version(&s->groups[at], k->version);
    }
    qsort(&s->groups[built_in], s->group_count - built_in, sizeof(*s->groups), by_group);
    for (size_t i = built_in; i < s->group_count; i++) {
        size_t n = 0;
        while (s->groups[i].versions[n] != NULL)
            n++;
        qsort((void *)s->groups[i].versions, n, sizeof(const char *), by_priority);
    }
}

/* The definitions of a view; NULL: they are those of the set. */
static struct custom_set *build(const struct store_view *view, const struct custom_set *before)
{
    struct store_iter it;
    static const char end[] = "/registry/apiextensions.k8s.io/customresourcedefinitions0";
    struct entry *entries = NULL;
    const struct kv **found = NULL;
    size_t n = 0, cap = 0, resources = 0;
    bool same = before != NULL, incomplete = false;
    unsigned finished = custom_compiler_finished();
    if (store_iter_init(&it, view, STR(CUSTOM_DEFINITIONS), STR(end), 0) != 0)
        return NULL;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL; n++) {
        if (n == cap) {
            cap = cap != 0 ? cap * 2 : 16;
            found = xrealloc((void *)found, cap * sizeof(*found));
        }
        found[n] = kv;
        struct str name = str_sub(kv_key(kv), sizeof(CUSTOM_DEFINITIONS) - 1, kv_key(kv).len);
        same = same && n < before->count && before->entries[n].mod_rev == kv->mod_rev &&
               str_eq(before->entries[n].name, name);
    }
    if (same && n == before->count) {
        free((void *)found);
        return NULL;
    }
    entries = xzalloc((n + 1) * sizeof(*entries));
    for (size_t i = 0; i < n; i++) {
        struct str key = kv_key(found[i]);
        struct entry *e = &entries[i];
        e->name = own_str(str_sub(key, sizeof(CUSTOM_DEFINITIONS) - 1, key.len));
        e->mod_rev = found[i]->mod_rev;
        const struct entry *old = find_entry(before, e->name);
        find_definition(e, found[i], old, &incomplete);
        resources += e->definition != NULL ? e->definition->count : 0;
    }
    free((void *)found);
    struct custom_set *s = xzalloc(sizeof(*s));
    atomic_init(&s->refs, 1);
    s->serial = ++last_serial;
    map_init(&s->by_gvr);
    map_init(&s->by_prefix);
    s->entries = entries;
    s->count = n;
    s->incomplete = incomplete;
    s->finished = finished;
    s->resources = xzalloc((resources + 1) * sizeof(*s->resources));
    for (size_t i = 0; i < n; i++)
        if (entries[i].definition != NULL)
            add_resources(s, entries[i].definition);
    make_groups(s);
    return s;
}

static bool serves_otherwise(const struct custom_set *x, const struct custom_set *before)
{
    if (before == NULL || x->resource_count != before->resource_count)
        return x->resource_count != 0 || before != NULL;
    for (size_t i = 0; i < x->resource_count; i++)
        if (x->resources[i] != before->resources[i])
            return true;
    return false;
}

bool custom_set_sync(const struct store_view *view)
{
    int64_t rev = store_view_rev(view);
    pthread_mutex_lock(&lock);
    bool more = newest != NULL && newest->incomplete && rev >= newest->rev &&
                newest->finished != custom_compiler_finished();
    if (newest == NULL || rev > newest->rev || more) {
        struct custom_set *s = build(view, newest);
        if (s != NULL) {
            s->rev = rev;
            if (serves_otherwise(s, newest))
                custom_publish(s->resources, s->resource_count);
            set_unref(newest);
            newest = s;
        } else if (newest != NULL) {
            newest->rev = rev;
        }
    }
    struct custom_set *s = newest != current ? set_ref(newest) : NULL;
    pthread_mutex_unlock(&lock);
    if (s == NULL)
        return false;
    struct custom_set *old = current;
    current = s;
    set_unref(old);
    return true;
}

bool custom_set_incomplete(void)
{
    return current != NULL && current->incomplete;
}

void custom_set_leave(void)
{
    set_unref(current);
    current = NULL;
}

/* --- lookups ---------------------------------------------------------------------------------- */
const struct resource *custom_set_find(struct str group, struct str version, struct str resource)
{
    char key[1024];
    if (current == NULL)
        return NULL;
    int n = snprintf(key, sizeof(key), STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(group),
                     STR_ARG(version), STR_ARG(resource));
    return n > 0 && (size_t)n < sizeof(key) ? map_get(&current->by_gvr, str_n(key, (size_t)n))
                                            : NULL;
}

const struct resource *custom_set_by_key(struct str key)
{
    size_t from = sizeof(REGISTRY_ROOT) - 1;
    if (current == NULL || current->resource_count == 0)
        return NULL;
    ptrdiff_t group = str_find(key, '/', from);
    ptrdiff_t end = group >= 0 ? str_find(key, '/', (size_t)group + 1) : -1;
    return end >= 0 ? map_get(&current->by_prefix, str_sub(key, from, (size_t)end - from)) : NULL;
}

bool custom_set_has_group(struct str group)
{
    for (size_t i = 0; current != NULL && i < current->resource_count; i++)
        if (str_eq(current->resources[i]->gr.group, group))
            return true;
    return false;
}

const struct registry_group *custom_set_groups(size_t *ret_count)
{
    if (current == NULL || current->groups == NULL)
        return NULL;
    *ret_count = current->group_count;
    return current->groups;
}

const struct resource *custom_set_at(size_t index)
{
    return current != NULL && index < current->resource_count ? current->resources[index] : NULL;
}

const struct custom_definition *custom_set_definition(struct str name)
{
    const struct entry *e = find_entry(current, name);
    return e != NULL ? e->definition : NULL;
}

uint64_t custom_set_serial(void)
{
    return current != NULL ? current->serial : 0;
}
