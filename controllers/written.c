/* written.c - see written.h. */
#include "controllers/written.h"

#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/map.h"

struct written {
    struct map versions; /* By key; the resourceVersion as a number, in the pointer's place. */
};

struct written *written_new(void)
{
    struct written *w = xzalloc(sizeof(*w));
    map_init(&w->versions);
    return w;
}

void written_free(struct written *w)
{
    if (w == NULL)
        return;
    map_done(&w->versions);
    free(w);
}

static uintptr_t version_of(const struct api_object *o)
{
    int64_t rv;
    return str_to_i64(api_object_meta(o)->resource_version, &rv) && rv > 0 ? (uintptr_t)rv : 0;
}

void written_note(struct written *w, struct str key, const struct api_object *o)
{
    uintptr_t version = version_of(o);
    if (version != 0)
        map_set(&w->versions, key, (void *)version); /* NOLINT(performance-no-int-to-ptr) */
}

bool written_is_newer(const struct written *w, struct str key, const struct api_object *o)
{
    return version_of(o) < (uintptr_t)map_get(&w->versions, key);
}

void written_forget(struct written *w, struct str key)
{
    map_remove(&w->versions, key);
}
