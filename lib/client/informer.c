/* informer.c - drives a cache by list and watch.
 *
 *   from       event                                  to
 *   IDLE       start                                  LISTING
 *   LISTING    page with continue                     LISTING (next page)
 *   LISTING    last page                              WATCHING
 *   LISTING    failure                                WAITING (then LISTING)
 *   WATCHING   end, failure                           WAITING (then WATCHING)
 *   WATCHING   version no longer kept                 WAITING (then LISTING)
 *
 * With send_initial_events the watch itself brings the state: it fills the
 * incoming state until the annotated bookmark commits it. A server that does
 * not know this (Invalid) is listed instead. */
#include "lib/client/informer.h"

#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/informer_cache.h"

#include <malloc.h>
#include <string.h>
#include <uv.h>

#define PAGE_LIMIT 1000
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 10000u
#define HEALTHY_MS 10000u        /* A watch that lived so long resets the backoff. */
#define WATCH_TIMEOUT_MIN_S 300u /* As client-go: 5 to 10 minutes. */
#define REFUSED_TRIES 5u /* Some seconds: a server that starts may not know its rules yet. */
#define HELD_WAIT_MS 1000u
#define GIVE_BACK_MS 1000u
#define COMPACT_BYTES_MIN ((size_t)512) /* Where to begin. */
#define INITIAL_EVENTS_END "k8s.io/initial-events-end"

enum informer_state { IDLE, LISTING, WATCHING, WAITING };

struct handler_slot {
    struct informer_handler h;
    bool synced;
};

struct informer {
    struct client *client;
    struct env *env;
    const struct api_kind *kind;
    struct client_resource resource;
    bool has_resource;
    char *namespace_name;
    char *label_selector;
    char *field_selector;
    void (*trim)(struct api_object *o);
    size_t compact_bytes;
    bool optional;
    bool stream_initial; /* Try, or still try, initial state over the watch. */

    struct informer_cache cache;
    struct handler_slot handlers[INFORMER_HANDLERS_MAX];
    unsigned handler_count;

    enum informer_state state;
    bool want_list; /* What follows WAITING. */
    bool initial;   /* This watch is bringing the initial state. */
    bool synced;
    char *rv; /* Last version seen; "" before the first list. */
    char *continue_token;
    struct client_request *list;
    struct client_watch *watch;
    uint64_t watch_since_ms;
    uint32_t backoff_ms;
    unsigned failures;
    uv_timer_t timer;
    uv_timer_t cooling; /* Runs at the loop's next round, when there are too many structs. */
    uint64_t given_back_ms;
    unsigned handles_open;
    bool closing;
};

static void begin(struct informer *i);
static void on_cooling(uv_timer_t *timer);

static void set_string(char **p, struct str s)
{
    if (str_eq(str_of(*p), s))
        return;
    free(*p);
    *p = xstrndup(str_empty(s) ? "" : s.data, s.len);
}

static const char *what(const struct informer *i)
{
    return i->has_resource ? i->resource.resource : i->kind->resource;
}

/* --- handlers --------------------------------------------------------------------------- */

static void tell(const struct informer_handler *h, enum informer_change change,
                 struct api_object *old, struct api_object *o)
{
    switch (change) {
    case INFORMER_ADD:
        if (h->on_add != NULL)
            h->on_add(o, h->arg);
        return;
    case INFORMER_UPDATE:
        if (h->on_update != NULL)
            h->on_update(old, o, h->arg);
        return;
    case INFORMER_DELETE:
    case INFORMER_DELETE_UNKNOWN:
        if (h->on_delete != NULL)
            h->on_delete(old, change == INFORMER_DELETE_UNKNOWN, h->arg);
        return;
    }
}

static void on_change(enum informer_change change, struct api_object *old, struct api_object *o,
                      void *arg)
{
    struct informer *i = arg;
    unsigned count = i->handler_count; /* One added meanwhile has seen the cache. */
    for (unsigned n = 0; n < count; n++)
        tell(&i->handlers[n].h, change, old, o);
}

static void tell_synced(struct informer *i)
{
    i->synced = true;
    for (unsigned n = 0; n < i->handler_count; n++) {
        struct handler_slot *s = &i->handlers[n];
        if (s->synced)
            continue;
        s->synced = true;
        if (s->h.on_synced != NULL)
            s->h.on_synced(s->h.arg);
    }
}

void informer_add_handler(struct informer *i, const struct informer_handler *h)
{
    ASSERT_CMP(i->handler_count, <, INFORMER_HANDLERS_MAX);
    struct handler_slot *s = &i->handlers[i->handler_count++];
    *s = (struct handler_slot){.h = *h};
    size_t pos = 0;
    struct api_object *o;
    while ((o = informer_next(i, &pos)) != NULL) {
        tell(h, INFORMER_ADD, NULL, o);
        (void)informer_cache_cool(&i->cache);
    }
    if (i->synced) {
        s->synced = true;
        if (h->on_synced != NULL)
            h->on_synced(h->arg);
    }
}

/* --- waiting ------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer)
{
    begin(timer->data);
}

/* delay 0: at the loop's next round. */
static void wait_then(struct informer *i, bool list, uint64_t delay_ms)
{
    i->state = WAITING;
    i->want_list = list;
    uv_timer_start(&i->timer, on_timer, delay_ms, 0);
}

static uint64_t next_backoff(struct informer *i)
{
    uint32_t base = i->backoff_ms != 0 ? i->backoff_ms : BACKOFF_MIN_MS;
    i->backoff_ms = MIN_OF(base * 2, BACKOFF_MAX_MS);
    return base / 2 + env_random_below(i->env, base);
}

static void report_failure(struct informer *i, const char *verb, const struct client_result *result)
{
    /* One line at the first failure and then at each doubling: an apiserver
     * that is down must not fill the log. */
    i->failures++;
    if ((i->failures & (i->failures - 1)) == 0)
        log_warning("cannot %s %s (try %u): %s", verb, what(i), i->failures, result->message);
}

static void recover(struct informer *i)
{
    if (i->failures != 0)
        log_info("%s: list and watch work again", what(i));
    i->failures = 0;
}

/* --- packing ------------------------------------------------------------------------------ */

/* What was freed lies between what lives: malloc keeps it unless it is asked. */
static void give_back(struct informer *i)
{
    struct informer_hot *h = i->cache.hot;
    uint64_t now = env_now_ms(i->env);
    if (h->freed <= INFORMER_FREED_MAX)
        return;
    if (now - i->given_back_ms < GIVE_BACK_MS) {
        uv_timer_start(&i->cooling, on_cooling, GIVE_BACK_MS, 0);
        return;
    }
    (void)malloc_trim(0);
    h->freed = 0;
    i->given_back_ms = now;
}

static void on_cooling(uv_timer_t *timer)
{
    struct informer *i = timer->data;
    enum hot_state state = informer_cache_cool(&i->cache);
    if (state == HOT_CROWDED)
        uv_timer_start(&i->cooling, on_cooling, 0, 0);
    else if (state == HOT_HELD)
        uv_timer_start(&i->cooling, on_cooling, HELD_WAIT_MS, 0);
    else
        give_back(i);
}

static void on_crowded(void *arg)
{
    struct informer *i = arg;
    if (!i->closing && !uv_is_active((uv_handle_t *)&i->cooling))
        uv_timer_start(&i->cooling, on_cooling, 0, 0);
}

void informer_rest(struct informer *i)
{
    while (informer_cache_cool(&i->cache) == HOT_CROWDED)
        ;
}

/* --- list --------------------------------------------------------------------------------- */

static void drop_managed_fields(struct api_object *o)
{
    struct meta_v1_object_meta *m = api_object_meta(o);
    m->managed_fields = NULL;
    m->managed_fields_count = 0;
}

/* Takes over the reference; what comes back goes into the cache. */
static struct api_object *prepared(struct informer *i, struct api_object *o)
{
    i->trim(o);
    if (i->compact_bytes == 0)
        return o;
    struct api_object *small = xzalloc(sizeof(*small));
    atomic_init(&small->refs, 1);
    small->kind = o->kind;
    small->arena = arena_new(i->compact_bytes);
    small->msg = api_msg_clone(small->arena, o->kind->msg, o->msg);
    /* The next one is as large, most likely; else this forgets slowly. */
    size_t used = arena_used(small->arena);
    i->compact_bytes = MAX_OF(used, i->compact_bytes - i->compact_bytes / 16);
    api_object_unref(o);
    return small;
}

static void on_list_item(struct api_object *o, void *arg)
{
    struct informer *i = arg;
    informer_cache_replace_add(&i->cache, prepared(i, o));
}

static void list_failed(struct informer *i, const struct client_result *result)
{
    bool was_paging = i->continue_token[0] != '\0';
    informer_cache_replace_abandon(&i->cache);
    set_string(&i->continue_token, STR_NULL);
    if (result->code == E_EXPIRED && was_paging) {
        wait_then(i, true, 0); /* The pages' version is gone: from the start. */
        return;
    }
    report_failure(i, "list", result);
    uint64_t pause_ms = next_backoff(i);
    /* A kind that is not served has no objects: nobody need wait for it. */
    bool refused = i->optional && result->code == E_FORBIDDEN && i->failures >= REFUSED_TRIES;
    bool unserved = result->code == E_NOT_FOUND || refused;
    if (unserved && !i->synced)
        tell_synced(i);
    wait_then(i, true, pause_ms);
}

static void list_complete(struct informer *i, struct str rv)
{
    set_string(&i->continue_token, STR_NULL);
    set_string(&i->rv, rv);
    i->backoff_ms = 0;
    recover(i);
    informer_cache_replace_commit(&i->cache);
    if (!i->synced)
        tell_synced(i);
    wait_then(i, false, 0);
}

static void on_list_done(struct client_request *r, const struct client_result *result, void *arg)
{
    struct informer *i = arg;
    UNUSED(r);
    i->list = NULL;
    if (result->code != 0) {
        list_failed(i, result);
        return;
    }
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    struct str rv, next;
    if (client_list_walk(a, i->kind, result->body, on_list_item, i, &rv, &next, &err) != 0) {
        struct client_result bad = {.code = err.code, .message = error_message(&err)};
        list_failed(i, &bad);
    } else if (!str_empty(next)) {
        set_string(&i->continue_token, next);
        wait_then(i, true, 0);
    } else {
        list_complete(i, rv);
    }
}

static void begin_list(struct informer *i)
{
    struct client_call call = {
        .verb = CLIENT_LIST,
        .kind = i->kind,
        .resource = i->has_resource ? &i->resource : NULL,
        .namespace_name = str_of(i->namespace_name),
        .list = {.label_selector = str_of(i->label_selector),
                 .field_selector = str_of(i->field_selector),
                 .limit = PAGE_LIMIT,
                 .continue_token = str_of(i->continue_token)},
        .undecoded = true,
        .done = on_list_done,
        .arg = i,
    };
    struct error err = {0};
    i->state = LISTING;
    if (i->continue_token[0] == '\0')
        informer_cache_replace_begin(&i->cache);
    if (client_start(i->client, &call, &i->list, &err) != 0) {
        struct client_result failed = {.code = err.code, .message = error_message(&err)};
        list_failed(i, &failed);
    }
}

/* --- watch -------------------------------------------------------------------------------- */

static void on_bookmark(struct informer *i, const struct meta_v1_object_meta *m)
{
    const struct str *end =
        api_str_map_get(m->annotations, m->annotations_count, STR(INITIAL_EVENTS_END));
    if (!i->initial || end == NULL || !str_eqc(*end, "true"))
        return;
    i->initial = false;
    recover(i);
    informer_cache_replace_commit(&i->cache);
    if (!i->synced)
        tell_synced(i);
}

static void on_watch_event(struct client_watch *w, const struct client_event *e, void *arg)
{
    struct informer *i = arg;
    UNUSED(w);
    if (e->object == NULL)
        return;
    struct meta_v1_object_meta *m = api_object_meta(e->object);
    if (m == NULL)
        return;
    /* Kept now: a handler may close the informer. */
    set_string(&i->rv, m->resource_version);
    if (e->type == CLIENT_BOOKMARK) {
        on_bookmark(i, m);
        return;
    }
    struct api_object *o = prepared(i, api_object_ref(e->object));
    if (i->initial && e->type == CLIENT_DELETED)
        informer_cache_replace_remove(&i->cache, o);
    else if (i->initial)
        informer_cache_replace_add(&i->cache, o);
    else if (e->type == CLIENT_DELETED)
        informer_cache_delete(&i->cache, o);
    else
        informer_cache_put(&i->cache, o);
}

static void on_watch_end(struct client_watch *w, const struct client_result *result, void *arg)
{
    struct informer *i = arg;
    UNUSED(w);
    i->watch = NULL;
    bool was_initial = i->initial;
    i->initial = false;
    if (was_initial) {
        informer_cache_replace_abandon(&i->cache);
        set_string(&i->rv, STR_NULL);
    }
    bool healthy = env_now_ms(i->env) - i->watch_since_ms >= HEALTHY_MS;
    if (healthy)
        i->backoff_ms = 0;
    if (result->code == 0 && !was_initial) {
        /* The server's own timeout; but one that ends at once is not hammered. */
        recover(i);
        wait_then(i, false, healthy ? 0 : next_backoff(i));
        return;
    }
    if (result->code == E_EXPIRED) {
        log_info("%s: version %s is no longer kept; listing again", what(i), i->rv);
        wait_then(i, true, next_backoff(i));
        return;
    }
    if (was_initial && (result->code == E_INVALID || result->code == E_UNPROCESSABLE))
        i->stream_initial = false;
    report_failure(i, "watch", result);
    wait_then(i, was_initial, next_backoff(i));
}

static void begin_watch(struct informer *i, bool initial)
{
    struct client_watch_config config = {
        .kind = i->kind,
        .resource = i->has_resource ? &i->resource : NULL,
        .namespace_name = str_of(i->namespace_name),
        .list = {.label_selector = str_of(i->label_selector),
                 .field_selector = str_of(i->field_selector),
                 .resource_version = initial ? STR_NULL : str_of(i->rv),
                 .resource_version_match = initial ? STR("NotOlderThan") : STR_NULL},
        .send_initial_events = initial,
        .timeout_s = WATCH_TIMEOUT_MIN_S + (uint32_t)env_random_below(i->env, WATCH_TIMEOUT_MIN_S),
        .on_event = on_watch_event,
        .on_end = on_watch_end,
        .arg = i,
    };
    struct error err = {0};
    i->state = WATCHING;
    i->initial = initial;
    i->watch_since_ms = env_now_ms(i->env);
    if (initial)
        informer_cache_replace_begin(&i->cache);
    if (client_watch_start(i->client, &config, &i->watch, &err) != 0) {
        struct client_result failed = {.code = err.code, .message = error_message(&err)};
        on_watch_end(NULL, &failed, i);
    }
}

static void begin(struct informer *i)
{
    if (i->want_list && i->stream_initial && i->continue_token[0] == '\0')
        begin_watch(i, true);
    else if (i->want_list)
        begin_list(i);
    else
        begin_watch(i, false);
}

/* --- life --------------------------------------------------------------------------------- */

static char *copy_of(struct str s)
{
    return xstrndup(str_empty(s) ? "" : s.data, s.len);
}

int informer_new(struct client *c, const struct informer_config *config, struct informer **ret,
                 struct error *err)
{
    if (config->kind == NULL || config->kind->meta_offset == UINT32_MAX)
        return error_set(err, E_INVALID, "an informer needs a kind with metadata");
    if (config->resource == NULL && config->kind->resource == NULL)
        return error_set(err, E_INVALID, "kind %s has no resource", config->kind->kind);
    struct informer *i = xzalloc(sizeof(*i));
    i->client = c;
    i->env = client_env(c);
    i->kind = config->kind;
    if (config->resource != NULL) {
        i->has_resource = true;
        i->resource = (struct client_resource){
            .group = xstrdup(config->resource->group),
            .version = xstrdup(config->resource->version),
            .resource = xstrdup(config->resource->resource),
            .namespaced = config->resource->namespaced,
        };
    }
    i->namespace_name = copy_of(config->namespace_name);
    i->label_selector = copy_of(config->label_selector);
    i->field_selector = copy_of(config->field_selector);
    i->trim = config->trim != NULL ? config->trim : drop_managed_fields;
    i->compact_bytes = config->compact_bytes;
    if (config->pack)
        i->compact_bytes = MAX_OF(i->compact_bytes, COMPACT_BYTES_MIN);
    i->stream_initial = config->send_initial_events;
    i->optional = config->optional;
    i->rv = xstrdup("");
    i->continue_token = xstrdup("");
    informer_cache_init(&i->cache, config->indexes, on_change, i);
    if (config->pack)
        informer_cache_pack(&i->cache, config->packer, on_crowded, i);
    uv_timer_init(client_loop(c), &i->timer);
    uv_timer_init(client_loop(c), &i->cooling);
    i->timer.data = i->cooling.data = i;
    i->handles_open = 2;
    *ret = i;
    return 0;
}

void informer_start(struct informer *i)
{
    ASSERT_CMP(i->state, ==, IDLE);
    wait_then(i, true, 0);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct informer *i = h->data;
    if (--i->handles_open != 0)
        return;
    informer_cache_done(&i->cache);
    free((char *)i->resource.group);
    free((char *)i->resource.version);
    free((char *)i->resource.resource);
    free(i->namespace_name);
    free(i->label_selector);
    free(i->field_selector);
    free(i->rv);
    free(i->continue_token);
    free(i);
}

void informer_close(struct informer *i)
{
    if (i == NULL)
        return;
    ASSERT(!i->closing);
    i->closing = true;
    i->handler_count = 0;
    if (i->list != NULL)
        client_cancel(i->list);
    if (i->watch != NULL)
        client_watch_stop(i->watch);
    uv_close((uv_handle_t *)&i->timer, on_timer_closed);
    uv_close((uv_handle_t *)&i->cooling, on_timer_closed);
}

/* --- lookups ------------------------------------------------------------------------------ */

bool informer_has_synced(const struct informer *i)
{
    return i->synced;
}

const struct api_kind *informer_kind(const struct informer *i)
{
    return i->kind;
}

struct str informer_resource_version(const struct informer *i)
{
    return str_of(i->rv);
}

struct api_object *informer_get(const struct informer *i, struct str namespace_name,
                                struct str name)
{
    AUTO_ARENA *a = arena_new(256);
    return informer_cache_get(&i->cache, informer_key_of(a, namespace_name, name));
}

struct api_object *informer_get_key(const struct informer *i, struct str key)
{
    return informer_cache_get(&i->cache, key);
}

size_t informer_count(const struct informer *i)
{
    return i->cache.objects.count;
}

struct api_object *informer_next(const struct informer *i, size_t *pos)
{
    return informer_cache_next(&i->cache, pos);
}

bool informer_next_key(const struct informer *i, size_t *pos, struct str *ret_key)
{
    return map_next(&i->cache.objects, pos, ret_key, NULL);
}

struct api_object *const *informer_by_index(const struct informer *i, const char *index,
                                            struct str key, size_t *ret_count)
{
    return informer_cache_by_index(&i->cache, index, key, ret_count);
}

size_t informer_index_count(const struct informer *i, const char *index, struct str key)
{
    return informer_cache_index_count(&i->cache, index, key);
}

bool informer_index_next(const struct informer *i, const char *index, size_t *pos,
                         struct str *ret_key)
{
    return map_next(informer_cache_index(&i->cache, index), pos, ret_key, NULL);
}

struct informer_walk informer_walk_index(const struct informer *i, const char *index,
                                         struct str key)
{
    return informer_cache_walk(&i->cache, index, key);
}
