/* conversion.c - see conversion.h. */
#include "apiserver/custom/conversion.h"

#include "api/apiextensions_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom/conversion_metrics.h"
#include "apiserver/custom/definition.h"
#include "apiserver/custom/review.h"
#include "apiserver/json_cache.h"
#include "apiserver/kind.h"
#include "apiserver/status.h"
#include "apiserver/webhook_target.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/net/bytes.h"
#include "lib/net/pki.h"
#include "raftstore/store.h"

#define KEY_BYTES 40u /* Digest of the object and where it goes. */

/* One object that is to be in another version. */
struct question {
    struct conversion_state *state;
    struct question *next; /* Of those not asked yet, then of one call. */
    struct list waiting;   /* In another's waiters. */
    struct list waiters;   /* Of other states, who want to know the same. */
    char key[KEY_BYTES];
    const struct custom_version *from, *to;
    struct str sent;
    const struct meta_v1_object_meta *metadata;
    struct str answer; /* JSON; empty: none yet. */
};

struct conversion_call {
    struct conversion_state *state;
    struct question *questions;
    size_t count;
    struct review review;
    struct review_item *items;
    struct webhook_target target;
    struct str url, problem;
    struct webhook_answer answer;
    uint64_t start_ns;
};

struct conversion_state {
    struct server_thread *thread;
    struct arena *arena;  /* Holds everything, this struct too. */
    struct map questions; /* By key. */
    struct question *open;
    size_t calls;   /* Under way. */
    size_t running; /* The same and answers of others' calls. */
    unsigned rounds;
    bool dropped;
    struct str failure;
    void (*resume)(void *arg);
    void *arg;
};

static _Thread_local struct conversions *current;

/* --- where code runs ------------------------------------------------------------------ */
void conversions_enter(struct conversions *c)
{
    ASSERT(current == NULL);
    current = c;
}

void conversions_leave(void)
{
    current = NULL;
}

bool conversions_pending(void)
{
    return current != NULL && current->state != NULL && current->state->open != NULL;
}

static bool by_webhook(const struct custom_definition *d)
{
    return d->object->spec.conversion != NULL &&
           str_eqc(d->object->spec.conversion->strategy, "Webhook") &&
           d->object->spec.conversion->webhook != NULL &&
           d->object->spec.conversion->webhook->client_config != NULL;
}

bool conversions_needed(const struct resource *r)
{
    return r->custom != NULL && r->custom->definition->count > 1 &&
           by_webhook(r->custom->definition);
}

/* --- states ------------------------------------------------------------------------------ */
static struct conversion_state *state_new(struct server_thread *t)
{
    struct arena *a = arena_new(0);
    struct conversion_state *s = ARENA_NEW(a, struct conversion_state);
    s->arena = a;
    s->thread = t;
    map_init(&s->questions);
    return s;
}

static void state_free(struct conversion_state *s)
{
    map_done(&s->questions);
    arena_free(s->arena);
}

void conversions_drop(struct conversions *c)
{
    struct conversion_state *s = c->state;
    c->state = NULL;
    if (s == NULL)
        return;
    s->dropped = true;
    if (s->running == 0)
        state_free(s);
}

struct meta_v1_status *conversions_failure(const struct conversions *c, struct arena *a)
{
    if (c->state == NULL || c->state->failure.len == 0)
        return NULL;
    return status_plain(a, STR_FMT, STR_ARG(c->state->failure));
}

static void fail(struct conversion_state *s, struct str why)
{
    if (s->failure.len == 0)
        s->failure = arena_str(s->arena, why);
}

/* --- converting --------------------------------------------------------------------------- */
static void prune(struct arena *a, struct api_custom *x)
{
    const struct custom_type *t = custom_type_of(x->msg);
    if (t->schema != NULL)
        structural_prune(a, t->schema, x->content, true, NULL);
}

/* Labels and annotations are the webhook's, everything else of the metadata is not. */
static void take_metadata(struct arena *a, const struct json *meta, struct meta_v1_object_meta *m)
{
    static const char *const names[] = {"labels", "annotations"};
    struct json *own = json_object(a);
    struct meta_v1_object_meta given = {0};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct json *v = json_getc(meta, names[i]);
        if (v != NULL)
            json_setc(a, own, names[i], v);
    }
    if (api_json_decode_tree(a, &meta_v1_object_meta_msg, own, API_LENIENT, NULL, &given, NULL) !=
        0)
        return; /* It was checked when it came. */
    m->labels = given.labels;
    m->labels_count = given.labels_count;
    m->annotations = given.annotations;
    m->annotations_count = given.annotations_count;
}

static void *take_answer(struct arena *a, const struct api_custom *x, const struct api_msg *to,
                         struct str answer)
{
    static const char *const own[] = {"apiVersion", "kind", "metadata"};
    struct json *j;
    if (json_parse(a, answer, &j, NULL) != 0)
        return NULL;
    struct api_custom *out = api_msg_new(a, to);
    out->metadata = x->metadata;
    take_metadata(a, json_getc(j, "metadata"), &out->metadata);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        (void)json_remove(j, str_of(own[i]));
    out->content = j;
    out->msg = to;
    prune(a, out);
    return out;
}

static void key_of(struct str sent, const struct custom_version *to, char ret[KEY_BYTES])
{
    uint8_t sum[32];
    net_sha256(sent.data, sent.len, sum);
    memcpy(ret, sum, sizeof(sum));
    memcpy(ret + sizeof(sum), &to, sizeof(to));
    static_assert(KEY_BYTES == sizeof(sum) + sizeof(to), "all of the key is set");
}

/* As it goes to the webhook; its version in the store is nothing that converts. */
static struct str text_of(struct arena *a, const struct api_custom *x,
                          const struct custom_version *from)
{
    struct api_custom copy = *x;
    AUTO_BUF b = BUF_INIT;
    copy.metadata.resource_version = STR_NULL;
    api_json_encode(x->msg, &copy, str_of(from->kind.api_version), str_of(from->kind.kind), &b);
    return arena_str(a, buf_str(&b));
}

static struct json_form form_of(const struct custom_version *to)
{
    return (struct json_form){
        .kind = &to->kind, .since_rev = to->definition->since_rev, .use = JSON_CONVERTED};
}

static bool find_cached(struct arena *a, const struct server_thread *t,
                        const struct custom_version *to, const char key[KEY_BYTES], struct str *ret)
{
    AUTO_BUF b = BUF_INIT;
    const struct json_form form = form_of(to);
    if (t->server->json_cache == NULL ||
        !json_cache_get_text(t->server->json_cache, &form, str_n(key, KEY_BYTES), &b))
        return false;
    *ret = arena_str(a, buf_str(&b));
    return true;
}

static void add_question(struct conversion_state *s, struct str sent, const char key[KEY_BYTES],
                         const struct custom_version *from, const struct custom_version *to,
                         const struct api_custom *x)
{
    struct question *q = ARENA_NEW(s->arena, struct question);
    const struct str name = str_n(key, KEY_BYTES);
    if (map_has(&s->questions, name))
        return;
    memcpy(q->key, key, KEY_BYTES);
    q->state = s;
    q->from = from;
    q->to = to;
    q->sent = arena_str(s->arena, sent);
    q->metadata = api_msg_clone(s->arena, &meta_v1_object_meta_msg, &x->metadata);
    list_init(&q->waiting);
    list_init(&q->waiters);
    arena_hold(s->arena, custom_definition_ref(to->definition), custom_definition_unref);
    map_set(&s->questions, name, q);
    q->next = s->open;
    s->open = q;
}

static void *ask_later(struct arena *a, struct api_custom *x, const struct custom_version *from,
                       const struct custom_version *to)
{
    char key[KEY_BYTES];
    struct str sent = text_of(a, x, from), answer;
    if (current == NULL) {
        log_error("%s is converted where no webhook can be asked", from->kind.kind);
        return NULL;
    }
    key_of(sent, to, key);
    struct conversion_state *s = current->state;
    const struct question *q = s != NULL ? map_get(&s->questions, str_n(key, KEY_BYTES)) : NULL;
    if (q != NULL && q->answer.len != 0)
        return take_answer(a, x, &to->type.msg, q->answer);
    if (find_cached(a, current->thread, to, key, &answer))
        return take_answer(a, x, &to->type.msg, answer);
    if (s == NULL)
        s = current->state = state_new(current->thread);
    if (s->failure.len == 0)
        add_question(s, sent, key, from, to, x);
    return NULL;
}

void *custom_convert(struct arena *a, void *obj, const struct api_msg *to)
{
    struct api_custom *x = obj;
    if (x->msg == to)
        return x;
    const struct custom_version *from = custom_version_of_msg(x->msg),
                                *target = custom_version_of_msg(to);
    if (by_webhook(target->definition)) {
        void *converted = ask_later(a, x, from, target);
        if (converted != NULL)
            return converted;
    }
    x->msg = to;
    prune(a, x);
    return x;
}

/* --- answers ------------------------------------------------------------------------------- */
static struct map *asked(struct conversion_state *s)
{
    return &s->thread->conversions;
}

static void one_less(struct conversion_state *s)
{
    if (--s->running != 0)
        return;
    if (s->dropped)
        state_free(s);
    else
        s->resume(s->arg);
}

/* The answer, or why there is none, goes to everybody who asked. */
static void settle(struct question *q, struct str answer, struct str failure)
{
    struct str key = str_n(q->key, KEY_BYTES);
    if (map_get(asked(q->state), key) == q)
        map_remove(asked(q->state), key);
    q->answer = answer;
    if (failure.len != 0)
        fail(q->state, failure);
    while (!list_empty(&q->waiters)) {
        struct question *w = LIST_ENTRY(q->waiters.next, struct question, waiting);
        struct conversion_state *s = w->state;
        list_remove(&w->waiting);
        w->answer = answer.len != 0 ? arena_str(s->arena, answer) : answer;
        if (failure.len != 0)
            fail(s, failure);
        one_less(s);
    }
}

static void take_converted(struct conversion_call *c)
{
    struct conversion_state *s = c->state;
    size_t i = 0;
    for (struct question *q = c->questions, *next; q != NULL; q = next, i++) {
        AUTO_BUF b = BUF_INIT;
        next = q->next;
        json_write(c->items[i].converted, false, &b);
        struct str answer = arena_str(s->arena, buf_str(&b));
        const struct json_form form = form_of(q->to);
        if (s->thread->server->json_cache != NULL)
            json_cache_put_text(s->thread->server->json_cache, &form, str_n(q->key, KEY_BYTES),
                                answer);
        settle(q, answer, STR_NULL);
    }
}

static void start_calls(struct conversion_state *s);

static void on_answer(void *arg)
{
    struct conversion_call *c = arg;
    struct conversion_state *s = c->state;
    enum review_fault fault = REVIEW_CALL;
    struct str why = webhook_call_problem(s->arena, &c->answer, c->url, c->problem);
    bool good = why.len == 0;
    if (!good)
        why = arena_printf(s->arena, "conversion webhook for " STR_FMT " failed: " STR_FMT,
                           STR_ARG(c->review.from), STR_ARG(why));
    else
        good = review_read(s->arena, &c->review, c->answer.body, c->items, c->count, &why, &fault);
    conversion_metrics_call(c->questions->from, c->questions->to, c->start_ns, good, fault);
    if (good) {
        take_converted(c);
    } else {
        log_warning(STR_FMT, STR_ARG(why));
        for (struct question *q = c->questions, *next; q != NULL; q = next) {
            next = q->next;
            settle(q, STR_NULL, why);
        }
    }
    s->calls--;
    start_calls(s);
    one_less(s);
}

/* --- questions ------------------------------------------------------------------------------ */
/* Takes questions of one kind off the open ones, as many as one review holds. */
static struct conversion_call *take_call(struct conversion_state *s)
{
    struct conversion_call *c = ARENA_NEW(s->arena, struct conversion_call);
    struct question **from = &s->open, **end = &c->questions;
    const struct question *first = s->open;
    size_t bytes = 0;
    while (*from != NULL && c->count < CONVERSION_OBJECTS_MAX) {
        struct question *q = *from;
        bool fits = c->count == 0 || bytes + q->sent.len <= CONVERSION_BYTES_MAX;
        if (q->to != first->to || q->from != first->from || !fits) {
            from = &q->next;
            continue;
        }
        *from = q->next;
        q->next = NULL;
        *end = q;
        end = &q->next;
        bytes += q->sent.len;
        c->count++;
    }
    c->state = s;
    return c;
}

static void write_call(struct conversion_call *c, struct buf *out)
{
    struct conversion_state *s = c->state;
    struct arena *a = s->arena;
    const struct question *first = c->questions;
    const struct api_kind *k = &first->from->kind;
    const struct apiextensions_v1_webhook_conversion *w =
        first->to->definition->object->spec.conversion->webhook;
    char uid[37];
    env_uuid(s->thread->server->env, uid);
    c->review = (struct review){.version = review_version(w->conversion_review_versions,
                                                          w->conversion_review_versions_count),
                                .uid = arena_strc(a, uid),
                                .from = arena_printf(a, "%s, Kind=%s", k->api_version, k->kind),
                                .kind = str_of(k->kind),
                                .desired = str_of(first->to->kind.api_version)};
    c->items = ARENA_ARRAY(a, struct review_item, c->count);
    size_t n = 0;
    for (const struct question *q = first; q != NULL; q = q->next)
        c->items[n++] = (struct review_item){.sent = q->sent, .metadata = q->metadata};
    review_write(&c->review, c->items, c->count, out);
}

static void find_target(struct conversion_call *c)
{
    struct conversion_state *s = c->state;
    struct apiserver *server = s->thread->server;
    struct store_view *view = store_view(server->store);
    const struct kind_ctx ctx = {
        .arena = s->arena, .view = view, .server = server, .env = server->env};
    const struct apiextensions_v1_webhook_client_config *config =
        c->questions->to->definition->object->spec.conversion->webhook->client_config;
    struct webhook_address address = WEBHOOK_ADDRESS(config, CONVERSION_TIMEOUT_MS);
    if (str_trim(address.ca_bundle).len == 0)
        address.ca_bundle = STR_NULL;
    webhook_target_find(&ctx, &address, &c->target, &c->url, &c->problem);
    store_view_unref(view);
}

static void start_call(struct conversion_call *c)
{
    struct conversion_state *s = c->state;
    struct buf body = BUF_INIT;
    c->start_ns = uv_hrtime();
    write_call(c, &body);
    find_target(c);
    s->calls++;
    s->running++;
    for (struct question *q = c->questions; q != NULL; q = q->next)
        map_set(asked(s), str_n(q->key, KEY_BYTES), q);
    /* What cannot be reached is answered from the loop like everything else. */
    webhook_post(s->thread->webhooks, s->arena, &c->target, net_bytes_steal(&body),
                 CONVERSION_TIMEOUT_MS, &c->answer, on_answer, c);
}

static void start_calls(struct conversion_state *s)
{
    while (s->open != NULL && s->calls < CONVERSION_CALLS_MAX && s->failure.len == 0 && !s->dropped)
        start_call(take_call(s));
}

/* Waits for those that somebody else asks about already. */
static void join_others(struct conversion_state *s)
{
    for (struct question **at = &s->open; *at != NULL;) {
        struct question *q = *at, *other = map_get(asked(s), str_n(q->key, KEY_BYTES));
        if (other == NULL) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        q->next = NULL;
        list_push_back(&other->waiters, &q->waiting);
        s->running++;
    }
}

bool conversions_ask(struct conversions *c, void (*resume)(void *arg), void *arg)
{
    struct conversion_state *s = c->state;
    if (s == NULL || s->open == NULL || s->failure.len != 0)
        return false;
    if (++s->rounds > CONVERSION_ROUNDS_MAX) {
        fail(s, STR("conversion webhooks were asked too often for one request"));
        return false;
    }
    s->resume = resume;
    s->arg = arg;
    join_others(s);
    start_calls(s);
    return true;
}
