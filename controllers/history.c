/* history.c - see history.h. A revision's data is the patch {"spec":{"template":
 * ...}} that brings the owner to it, as upstream stores it. */
#include "controllers/history.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "controllers/deployment_plan.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"

static const struct api_kind *revision_kind(void)
{
    return api_kind_by_gvk(STR("apps"), STR("v1"), STR("ControllerRevision"));
}

/* --- data -------------------------------------------------------------------------------- */

static struct json *patch_of(struct arena *a, const struct core_v1_pod_template_spec *t)
{
    struct json *template = api_json_tree(a, &core_v1_pod_template_spec_msg, t, STR_NULL, STR_NULL);
    struct json *spec = json_object(a), *root = json_object(a);
    json_setc(a, template, "$patch", json_string(a, STR("replace")));
    json_setc(a, spec, "template", template);
    json_setc(a, root, "spec", spec);
    return root;
}

static bool same_data(struct arena *a, const struct apps_v1_controller_revision *r,
                      const struct json *patch)
{
    struct json *has;
    return json_parse(a, r->data.raw, &has, NULL) == 0 && json_equal(has, patch);
}

struct core_v1_pod_template_spec *history_template(struct arena *a,
                                                   const struct apps_v1_controller_revision *r)
{
    struct json *root;
    if (json_parse(a, r->data.raw, &root, NULL) != 0)
        return NULL;
    const struct json *template = json_path(root, "spec.template");
    struct core_v1_pod_template_spec *t = ARENA_NEW(a, struct core_v1_pod_template_spec);
    if (template == NULL || api_json_decode_tree(a, &core_v1_pod_template_spec_msg, template,
                                                 API_LENIENT, NULL, t, NULL) != 0)
        return NULL;
    return t;
}

struct str history_hash(const struct apps_v1_controller_revision *r)
{
    const struct str *hash = label_get(&r->metadata, LABEL_HISTORY_HASH);
    hash = hash != NULL ? hash : label_get(&r->metadata, LABEL_REVISION_HASH);
    return hash != NULL ? *hash : STR_NULL;
}

/* --- which there are ------------------------------------------------------------------------- */

static int by_revision(const void *x, const void *y)
{
    const struct apps_v1_controller_revision *a =
        *(const struct apps_v1_controller_revision *const *)x;
    const struct apps_v1_controller_revision *b =
        *(const struct apps_v1_controller_revision *const *)y;
    return a->revision < b->revision ? -1 : a->revision > b->revision;
}

static void load(struct reconcile *c, const struct api_object *owner, struct history *h)
{
    size_t count;
    struct api_object *const *all =
        controller_owned(c->run, "apps", "ControllerRevision", api_object_meta(owner)->uid, &count);
    h->items = ARENA_ARRAY(c->arena, const struct apps_v1_controller_revision *, count + 1);
    for (size_t i = 0; i < count; i++)
        h->items[h->count++] = reconcile_copy(c, all[i]);
    qsort(h->items, h->count, sizeof(*h->items), by_revision);
}

/* --- writing ---------------------------------------------------------------------------------- */

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

static void set_labels(struct reconcile *c, struct meta_v1_object_meta *m,
                       const struct core_v1_pod_template_spec *t, struct str hash)
{
    struct api_str_entry *list =
        ARENA_ARRAY(c->arena, struct api_str_entry, t->metadata.labels_count + 2);
    size_t n = 0;
    for (size_t i = 0; i < t->metadata.labels_count; i++)
        if (!str_eqc(t->metadata.labels[i].key, LABEL_REVISION_HASH) &&
            !str_eqc(t->metadata.labels[i].key, LABEL_HISTORY_HASH))
            list[n++] = t->metadata.labels[i];
    list[n++] = (struct api_str_entry){STR(LABEL_REVISION_HASH), hash};
    list[n++] = (struct api_str_entry){STR(LABEL_HISTORY_HASH), hash};
    qsort(list, n, sizeof(*list), by_key);
    m->labels = list;
    m->labels_count = n;
}

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    bool *collided = arg;
    if (result->code == E_EXISTS)
        *collided = true;
    /* Made before, and not in the cache yet; or taken: either way, look again. */
    if (result->code != 0 && result->code != E_EXISTS)
        reconcile_fail(c);
}

static void create(struct reconcile *c, const struct history_config *config,
                   const struct json *patch, int64_t revision, struct str hash, bool *collided)
{
    struct apps_v1_controller_revision *r = ARENA_NEW(c->arena, struct apps_v1_controller_revision);
    const struct meta_v1_object_meta *m = api_object_meta(config->owner);
    AUTO_BUF data = BUF_INIT;
    json_write(patch, true, &data);
    r->metadata.namespace = m->namespace;
    r->metadata.name = arena_printf(c->arena, STR_FMT "-" STR_FMT, STR_ARG(m->name), STR_ARG(hash));
    r->metadata.owner_references = ARENA_NEW(c->arena, struct meta_v1_owner_reference);
    r->metadata.owner_references_count = 1;
    owner_reference_to(config->owner->kind, m, r->metadata.owner_references);
    set_labels(c, &r->metadata, config->template, hash);
    r->data.raw = arena_str(c->arena, buf_str(&data));
    r->revision = revision;
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = revision_kind(),
        .namespace_name = m->namespace,
        .body = r,
    };
    reconcile_call(c, &call, on_created, collided);
}

void history_sync(struct reconcile *c, const struct history_config *config, struct history *ret)
{
    *ret = (struct history){0};
    load(c, config->owner, ret);
    struct json *patch = patch_of(c->arena, config->template);
    int64_t newest = ret->count != 0 ? ret->items[ret->count - 1]->revision : 0;
    struct str hash =
        deployment_template_hash(c->arena, config->template, config->collisions != NULL,
                                 config->collisions != NULL ? *config->collisions : 0);
    for (size_t i = ret->count; i-- > 0;) {
        if (!same_data(c->arena, ret->items[i], patch))
            continue;
        ret->current = ret->items[i];
        if (ret->items[i]->revision == newest)
            return;
        struct apps_v1_controller_revision *copy =
            arena_memdup(c->arena, ret->items[i], sizeof(*copy));
        copy->revision = newest + 1;
        reconcile_update(c, revision_kind(), copy, NULL);
        return;
    }
    struct str name = arena_printf(c->arena, STR_FMT "-" STR_FMT,
                                   STR_ARG(api_object_meta(config->owner)->name), STR_ARG(hash));
    for (size_t i = 0; i < ret->count; i++)
        ret->collided |= str_eq(ret->items[i]->metadata.name, name);
    bool *ignored = ARENA_NEW(c->arena, bool);
    if (!ret->collided)
        create(c, config, patch, newest + 1, hash, ignored);
}

void history_trim(struct reconcile *c, const struct history *h, int32_t limit,
                  bool (*in_use)(const struct apps_v1_controller_revision *r, const void *arg),
                  const void *arg)
{
    size_t unused = 0;
    for (size_t i = 0; i < h->count; i++)
        unused += h->items[i] != h->current && !in_use(h->items[i], arg);
    for (size_t i = 0; i < h->count && unused > (size_t)MAX_OF(limit, 0); i++)
        if (h->items[i] != h->current && !in_use(h->items[i], arg)) {
            reconcile_delete(c, revision_kind(), &h->items[i]->metadata);
            unused--;
        }
}
