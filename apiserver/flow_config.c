/* flow_config.c - from FlowSchema and PriorityLevelConfiguration objects to what
 * requests are sorted by; see flow_control.h.
 *
 *   view -> specs of levels -> levels (kept by name, with their queues)
 *        -> schemas in order -> a new flow_config, seen by threads at their next request
 *
 * A level whose object is gone gets no new requests and goes when it is empty. */
#include "apiserver/encryption.h"
#include "apiserver/flow_control_internal.h"

#include "api/flowcontrol_v1.h"
#include "api/meta_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/bootstrap_objects.h"
#include "apiserver/encode.h"
#include "apiserver/flow_objects.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "raftstore/store.h"

#include <math.h>
#include <uv.h>

#define GROUP "flowcontrol.apiserver.k8s.io"
#define EXEMPT "exempt"
#define CATCH_ALL "catch-all"
#define SHARES_DEFAULT 30
#define SEATS_PART 0.15 /* Of a level's seats that one request may take. */

/* --- levels ---------------------------------------------------------------------------------- */
struct flow_level *flow_level_new(struct str name, uint64_t now_ns)
{
    struct flow_level *l = xzalloc(sizeof(*l));
    atomic_init(&l->refs, 1);
    l->name = xstrndup(name.data, name.len);
    l->exempt = l->share.exempt = str_eqc(name, EXEMPT);
    l->share.current = -1;
    l->share.borrowing_percent = -1;
    pthread_mutex_init(&l->lock, NULL);
    flow_set_init(&l->set, now_ns);
    flow_retry_init(&l->retry);
    map_init(&l->states);
    return l;
}

static struct flow_level *level_ref(struct flow_level *l)
{
    atomic_fetch_add(&l->refs, 1);
    return l;
}

void flow_level_unref(struct flow_level *l)
{
    if (l == NULL || atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    ASSERT(l->states.count == 0);
    flow_set_done(&l->set);
    map_done(&l->states);
    pthread_mutex_destroy(&l->lock);
    free(l->name);
    free(l);
}

static struct flow_schema_state *state_ref(struct flow_level *l, struct str name)
{
    pthread_mutex_lock(&l->lock);
    struct flow_schema_state *s = map_get(&l->states, name);
    if (s == NULL) {
        s = xzalloc(sizeof(*s));
        s->level = level_ref(l);
        s->name = xstrndup(name.data, name.len);
        map_set(&l->states, name, s);
    }
    s->refs++;
    pthread_mutex_unlock(&l->lock);
    return s;
}

bool flow_state_drop(struct flow_schema_state *s)
{
    if (--s->refs != 0)
        return false;
    map_remove(&s->level->states, str_of(s->name));
    flow_metrics_state(s);
    return true;
}

void flow_state_free(struct flow_schema_state *s)
{
    flow_level_unref(s->level);
    free(s->name);
    free(s);
}

/* --- configurations ----------------------------------------------------------------------------
 */
struct flow_config *flow_config_ref(struct flow_config *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void flow_config_unref(struct flow_config *c)
{
    if (c == NULL || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    for (size_t i = 0; i < c->schema_count; i++) {
        struct flow_schema_state *s = c->schemas[i].state;
        struct flow_level *l = s->level;
        pthread_mutex_lock(&l->lock);
        bool last = flow_state_drop(s);
        pthread_mutex_unlock(&l->lock);
        if (last)
            flow_state_free(s);
    }
    for (size_t i = 0; i < c->level_count; i++)
        flow_level_unref(c->levels[i]);
    arena_free(c->arena);
}

void flow_config_replace(struct flow_control *fc, struct flow_config *c)
{
    pthread_mutex_lock(&fc->lock);
    struct flow_config *old = fc->config;
    fc->config = c;
    atomic_fetch_add_explicit(&fc->version, 1, memory_order_release);
    pthread_mutex_unlock(&fc->lock);
    flow_config_unref(old);
}

/* --- one digestion -------------------------------------------------------------------------------
 */
struct level_spec {
    struct str name, uid;
    const struct flowcontrol_v1_priority_level_configuration_spec *spec;
    struct flow_level *level; /* Owned until it is the configuration's. */
};

struct meal {
    struct flow_control *control;
    struct arena *arena; /* The new configuration's. */
    struct level_spec *levels;
    size_t level_count, level_cap;
    const struct flowcontrol_v1_flow_schema **schemas;
    size_t schema_count, schema_cap;
};

/* The queues that a level's spec asks for; false: it is broken, or not what its name says. */
static bool set_config(struct str name,
                       const struct flowcontrol_v1_priority_level_configuration_spec *s,
                       struct flow_set_config *ret)
{
    bool exempt = str_eqc(s->type, "Exempt");
    if (exempt != str_eqc(name, EXEMPT) || (s->limited != NULL) == exempt)
        return false;
    if (exempt) {
        *ret = (struct flow_set_config){.queues = -1};
        return true;
    }
    const struct flowcontrol_v1_limit_response *r = &s->limited->limit_response;
    if (str_eqc(r->type, "Reject") != (r->queuing == NULL))
        return false;
    *ret = (struct flow_set_config){.queues = 0};
    if (r->queuing != NULL) {
        *ret = (struct flow_set_config){.queues = r->queuing->queues,
                                        .hand_size = r->queuing->hand_size,
                                        .queue_length_max = r->queuing->queue_length_limit};
        if (ret->queues <= 0)
            return false;
    }
    return flow_set_config_valid(ret);
}

static void set_shares(struct flow_share *to,
                       const struct flowcontrol_v1_priority_level_configuration_spec *s)
{
    to->borrowing_percent = -1;
    if (s->limited == NULL) {
        to->shares = s->exempt != NULL ? s->exempt->nominal_concurrency_shares : 0;
        to->lendable_percent = s->exempt != NULL ? s->exempt->lendable_percent : 0;
        return;
    }
    to->shares = s->limited->has_nominal_concurrency_shares ? s->limited->nominal_concurrency_shares
                                                            : SHARES_DEFAULT;
    to->lendable_percent = s->limited->lendable_percent;
    if (s->limited->has_borrowing_limit_percent)
        to->borrowing_percent = s->limited->borrowing_limit_percent;
}

static struct level_spec *find_spec(const struct meal *m, struct str name)
{
    for (size_t i = 0; i < m->level_count; i++)
        if (str_eq(m->levels[i].name, name))
            return &m->levels[i];
    return NULL;
}

static void add_level(struct meal *m, const void *obj)
{
    const struct flowcontrol_v1_priority_level_configuration *p = obj;
    struct flow_set_config c;
    if (!set_config(p->metadata.name, &p->spec, &c)) {
        log_warning("priority level " STR_FMT " is broken and left out", STR_ARG(p->metadata.name));
        return;
    }
    m->levels = arena_grow(m->arena, m->levels, m->level_count, &m->level_cap, sizeof(*m->levels));
    m->levels[m->level_count++] =
        (struct level_spec){.name = p->metadata.name, .uid = p->metadata.uid, .spec = &p->spec};
}

static void add_schema(struct meal *m, const void *obj)
{
    m->schemas = arena_grow(m->arena, (void *)m->schemas, m->schema_count, &m->schema_cap,
                            sizeof(*m->schemas));
    m->schemas[m->schema_count++] = obj;
}

static void each_object(struct meal *m, const struct store_view *v, const char *resource,
                        void (*add)(struct meal *m, const void *obj))
{
    const struct resource *r = registry_storage(STR(GROUP), str_of(resource));
    AUTO_BUF end = BUF_INIT;
    struct store_iter it;
    struct error err = {0};
    buf_append_str(&end, r->prefix);
    end.data[end.len - 1]++; /* '/' becomes '0'. */
    if (store_iter_init(&it, v, r->prefix, buf_str(&end), 0) != 0)
        return;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        void *msg;
        /* Strings may point into the value, so that it stays with the configuration. */
        if (stored_decode(m->arena, r, arena_str(m->arena, stored_value(kv)), 0, &msg, &err) == 0)
            add(m, msg);
        else
            log_error("flow control: " STR_FMT ": %s", STR_ARG(kv_key(kv)), error_message(&err));
    }
}

/* A built-in object as it is made for new clusters, without identity. */
static const void *built_in(struct meal *m, const char *resource, const char *name)
{
    struct apiserver *s = m->control->server;
    struct kind_ctx ctx = {.arena = m->arena, .server = s, .env = s->env, .subresource = ""};
    const struct resource *r = registry_storage(STR(GROUP), str_of(resource));
    struct builtin b;
    for (size_t i = 0; flow_builtin_make(&ctx, i, &b); i++)
        if (b.res == r && str_eqc(b.name, name)) {
            api_meta_of(r->storage, b.obj)->uid = STR_NULL;
            return b.obj;
        }
    PANIC("no built-in %s %s", resource, name);
}

static int by_precedence(const void *a, const void *b)
{
    const struct flowcontrol_v1_flow_schema *x =
        *(const struct flowcontrol_v1_flow_schema *const *)a;
    const struct flowcontrol_v1_flow_schema *y =
        *(const struct flowcontrol_v1_flow_schema *const *)b;
    if (x->spec.matching_precedence != y->spec.matching_precedence)
        return x->spec.matching_precedence < y->spec.matching_precedence ? -1 : 1;
    return str_cmp(x->metadata.name, y->metadata.name);
}

static bool has_schema(const struct meal *m, const char *name)
{
    for (size_t i = 0; i < m->schema_count; i++)
        if (str_eqc(m->schemas[i]->metadata.name, name) &&
            find_spec(m, m->schemas[i]->spec.priority_level_configuration.name) != NULL)
            return true;
    return false;
}

/* Whatever the store says, these are there. */
static void add_mandatory(struct meal *m)
{
    static const char *const names[] = {EXEMPT, CATCH_ALL};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (find_spec(m, str_of(names[i])) == NULL)
            add_level(m, built_in(m, "prioritylevelconfigurations", names[i]));
        if (!has_schema(m, names[i]))
            add_schema(m, built_in(m, "flowschemas", names[i]));
    }
}

/* --- levels of the new configuration
 * ---------------------------------------------------------------- */
static bool level_is_idle(struct flow_level *l)
{
    pthread_mutex_lock(&l->lock);
    bool idle = flow_set_is_idle(&l->set);
    pthread_mutex_unlock(&l->lock);
    return idle;
}

static struct flow_level *old_level(const struct flow_control *fc, struct str name)
{
    for (size_t i = 0; fc->config != NULL && i < fc->config->level_count; i++)
        if (str_eqc(name, fc->config->levels[i]->name))
            return fc->config->levels[i];
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct flow_level *const *)a)->name, (*(struct flow_level *const *)b)->name);
}

static void make_levels(struct meal *m, struct flow_config *c)
{
    struct flow_control *fc = m->control;
    size_t old_count = fc->config != NULL ? fc->config->level_count : 0;
    c->levels = ARENA_ARRAY(m->arena, struct flow_level *, m->level_count + old_count);
    for (size_t i = 0; i < m->level_count; i++) {
        struct level_spec *s = &m->levels[i];
        struct flow_level *l = old_level(fc, s->name);
        s->level = l != NULL ? level_ref(l) : flow_level_new(s->name, uv_hrtime());
        s->level->quiescing = false;
        set_config(s->name, s->spec, &s->level->config);
        set_shares(&s->level->share, s->spec);
        c->levels[c->level_count++] = s->level;
    }
    for (size_t i = 0; i < old_count; i++) {
        struct flow_level *l = fc->config->levels[i];
        if (find_spec(m, str_of(l->name)) != NULL || level_is_idle(l))
            continue;
        l->quiescing = true;
        c->levels[c->level_count++] = level_ref(l);
    }
    qsort((void *)c->levels, c->level_count, sizeof(struct flow_level *), by_name);
}

static void make_schemas(struct meal *m, struct flow_config *c)
{
    qsort((void *)m->schemas, m->schema_count, sizeof(*m->schemas), by_precedence);
    c->schemas = ARENA_ARRAY(m->arena, struct flow_schema, m->schema_count);
    for (size_t i = 0; i < m->schema_count; i++) {
        const struct flowcontrol_v1_flow_schema *f = m->schemas[i];
        const struct level_spec *l = find_spec(m, f->spec.priority_level_configuration.name);
        if (l == NULL)
            continue; /* It dangles. */
        struct str name = f->metadata.name;
        struct flow_schema *s = &c->schemas[c->schema_count++];
        *s = (struct flow_schema){.name = name,
                                  .uid = f->metadata.uid,
                                  .level_uid = l->uid,
                                  .spec = &f->spec,
                                  .level = l->level,
                                  .state = state_ref(l->level, name),
                                  .hash = base_siphash(m->control->seed, name.data, name.len)};
        if (str_eqc(name, CATCH_ALL))
            c->fallback = s;
    }
    ASSERT(c->fallback != NULL);
}

/* --- seats
 * --------------------------------------------------------------------------------------------- */
static uint32_t seats_max(const struct flow_level *l)
{
    if (l->config.queues <= 0)
        return 0;
    double part = fmin(ceil((double)l->share.nominal * SEATS_PART),
                       (double)(l->share.nominal / l->config.hand_size));
    return (uint32_t)fmax(part, 1);
}

/* Shares out the seats among the levels of a configuration and tells their sets. */
static void share_out(struct flow_control *fc, struct flow_config *c)
{
    struct flow_share **all = xmalloc(c->level_count * sizeof(struct flow_share *));
    for (size_t i = 0; i < c->level_count; i++) {
        struct flow_level *l = c->levels[i];
        all[i] = &l->share;
        pthread_mutex_lock(&l->lock);
        flow_set_sync(&l->set, uv_hrtime());
        struct flow_demand_result seen = flow_demand_reset(&l->set.demand);
        pthread_mutex_unlock(&l->lock);
        flow_share_note(&l->share, &seen);
    }
    fc->nominal_sum = flow_share_nominal(all, c->level_count, fc->total_seats);
    double fraction = flow_share_adjust(all, c->level_count, fc->nominal_sum);
    atomic_store(&fc->fair_fraction, fraction);
    free((void *)all);
    for (size_t i = 0; i < c->level_count; i++) {
        struct flow_level *l = c->levels[i];
        struct list out;
        list_init(&out);
        int32_t base = l->share.current > 0 ? l->share.current : MAX_OF(fc->total_seats / 10, 1);
        pthread_mutex_lock(&l->lock);
        flow_set_configure(&l->set, &l->config, l->share.current, base, uv_hrtime(), &out);
        pthread_mutex_unlock(&l->lock);
        flow_hand_out(&out);
        atomic_store(&l->seats_max, seats_max(l));
        flow_metrics_adjusted(l);
    }
}

static void note_limits(struct flow_control *fc, const struct flow_config *c)
{
    double waiting = 0, executing = 0;
    for (size_t i = 0; i < c->level_count; i++) {
        const struct flow_set_config *q = &c->levels[i]->config;
        if (q->queues > 0)
            waiting += (double)q->queues * q->queue_length_max;
        executing += c->levels[i]->share.nominal;
    }
    flow_mix_limits(&fc->mix, fmax(waiting, 1), fmax(executing, 1));
}

static void digest(struct flow_control *fc, const struct store_view *v)
{
    struct arena *a = arena_new(0);
    struct meal m = {.control = fc, .arena = a};
    struct flow_config *c = ARENA_NEW(a, struct flow_config);
    atomic_init(&c->refs, 1);
    c->arena = a;
    if (v != NULL) {
        each_object(&m, v, "prioritylevelconfigurations", add_level);
        each_object(&m, v, "flowschemas", add_schema);
    }
    add_mandatory(&m);
    make_levels(&m, c);
    make_schemas(&m, c);
    share_out(fc, c);
    note_limits(fc, c);
    flow_config_replace(fc, c);
}

void flow_control_load(struct flow_control *fc, const struct store_view *v)
{
    digest(fc, v);
}

bool flow_control_adjust(struct flow_control *fc)
{
    bool again = false;
    share_out(fc, fc->config);
    for (size_t i = 0; i < fc->config->level_count; i++)
        again |= fc->config->levels[i]->quiescing && level_is_idle(fc->config->levels[i]);
    return again;
}

/* --- life
 * ---------------------------------------------------------------------------------------------- */
struct flow_control *flow_control_new(struct apiserver *s)
{
    struct flow_control *fc = xzalloc(sizeof(*fc));
    fc->server = s;
    fc->total_seats =
        (int32_t)MIN_OF(s->config.max_inflight + s->config.max_mutating_inflight, INT32_MAX / 4);
    s->env->random(s->env, fc->seed, sizeof(fc->seed));
    pthread_mutex_init(&fc->lock, NULL);
    flow_watches_init(&fc->watches);
    flow_metrics_init(fc);
    digest(fc, NULL);
    return fc;
}

void flow_control_free(struct flow_control *fc)
{
    if (fc == NULL)
        return;
    flow_config_unref(fc->config);
    flow_watches_done(&fc->watches);
    pthread_mutex_destroy(&fc->lock);
    pthread_mutex_destroy(&fc->mix.lock);
    free(fc);
}
