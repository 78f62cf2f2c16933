/* event_recorder.c - writes Events; event_correlator.c decides which. */
#include "lib/client/event_recorder.h"

#include "api/core_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/client/client.h"
#include "lib/client/event_correlator.h"

#include <stdarg.h>
#include <stdio.h>

#define MESSAGE_MAX 1024
#define IN_FLIGHT_MAX 64 /* Writes at once; */
#define QUEUE_MAX 1000   /* further ones wait, then are dropped. */
#define WRITE_TIMEOUT_MS 10000
#define COARSEST_NS 1000000000 /* No clock ticks more rarely. */

struct event_recorder {
    struct client *client;
    struct env *env;
    const struct api_kind *kind;
    char *component;
    char *instance;
    struct event_correlator correlator;
    struct list in_flight;
    struct list queue;
    size_t in_flight_count, queue_count;
    int64_t named_ns; /* Of the last event's name. */
};

/* One Event on its way. */
struct event_write {
    struct list link;
    struct event_recorder *recorder;
    struct client_request *request; /* NULL: queued. */
    struct api_object *event;
    bool patch;
};

struct event_recorder *event_recorder_new(struct client *c, const char *component,
                                          const char *instance)
{
    struct event_recorder *r = xzalloc(sizeof(*r));
    r->client = c;
    r->env = client_env(c);
    r->kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Event"));
    ASSERT(r->kind != NULL);
    r->component = xstrdup(component);
    r->instance = xstrdup(instance != NULL ? instance : "");
    list_init(&r->in_flight);
    list_init(&r->queue);
    event_correlator_init(&r->correlator);
    return r;
}

static void write_free(struct event_write *w)
{
    list_remove(&w->link);
    api_object_unref(w->event);
    free(w);
}

void event_recorder_close(struct event_recorder *r)
{
    if (r == NULL)
        return;
    LIST_FOREACH_SAFE (it, &r->in_flight) {
        struct event_write *w = LIST_ENTRY(it, struct event_write, link);
        client_cancel(w->request);
        write_free(w);
    }
    LIST_FOREACH_SAFE (it, &r->queue) {
        write_free(LIST_ENTRY(it, struct event_write, link));
    }
    event_correlator_done(&r->correlator);
    free(r->component);
    free(r->instance);
    free(r);
}

struct event_object event_object_from(const struct api_kind *kind, const void *msg)
{
    const struct meta_v1_object_meta *m = api_meta_of(kind, msg);
    return (struct event_object){
        .api_version = str_of(kind->api_version),
        .kind = str_of(kind->kind),
        .namespace_name = m->namespace,
        .name = m->name,
        .uid = m->uid,
        .resource_version = m->resource_version,
    };
}

struct event_object event_object_of(const struct api_object *o)
{
    return event_object_from(o->kind, o->msg);
}

/* --- writing ----------------------------------------------------------------------------- */

static void start_write(struct event_write *w);

/* The write of the same Event in the list; NULL: none. */
static struct event_write *find_same(struct list *list, const struct api_object *event)
{
    const struct meta_v1_object_meta *m = api_object_meta(event);
    LIST_FOREACH (it, list) {
        struct event_write *w = LIST_ENTRY(it, struct event_write, link);
        const struct meta_v1_object_meta *x = api_object_meta(w->event);
        if (str_eq(x->name, m->name) && str_eq(x->namespace, m->namespace))
            return w;
    }
    return NULL;
}

/* Writes of one Event go one after the other: a change that overtook the creation would find
 * nothing. */
static void pump(struct event_recorder *r)
{
    LIST_FOREACH_SAFE (it, &r->queue) {
        struct event_write *w = LIST_ENTRY(it, struct event_write, link);
        if (r->in_flight_count >= IN_FLIGHT_MAX)
            return;
        if (w->patch && find_same(&r->in_flight, w->event) != NULL)
            continue;
        list_remove(it);
        r->queue_count--;
        start_write(w);
    }
}

static void on_written(struct client_request *request, const struct client_result *result,
                       void *arg)
{
    struct event_write *w = arg;
    struct event_recorder *r = w->recorder;
    struct core_v1_event *e = w->event->msg;
    UNUSED(request);
    r->in_flight_count--;
    if (w->patch && result->code == E_NOT_FOUND) {
        /* Its time to live has passed: write it anew. */
        list_remove(&w->link);
        w->patch = false;
        e->metadata.resource_version = STR_NULL;
        start_write(w);
    } else {
        if (result->code != 0 && result->code != E_NOT_FOUND && result->code != E_FORBIDDEN)
            log_warning("event " STR_FMT " (" STR_FMT ") not written: %s",
                        STR_ARG(e->metadata.name), STR_ARG(e->reason), result->message);
        write_free(w);
    }
    pump(r);
}

static struct str patch_text(struct arena *a, const struct core_v1_event *e)
{
    char last[TIME_TEXT_MAX];
    AUTO_BUF b = BUF_INIT;
    time_format(&e->last_timestamp, last);
    buf_printf(&b, "{\"count\":%d,\"lastTimestamp\":\"%s\",\"message\":", (int)e->count, last);
    json_write_string(e->message, &b);
    buf_putc(&b, '}');
    return arena_str(a, buf_str(&b));
}

static void start_write(struct event_write *w)
{
    struct event_recorder *r = w->recorder;
    struct core_v1_event *e = w->event->msg;
    struct client_call call = {
        .verb = w->patch ? CLIENT_PATCH : CLIENT_CREATE,
        .kind = r->kind,
        .namespace_name = e->metadata.namespace,
        .body = e,
        .timeout_ms = WRITE_TIMEOUT_MS,
        .done = on_written,
        .arg = w,
    };
    if (w->patch) {
        call.name = e->metadata.name;
        call.patch_type = CLIENT_PATCH_STRATEGIC;
        call.raw_body = patch_text(w->event->arena, e);
    }
    if (client_start(r->client, &call, &w->request, NULL) != 0) {
        write_free(w);
        return;
    }
    list_push_back(&r->in_flight, &w->link);
    r->in_flight_count++;
}

static void submit(struct event_recorder *r, struct api_object *event, bool patch)
{
    struct event_write *same = patch ? find_same(&r->queue, event) : NULL;
    if (same != NULL) { /* The later one says all that the earlier one would. */
        api_object_unref(same->event);
        same->event = event;
        return;
    }
    if (r->queue_count >= QUEUE_MAX) {
        api_object_unref(event);
        return;
    }
    struct event_write *w = xzalloc(sizeof(*w));
    w->recorder = r;
    w->event = event;
    w->patch = patch;
    list_push_back(&r->queue, &w->link);
    r->queue_count++;
    pump(r);
}

/* --- making ------------------------------------------------------------------------------- */

static struct api_object *make_event(struct event_recorder *r, const struct event_object *about,
                                     const struct event_facts *f, const struct event_verdict *v,
                                     const char *action)
{
    struct api_object *o = api_object_new(r->kind);
    struct arena *a = o->arena;
    struct core_v1_event *e = o->msg;
    e->metadata.namespace = str_empty(about->namespace_name) ? arena_strc(a, "default")
                                                             : arena_str(a, about->namespace_name);
    e->metadata.name = arena_strc(a, v->name);
    e->involved_object = (struct core_v1_object_reference){
        .kind = arena_str(a, about->kind),
        .namespace = arena_str(a, about->namespace_name),
        .name = arena_str(a, about->name),
        .uid = arena_str(a, about->uid),
        .api_version = arena_str(a, about->api_version),
        .resource_version = arena_str(a, about->resource_version),
        .field_path = arena_str(a, about->field_path),
    };
    e->reason = arena_str(a, f->reason);
    e->type = arena_str(a, f->type);
    e->message = v->combined ? arena_printf(a, "(combined from similar events): " STR_FMT,
                                            STR_ARG(f->message))
                             : arena_str(a, f->message);
    e->message.len = MIN_OF(e->message.len, (size_t)MESSAGE_MAX);
    e->source.component = arena_strc(a, r->component);
    e->source.host = arena_strc(a, r->instance);
    e->reporting_component = e->source.component;
    e->reporting_instance = e->source.host;
    e->action = action != NULL ? arena_strc(a, action) : STR_NULL;
    e->first_timestamp = time_from_ns(v->first_ns);
    e->last_timestamp = time_from_ns(f->wall_ns);
    e->count = v->count;
    return o;
}

/* A time that no event before was named by: clocks may be coarse. */
static int64_t naming_time(struct event_recorder *r, int64_t wall_ns)
{
    int64_t behind_ns = r->named_ns - wall_ns;
    r->named_ns = behind_ns >= 0 && behind_ns < COARSEST_NS ? r->named_ns + 1 : wall_ns;
    return r->named_ns;
}

static void record(struct event_recorder *r, const struct event_object *about, const char *type,
                   const char *reason, const char *action, const char *fmt, va_list ap)
{
    if (r == NULL || str_empty(about->name))
        return;
    char message[MESSAGE_MAX + 1];
    int len = vsnprintf(message, sizeof(message), fmt, ap);
    AUTO_ARENA *a = arena_new(1024);
    int64_t wall_ns = env_wall_ns(r->env);
    struct event_facts f = {
        .object =
            arena_printf(a, STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT,
                         STR_ARG(about->kind), STR_ARG(about->namespace_name), STR_ARG(about->name),
                         STR_ARG(about->uid), STR_ARG(about->field_path)),
        .type = str_of(type),
        .reason = str_of(reason),
        .message = str_n(message, MIN_OF((size_t)MAX_OF(len, 0), sizeof(message) - 1)),
        .name = arena_printf(a, STR_FMT ".%llx", STR_ARG(about->name),
                             (unsigned long long)naming_time(r, wall_ns)),
        .now_ms = env_now_ms(r->env),
        .wall_ns = wall_ns,
    };
    struct event_verdict v = event_correlate(&r->correlator, &f);
    if (!v.drop)
        submit(r, make_event(r, about, &f, &v, action), v.count > 1);
}

void event_record(struct event_recorder *r, const struct event_object *about, const char *type,
                  const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    record(r, about, type, reason, NULL, fmt, ap);
    va_end(ap);
}

void event_record_action(struct event_recorder *r, const struct event_object *about,
                         const char *type, const char *reason, const char *action, const char *fmt,
                         ...)
{
    va_list ap;
    va_start(ap, fmt);
    record(r, about, type, reason, action, fmt, ap);
    va_end(ap);
}
