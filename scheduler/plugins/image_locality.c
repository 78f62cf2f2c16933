/* image_locality.c - prefers nodes that have the pod's images already, weighed
 * by their size and by how many nodes have them. */
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

/* Runtimes report full names: docker.io/library/nginx:latest. */
static bool names_image(struct str reported, struct str wanted)
{
    if (str_eq(reported, wanted))
        return true;
    return reported.len > wanted.len && str_has_suffix(reported, wanted) &&
           reported.data[reported.len - wanted.len - 1] == '/';
}

static int64_t size_on(const struct core_v1_node *node, struct str image)
{
    for (size_t i = 0; i < node->status.images_count; i++)
        for (size_t k = 0; k < node->status.images[i].names_count; k++)
            if (names_image(node->status.images[i].names[k], image))
                return node->status.images[i].size_bytes;
    return 0;
}

struct wanted_image {
    struct str name;
    size_t nodes; /* That have it. */
};

struct locality {
    struct wanted_image *images;
    size_t count;
};

static void want(struct cycle *c, struct locality *l, struct str image)
{
    struct wanted_image *w = &l->images[l->count++];
    w->name = normalized(c->arena, image);
    for (size_t n = 0; n < c->snapshot->node_count; n++)
        w->nodes += size_on(c->snapshot->nodes[n]->node, w->name) != 0;
}

static enum verdict prescore(struct cycle *c)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    struct locality *l = ARENA_NEW(c->arena, struct locality);
    l->images = ARENA_ARRAY(c->arena, struct wanted_image,
                            spec->containers_count + spec->init_containers_count);
    for (size_t i = 0; i < spec->containers_count; i++)
        want(c, l, spec->containers[i].image);
    for (size_t i = 0; i < spec->init_containers_count; i++)
        want(c, l, spec->init_containers[i].image);
    c->state[c->current] = l;
    for (size_t i = 0; i < l->count; i++)
        if (l->images[i].nodes != 0)
            return FIT;
    return SKIP;
}

static int64_t score(struct cycle *c, const struct node_info *n)
{
    const struct locality *l = CYCLE_STATE(c, struct locality);
    int64_t sum = 0, max = THRESHOLD_MAX_PER_CONTAINER * (int64_t)l->count;
    for (size_t i = 0; i < l->count; i++)
        sum += size_on(n->node, l->images[i].name) * (int64_t)l->images[i].nodes /
               (int64_t)c->snapshot->node_count;
    sum = sum < THRESHOLD_MIN ? THRESHOLD_MIN : sum > max ? max : sum;
    return SCORE_MAX * (sum - THRESHOLD_MIN) / (max - THRESHOLD_MIN);
}

const struct plugin plugin_image_locality = {
    .name = "ImageLocality",
    .prescore = prescore,
    .score = score,
    .weight = 1,
};
