/* nodettl.c - tells kubelets, by an annotation, for how many seconds they may
 * keep Secrets and ConfigMaps cached: longer in large clusters, so that polling
 * does not load the API server. */
#include "controllers/controller.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"

#define NOTE "node.alpha.kubernetes.io/ttl"

/* The class moves up at max and down again only below min: no flapping. */
static const struct {
    size_t min, max;
    unsigned seconds;
} classes[] = {
    {0, 100, 0}, {90, 500, 15}, {450, 1000, 30}, {900, 2000, 60}, {1800, SIZE_MAX, 300},
};

struct state {
    size_t class;
};

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (o != NULL && old == NULL)
        controller_enqueue_object(r, o);
}

static void tick(struct controller_run *r)
{
    struct state *s = r->state;
    const struct informer *nodes = controller_informer(r, "", "Node");
    size_t count = informer_count(nodes), before = s->class, pos = 0;
    while (count > classes[s->class].max)
        s->class ++;
    while (count < classes[s->class].min)
        s->class --;
    struct api_object *o;
    while (s->class != before && (o = informer_next(nodes, &pos)) != NULL)
        controller_enqueue_object(r, o);
}

static void reconcile(struct reconcile *c)
{
    const struct state *s = c->run->state;
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Node"), c->key);
    if (o == NULL)
        return;
    struct str want = arena_printf(c->arena, "%u", classes[s->class].seconds);
    const struct str *has = annotation_get(api_object_meta(o), NOTE);
    if (has != NULL && str_eq(*has, want))
        return;
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = o->kind,
        .name = c->name,
        .patch_type = CLIENT_PATCH_MERGE,
        .raw_body = arena_printf(c->arena,
                                 "{\"metadata\":{\"annotations\":{\"" NOTE "\":\"" STR_FMT "\"}}}",
                                 STR_ARG(want)),
    };
    reconcile_call(c, &call, NULL, NULL);
}

static void init(struct controller_run *r)
{
    r->state = xzalloc(sizeof(struct state));
}

static void done(struct controller_run *r)
{
    free(r->state);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Node", touch},
    {0},
};

const struct controller controller_nodettl = {
    .name = "ttl-controller",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
    .tick_ms = 10000,
    .tick = tick,
};
