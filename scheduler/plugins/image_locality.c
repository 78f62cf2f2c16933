/* image_locality.c - prefers nodes that have the pod's images already, weighed
 * by their size and by how many nodes have them. Names are compared as they are
 * written, like upstream. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"

#define MIB (1024ll * 1024)
#define THRESHOLD_MIN (23 * MIB)
#define THRESHOLD_MAX_PER_CONTAINER (1000 * MIB)

/* "nginx" and "nginx@sha256:..." as the runtime reports names: with a tag. */
static struct str normalized(struct arena *a, struct str image)
{
    ptrdiff_t slash = -1;
    for (size_t i = 0; i < image.len; i++)
        if (image.data[i] == '/')
            slash = (ptrdiff_t)i;
    if (str_find(image, ':', (size_t)(slash + 1)) >= 0)
        return image;
    return arena_printf(a, STR_FMT ":latest", STR_ARG(image));
}

static int64_t size_on(const struct core_v1_node *node, struct str image)
{
    for (size_t i = 0; i < node->status.images_count; i++)
        for (size_t k = 0; k < node->status.images[i].names_count; k++)
            if (str_eq(node->status.images[i].names[k], image))
                return node->status.images[i].size_bytes;
    return 0;
}

struct wanted_image {
    struct str name;
    double spread; /* Share of nodes that have it. */
};

struct locality {
    struct wanted_image *images;
    size_t count;
};

/* Those that no node has count in the thresholds alone. */
static void want(struct cycle *c, struct locality *l, struct str image)
{
    struct wanted_image *w = &l->images[l->count++];
    w->name = normalized(c->state_arena, image);
    w->spread = (double)snapshot_image_nodes(c->snapshot, w->name) /
                (double)MAX_OF(c->snapshot->node_count, (size_t)1);
}

static enum verdict prescore(struct cycle *c)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    struct locality *l = ARENA_NEW(c->state_arena, struct locality);
    l->images = ARENA_ARRAY(c->state_arena, struct wanted_image,
                            spec->containers_count + spec->init_containers_count);
    for (size_t i = 0; i < spec->containers_count; i++)
        want(c, l, spec->containers[i].image);
    for (size_t i = 0; i < spec->init_containers_count; i++)
        want(c, l, spec->init_containers[i].image);
    c->state[c->current] = l;
    for (size_t i = 0; i < l->count; i++)
        if (l->images[i].spread > 0)
            return FIT;
    return SKIP;
}

static int64_t score(struct cycle *c, const struct node_info *n)
{
    const struct locality *l = CYCLE_STATE(c, struct locality);
    int64_t sum = 0, max = THRESHOLD_MAX_PER_CONTAINER * (int64_t)l->count;
    for (size_t i = 0; i < l->count; i++)
        sum += (int64_t)((double)size_on(n->node, l->images[i].name) * l->images[i].spread);
    sum = sum < THRESHOLD_MIN ? THRESHOLD_MIN : sum > max ? max : sum;
    return SCORE_MAX * (sum - THRESHOLD_MIN) / (max - THRESHOLD_MIN);
}

/* Names and shares of the pod's images, for what is kept from them. */
uint64_t image_locality_rev(const struct cycle *c)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    uint64_t sum = 0;
    for (size_t i = 0; i < spec->containers_count; i++)
        sum = sum * 1000003 +
              snapshot_image_nodes(c->snapshot, normalized(c->arena, spec->containers[i].image));
    for (size_t i = 0; i < spec->init_containers_count; i++)
        sum =
            sum * 1000003 +
            snapshot_image_nodes(c->snapshot, normalized(c->arena, spec->init_containers[i].image));
    return sum;
}

const struct plugin plugin_image_locality = {
    .name = "ImageLocality",
    .prescore = prescore,
    .score = score,
    .weight = 1,
};
