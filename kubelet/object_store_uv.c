/* object_store_uv.c - see object_store.h: reads and watches, by the agent's client. */
#include "kubelet/object_store.h"

#include "kubelet/kubelet.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/client.h"
#include "lib/client/informer.h"
#include "lib/client/labels.h"

#include "api/core_v1.h"

#define READ_TIMEOUT_MS 10000u

/* Outlives its object by a moment: it is not closed inside of its own events. */
struct object_watch {
    struct kubelet *k;
    struct held_object *of; /* NULL: it ends. */
    struct informer *informer;
    struct deferred end;
};

static const struct api_kind *kind_of(const struct held_object *o)
{
    return api_kind_by_api_version(STR("v1"),
                                   o->kind == OBJECT_SECRET ? STR("Secret") : STR("ConfigMap"));
}

/* --- reads ------------------------------------------------------------------------------------ */

struct object_call {
    struct held_object *of;
    struct client_request *request; /* NULL: it cannot be made, */
    struct deferred later;          /* which is told then. */
    struct error err;
};

static void answer(struct object_call *c, struct api_object *object, int code, const char *message)
{
    struct held_object *o = c->of;
    const struct kubelet *k = o->store->arg;
    o->call = NULL;
    object_store_answer(o, object, code, message, kubelet_now_ms(k));
    free(c);
}

static void on_read(struct client_request *r, const struct client_result *result, void *arg)
{
    UNUSED(r);
    int code = result->code != 0 ? result->code : result->object != NULL ? 0 : E_INTERNAL;
    answer(arg, code == 0 ? result->object : NULL, code, result->message);
}

static void on_failed(struct deferred *d)
{
    struct object_call *c = CONTAINER_OF(d, struct object_call, later);
    answer(c, NULL, c->err.code, error_message(&c->err));
}

static void ask(struct held_object *o)
{
    struct kubelet *k = o->store->arg;
    struct object_call *c = xzalloc(sizeof(*c));
    struct client_call call = {.verb = CLIENT_GET,
                               .kind = kind_of(o),
                               .namespace_name = o->namespace_name,
                               .name = o->name,
                               .timeout_ms = READ_TIMEOUT_MS,
                               .done = on_read,
                               .arg = c};
    c->of = o;
    o->call = c;
    deferred_init(&c->later, on_failed);
    if (client_start(k->client, &call, &c->request, &c->err) != 0)
        deferred_post(&k->deferred, &c->later);
}

static void cancel(struct held_object *o)
{
    struct object_call *c = take(o->call);
    if (c->request != NULL)
        client_cancel(c->request);
    deferred_cancel(&c->later);
    free(c);
}

/* --- watches ---------------------------------------------------------------------------------- */

static void on_add(struct api_object *object, void *arg)
{
    const struct object_watch *w = arg;
    if (w->of != NULL)
        object_store_seen(w->of, object);
}

static void on_update(struct api_object *old, struct api_object *object, void *arg)
{
    UNUSED(old);
    on_add(object, arg);
}

static void on_delete(struct api_object *object, bool unknown, void *arg)
{
    const struct object_watch *w = arg;
    UNUSED(unknown);
    if (w->of != NULL)
        object_store_gone(w->of, object);
}

static void on_synced(void *arg)
{
    const struct object_watch *w = arg;
    if (w->of != NULL)
        object_store_synced(w->of, informer_get(w->informer, w->of->namespace_name, w->of->name));
}

static void on_end(struct deferred *d)
{
    struct object_watch *w = CONTAINER_OF(d, struct object_watch, end);
    informer_close(w->informer);
    free(w);
}

static void watch(struct held_object *o)
{
    struct kubelet *k = o->store->arg;
    AUTO_ARENA *a = arena_new(256);
    struct error err;
    struct object_watch *w = xzalloc(sizeof(*w));
    *w = (struct object_watch){.k = k, .of = o};
    deferred_init(&w->end, on_end);
    struct informer_config config = {
        .kind = kind_of(o),
        .namespace_name = o->namespace_name,
        .field_selector = arena_printf(a, "metadata.name=" STR_FMT, STR_ARG(o->name)),
        .compact_bytes = 512,
    };
    const struct informer_handler handler = {.on_add = on_add,
                                             .on_update = on_update,
                                             .on_delete = on_delete,
                                             .on_synced = on_synced,
                                             .arg = w};
    o->watch = w;
    if (informer_new(k->client, &config, &w->informer, &err) != 0) {
        log_error("changes of " STR_FMT "/" STR_FMT " are not noticed: %s",
                  STR_ARG(o->namespace_name), STR_ARG(o->name), error_message(&err));
        return;
    }
    informer_add_handler(w->informer, &handler);
    informer_start(w->informer);
}

static void unwatch(struct held_object *o)
{
    struct object_watch *w = take(o->watch);
    w->of = NULL;
    deferred_post(&w->k->deferred, &w->end);
}

/* --- life ------------------------------------------------------------------------------------- */

struct object_store *object_store_new(struct kubelet *k, enum change_detection d,
                                      void (*changed)(void *user))
{
    struct object_store *s = xzalloc(sizeof(*s));
    object_store_init(s, d);
    s->ask = ask;
    s->watch = watch;
    s->unwatch = unwatch;
    s->cancel = cancel;
    s->changed = changed;
    s->arg = k;
    return s;
}

uint64_t object_store_ttl_ms(const struct kubelet *k)
{
    const struct core_v1_node *n = k->node != NULL ? k->node->msg : NULL;
    const struct str *text = n != NULL ? annotation_get(&n->metadata, OBJECT_TTL_ANNOTATION) : NULL;
    int64_t seconds;
    return text != NULL && str_to_i64(*text, &seconds) && seconds >= 0 && seconds <= 86400
               ? (uint64_t)seconds * 1000
               : OBJECT_TTL_DEFAULT_MS;
}
