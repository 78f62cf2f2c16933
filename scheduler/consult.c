/* consult.c - decisions in which extenders have a say.
 *
 *   filters -> each extender's filter, one after the other -> all their scores at once
 *      -> filters again (the cluster went on meanwhile), what passed both, scores of both -> node
 *      -> none: preemption (consult_preempt.c)
 *
 * Nothing waits while an extender thinks: other pods are decided, and what it said counts only for
 * nodes that fit still. A pod that is deleted meanwhile is dropped when the answer comes. */
#include "scheduler/consult_internal.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "scheduler/extender_wire.h"
#include "scheduler/sched_metrics.h"

#define CONSULTS_MAX 16 /* At once; the others wait for their turn. */
/* Upstream counts an extender's score tenfold: 10 of its points are 100 of a plugin. */
#define SCORE_FACTOR (SCORE_MAX / EXTENDER_SCORE_MAX)

struct scoring {
    struct list link; /* In consult.scorings. */
    struct consult *consult;
    const struct extender_config *extender;
    struct extender_call *call;
};

/* What refuses a node in an extender's name. It may change its mind for any reason. */
static const struct plugin extender_plugin = {
    .name = "Extender", .scope = SCOPE_OUTSIDE, .wakes = EVENT_ALL};

static void ask_next_filter(struct consult *x);

/* --- life ----------------------------------------------------------------------------------------
 */

static void begin(struct consult *x);

static struct consult *first_waiting(const struct scheduler *s)
{
    LIST_FOREACH (it, &s->consults) {
        struct consult *x = LIST_ENTRY(it, struct consult, link);
        if (!x->under_way)
            return x;
    }
    return NULL;
}

/* One that begins may end at once, which comes here again: only the outermost call goes on. */
static void begin_waiting(struct scheduler *s)
{
    struct consult *x;
    if (s->beginning_consults)
        return;
    s->beginning_consults = true;
    while (s->consult_count < CONSULTS_MAX && (x = first_waiting(s)) != NULL)
        begin(x);
    s->beginning_consults = false;
}

static void consult_free(struct consult *x)
{
    list_remove(&x->link);
    x->scheduler->consult_count -= x->under_way;
    if (x->call != NULL)
        extender_cancel(x->call);
    for (struct list *n; (n = list_pop_front(&x->scorings)) != NULL;) {
        struct scoring *g = LIST_ENTRY(n, struct scoring, link);
        extender_cancel(g->call);
        free(g);
    }
    map_done(&x->asked);
    map_done(&x->scores);
    arena_free(x->arena);
    free(x);
}

/* The pod has left its cycle. */
void consult_end(struct consult *x)
{
    struct scheduler *s = x->scheduler;
    consult_free(x);
    begin_waiting(s);
    scheduler_wake(s);
}

void consults_cancel(struct scheduler *s)
{
    LIST_FOREACH_SAFE (it, &s->consults)
        consult_free(LIST_ENTRY(it, struct consult, link));
}

/* The pod went while we asked. */
bool consult_is_over(struct consult *x)
{
    if (!x->pod->deleted)
        return false;
    sched_queue_placed(&x->scheduler->queue, x->pod);
    consult_end(x);
    return true;
}

void consult_fail(struct consult *x, const char *why)
{
    struct scheduler *s = x->scheduler;
    struct queued_pod *p = x->pod;
    struct event_object about = event_object_of(p->object);
    log_info("extender, for " STR_FMT "/" STR_FMT ": %s",
             STR_ARG(consult_pod(x)->metadata.namespace), STR_ARG(consult_pod(x)->metadata.name),
             why);
    event_record_action(s->recorder, &about, EVENT_WARNING, "FailedScheduling", "Scheduling", "%s",
                        why);
    action_set_unschedulable(s, p, STR("SchedulerError"), str_of(why));
    sched_metrics_attempt(consult_pod(x)->spec.scheduler_name, "error",
                          (double)(uv_hrtime() - p->attempt_ns) / 1e9);
    sched_queue_retry(&s->queue, p, env_now_ms(s->env));
    consult_end(x);
}

/* --- looking at the nodes ------------------------------------------------------------------------
 */

void consult_look_begin(struct consult *x, struct look *l, bool all)
{
    struct scheduler *s = x->scheduler;
    l->info = pod_info_new(x->pod->object);
    const struct profile *profile =
        sched_config_profile(s->config, consult_pod(x)->spec.scheduler_name);
    l->cycle = (struct cycle){.arena = s->arena,
                              .snapshot = &s->snapshot,
                              .pod = l->info,
                              .facts = &s->facts,
                              .profile = profile != NULL ? profile : profile_default(),
                              .seed = env_random_below(s->env, UINT64_MAX)};
    if (!all) {
        l->cycle.enough = profile_enough(l->cycle.profile, s->snapshot.node_count);
        if (l->cycle.enough != 0)
            l->cycle.first = (size_t)env_random_below(s->env, s->snapshot.node_count);
    }
    cycle_filter(&l->cycle);
}

void consult_look_end(struct consult *x, struct look *l)
{
    pod_info_free(l->info);
    arena_clear(x->scheduler->arena);
}

static void take_over(struct consult *x, const struct cycle *c)
{
    struct str nominated = str_of(x->pod->nominated_node);
    x->passed = ARENA_ARRAY(x->arena, struct str, c->fit_count + 1);
    x->passed_count = 0;
    for (size_t i = 0; i < c->fit_count; i++) {
        if (x->nominated_only && !str_eqc(nominated, c->fitting[i]->name))
            continue;
        struct str name = arena_strc(x->arena, c->fitting[i]->name);
        x->passed[x->passed_count++] = name;
        map_set(&x->asked, name, x);
    }
}

/* Once more for all nodes, when the nominated one alone came first and was turned down. */
static void ask_about_all(struct consult *x)
{
    struct look l;
    x->pos = 0;
    consult_look_begin(x, &l, false);
    take_over(x, &l.cycle);
    if (x->passed_count == 0 && x->nominated_only) {
        x->nominated_only = false;
        take_over(x, &l.cycle);
    }
    consult_look_end(x, &l);
    if (x->passed_count != 0)
        ask_next_filter(x);
    else
        consult_decide(x);
}

static void begin(struct consult *x)
{
    x->under_way = true;
    x->scheduler->consult_count++;
    if (!consult_is_over(x))
        ask_about_all(x);
}

void consult_start(struct scheduler *s, struct queued_pod *p)
{
    struct consult *x = xzalloc(sizeof(*x));
    x->scheduler = s;
    x->pod = p;
    x->arena = arena_new(0);
    x->nominated_only = p->nominated_node != NULL;
    map_init(&x->asked);
    map_init(&x->scores);
    list_init(&x->scorings);
    list_push_back(&s->consults, &x->link);
    p->attempt_ns = uv_hrtime();
    begin_waiting(s);
}

/* --- filters ------------------------------------------------------------------------------------
 */

static size_t find_nodes(const struct consult *x, struct node_info **ret)
{
    size_t count = 0;
    for (size_t i = 0; i < x->passed_count; i++) {
        struct node_info *n = snapshot_node(&x->scheduler->snapshot, x->passed[i]);
        if (n != NULL)
            ret[count++] = n;
    }
    return count;
}

static struct extender_call *send_args(struct consult *x, const struct extender_config *e,
                                       const char *verb,
                                       void (*done)(const struct error *, struct str, void *),
                                       void *arg)
{
    AUTO_BUF body = BUF_INIT;
    struct node_info **nodes =
        ARENA_ARRAY(x->scheduler->arena, struct node_info *, x->passed_count + 1);
    size_t count = find_nodes(x, nodes);
    extender_write_args(consult_pod(x), nodes, count, e->node_cache_capable, &body);
    arena_clear(x->scheduler->arena);
    return extender_post(x->scheduler->extenders, e, verb, buf_str(&body), done, arg);
}

static bool was_asked(const struct consult *x, struct str node)
{
    return map_has(&x->asked, node);
}

/* 0, or E_INVALID: it named a node that it was not asked about. */
static int take_filtered(struct consult *x, const struct extender_filtered *f, struct error *err)
{
    for (size_t i = 0; i < f->name_count; i++)
        if (!was_asked(x, f->names[i]))
            return error_set(err, E_INVALID,
                             "extender \"%s\" claims a filtered node \"" STR_FMT
                             "\" which is not found in the input node list",
                             x->current->url, STR_ARG(f->names[i]));
    x->passed = ARENA_ARRAY(x->arena, struct str, f->name_count + 1);
    x->passed_count = f->name_count;
    for (size_t i = 0; i < f->name_count; i++)
        x->passed[i] = f->names[i];
    for (size_t i = 0; i < f->failed_count; i++) {
        x->failed =
            arena_grow(x->arena, x->failed, x->failed_count, &x->failed_cap, sizeof(*x->failed));
        x->failed[x->failed_count++] = f->failed[i];
    }
    return 0;
}

static void on_filtered(const struct error *err, struct str body, void *arg)
{
    struct consult *x = arg;
    struct error own = {0};
    struct extender_filtered f;
    x->call = NULL;
    if (consult_is_over(x))
        return;
    if (err == NULL) {
        struct str kept = arena_str(x->arena, body);
        int rc = extender_read_filtered(x->arena, kept, x->current->node_cache_capable, &f, &own);
        if (rc == 0)
            rc = take_filtered(x, &f, &own);
        if (rc != 0)
            err = &own;
    }
    if (err != NULL && !x->current->ignorable) {
        consult_fail(x, error_message(err));
        return;
    }
    if (err != NULL)
        log_warning("extender %s is ignored: %s", x->current->url, error_message(err));
    ask_next_filter(x);
}

static void ask_scores(struct consult *x);

static void ask_next_filter(struct consult *x)
{
    while (x->passed_count != 0) {
        x->current = extenders_next(x->scheduler->extenders, consult_pod(x), &x->pos);
        if (x->current == NULL) {
            ask_scores(x);
            return;
        }
        if (x->current->filter == NULL)
            continue;
        x->call = send_args(x, x->current, x->current->filter, on_filtered, x);
        return;
    }
    if (x->nominated_only) {
        x->nominated_only = false;
        x->failed_count = 0;
        ask_about_all(x);
    } else {
        consult_decide(x);
    }
}

/* --- scores -------------------------------------------------------------------------------------
 */

static void take_scores(struct consult *x, const struct extender_config *e,
                        const struct extender_score *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        intptr_t sum = (intptr_t)map_get(&x->scores, list[i].node);
        map_set(&x->scores, list[i].node, (void *)(sum + (intptr_t)(list[i].score * e->weight)));
    }
}

static void on_scored(const struct error *err, struct str body, void *arg)
{
    struct scoring *g = arg;
    struct consult *x = g->consult;
    const struct extender_score *list;
    struct error own = {0};
    size_t count = 0;
    const struct extender_config *e = g->extender;
    list_remove(&g->link);
    free(g);
    if (err == NULL &&
        extender_read_scores(x->arena, arena_str(x->arena, body), &list, &count, &own) != 0)
        err = &own;
    if (err != NULL) /* It has no say then, as upstream has it. */
        log_warning("extender %s does not score: %s", e->url, error_message(err));
    else
        take_scores(x, e, list, count);
    if (list_empty(&x->scorings))
        consult_decide(x);
}

static void ask_scores(struct consult *x)
{
    size_t pos = 0;
    for (const struct extender_config *e;
         x->passed_count > 1 &&
         (e = extenders_next(x->scheduler->extenders, consult_pod(x), &pos)) != NULL;) {
        if (e->prioritize == NULL)
            continue;
        struct scoring *g = xzalloc(sizeof(*g));
        g->consult = x;
        g->extender = e;
        list_push_back(&x->scorings, &g->link);
        g->call = send_args(x, e, e->prioritize, on_scored, g);
    }
    if (list_empty(&x->scorings))
        consult_decide(x);
}

/* --- the decision --------------------------------------------------------------------------------
 */

static const struct extender_failed *find_failed(const struct consult *x, const char *node)
{
    for (size_t i = 0; i < x->failed_count; i++)
        if (str_eqc(x->failed[i].node, node))
            return &x->failed[i];
    return NULL;
}

void consult_mark(struct cycle *c, uint32_t *marks, size_t node, const struct refusal *r)
{
    c->refusals.nodes[marks[node]]--;
    marks[node] = refusals_index(&c->refusals, c->arena, r);
    c->refusals.nodes[marks[node]]++;
}

/* Leaves the nodes that the extenders passed; returns how many fit that they were not asked about.
 */
size_t consult_keep_passed(const struct consult *x, struct cycle *c)
{
    struct map passed;
    size_t kept = 0, strangers = 0;
    uint32_t *marks = ARENA_ARRAY(c->arena, uint32_t, c->snapshot->node_count + 1);
    memcpy(marks, c->node_refusals, c->snapshot->node_count * sizeof(*marks));
    map_init(&passed);
    for (size_t i = 0; i < x->passed_count; i++)
        map_set(&passed, x->passed[i], c);
    for (size_t i = 0; i < c->fit_count; i++) {
        struct node_info *n = c->fitting[i];
        const struct extender_failed *f = find_failed(x, n->name);
        struct refusal r = {.verdict = f != NULL && f->unresolvable ? UNRESOLVABLE : UNFIT,
                            .plugin = &extender_plugin};
        if (map_has(&passed, str_of(n->name))) {
            c->fitting[kept++] = n;
            continue;
        }
        strangers += !was_asked(x, str_of(n->name));
        if (f != NULL && f->reason.len != 0)
            refusal_add(&r, f->reason);
        consult_mark(c, marks, n->index, &r);
    }
    map_done(&passed);
    c->fit_count = kept;
    c->node_refusals = marks;
    cycle_collect_wakes(c);
    return strangers;
}

static struct node_info *best(const struct consult *x, struct cycle *c)
{
    if (c->fit_count == 1)
        return c->fitting[0];
    int64_t *totals = ARENA_ARRAY(c->arena, int64_t, c->fit_count);
    cycle_score(c, SCOPES_ALL, totals);
    for (size_t i = 0; i < c->fit_count; i++)
        totals[i] +=
            (int64_t)(intptr_t)map_get(&x->scores, str_of(c->fitting[i]->name)) * SCORE_FACTOR;
    return c->fitting[cycle_best(c, totals, c->fit_count)];
}

void consult_decide(struct consult *x)
{
    struct scheduler *s = x->scheduler;
    struct look l;
    if (consult_is_over(x))
        return;
    consult_look_begin(x, &l, true);
    size_t strangers = l.cycle.pod_refusal.verdict == FIT ? consult_keep_passed(x, &l.cycle) : 0;
    if (l.cycle.pod_refusal.verdict != FIT || (l.cycle.fit_count == 0 && strangers == 0)) {
        consult_refuse(x, &l);
        return;
    }
    if (l.cycle.fit_count == 0) /* Room came where nobody was asked: soon again. */
        sched_queue_retry(&s->queue, x->pod, env_now_ms(s->env));
    else
        scheduler_assume(s, &l.cycle, x->pod, best(x, &l.cycle));
    sched_metrics_decided((double)(uv_hrtime() - x->pod->attempt_ns) / 1e9);
    consult_look_end(x, &l);
    consult_end(x);
}
