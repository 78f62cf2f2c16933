/* publish.c - see publish.h. */
#include "apiserver/custom/publish.h"

#include "apiserver/custom/definition.h"
#include "apiserver/openapi.h"

#include <stdlib.h>

/* One allocation each; freed by release(), which finds them by the sources. */
struct sources {
    struct openapi_group_version *versions; /* Built-in ones first. */
    struct openapi_resource *resources;
    struct custom_definition **held;
    size_t held_count;
};

static struct sources *owner(const struct openapi_sources *s)
{
    /* Stands before the array of versions. */
    struct sources *own;
    memcpy(&own, (const char *)s->versions - sizeof(own), sizeof(own));
    return own;
}

static void release(struct openapi_sources *s)
{
    struct sources *own = owner(s);
    for (size_t i = 0; i < own->held_count; i++)
        custom_definition_unref(own->held[i]);
    free((char *)own->versions - sizeof(own));
    free(own->resources);
    free((void *)own->held);
    free(own);
}

static int by_place(const void *x, const void *y)
{
    const struct resource *a = *(const struct resource *const *)x,
                          *b = *(const struct resource *const *)y;
    int order = strcmp(a->kind->group, b->kind->group);
    if (order == 0)
        order = strcmp(a->kind->version, b->kind->version);
    return order != 0 ? order : strcmp(a->kind->resource, b->kind->resource);
}

static bool same_place(const struct resource *x, const struct resource *y)
{
    return strcmp(x->kind->group, y->kind->group) == 0 &&
           strcmp(x->kind->version, y->kind->version) == 0;
}

void custom_publish(const struct resource *const *resources, size_t count)
{
    const struct openapi_sources *first = openapi_built_in();
    struct sources *own = xzalloc(sizeof(*own));
    const struct resource **sorted = xzalloc((count + 1) * sizeof(*sorted));
    char *block = xzalloc(sizeof(own) + (first->count + count + 1) * sizeof(*own->versions));
    size_t n = first->count;
    memcpy(block, &own, sizeof(own));
    own->versions = (struct openapi_group_version *)(void *)(block + sizeof(own));
    own->resources = xzalloc((count + 1) * sizeof(*own->resources));
    own->held = xzalloc((count + 1) * sizeof(*own->held));
    memcpy(own->versions, first->versions, n * sizeof(*own->versions));
    for (size_t i = 0; i < count; i++)
        sorted[i] = resources[i];
    qsort((void *)sorted, count, sizeof(*sorted), by_place);
    for (size_t i = 0; i < count; i++) {
        const struct resource *r = sorted[i];
        own->resources[i] = (struct openapi_resource){.kind = r->kind, .schema = r->custom->schema};
        own->held[own->held_count++] = custom_definition_ref(r->custom->definition);
        if (i == 0 || !same_place(sorted[i - 1], r))
            own->versions[n++] = (struct openapi_group_version){r->kind->group, r->kind->version,
                                                                &own->resources[i], 0};
        own->versions[n - 1].count++;
    }
    free((void *)sorted);
    openapi_publish(&(struct openapi_sources){own->versions, n}, release);
}
