/* flow_metrics.c - apiserver_flowcontrol_* under upstream's names.
 *
 * What requests count under a level's lock is brought to the metrics when they
 * are asked for; only a few histograms are observed as things happen. */
#include "apiserver/flow_control_internal.h"

#include "lib/base/metrics.h"

#define PREFIX "apiserver_flowcontrol_"

static const double durations[] = {0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30};
static const double lengths[] = {0, 10, 25, 50, 100, 250, 500, 1000};
static const double seats[] = {1, 2, 4, 8, 16, 32, 64, 100};
static const double watch_counts[] = {0, 1, 10, 100, 1000, 10000};

static struct metric_family *rejected, *dispatched, *executing, *executing_seats, *inqueue,
    *inqueue_seats, *no_accommodation, *waited, *ran, *queue_length, *estimated, *watches;
/* Of levels. */
static struct metric_family *nominal, *lower, *upper, *current, *high, *average, *deviation,
    *smoothed, *target, *demand, *utilization, *seat_utilization, *current_r, *dispatch_r,
    *latest_s, *next_s, *next_discounted_s, *epochs;
static struct metric_family *read_write, *fair_fraction, *inqueue_kinds;

/* --- state by state ----------------------------------------------------------------------------
 */
static void add_since(struct metric_family *f, const struct flow_schema_state *s,
                      const char *reason, uint64_t now, uint64_t *shown)
{
    struct str level = str_of(s->level->name), name = str_of(s->name);
    if (now == *shown)
        return;
    if (reason != NULL)
        metric_add(METRIC_OF(f, level, name, str_of(reason)), (double)(now - *shown));
    else
        metric_add(METRIC_OF(f, level, name), (double)(now - *shown));
    *shown = now;
}

/* Silent until there was something to say. */
static void set_to(struct metric_family *f, const struct flow_schema_state *s, int32_t now)
{
    if (s->counts.dispatched != 0 || now != 0 || s->counts.refused_time != 0)
        metric_set(METRIC_OF(f, str_of(s->level->name), str_of(s->name)), now);
}

void flow_metrics_state(struct flow_schema_state *s)
{
    struct flow_counts *c = &s->counts, *old = &s->shown;
    add_since(dispatched, s, NULL, c->dispatched, &old->dispatched);
    add_since(no_accommodation, s, NULL, c->no_accommodation, &old->no_accommodation);
    add_since(rejected, s, "concurrency-limit", c->refused_limit, &old->refused_limit);
    add_since(rejected, s, "queue-full", c->refused_full, &old->refused_full);
    add_since(rejected, s, "time-out", c->refused_time, &old->refused_time);
    set_to(executing, s, c->executing);
    set_to(executing_seats, s, c->executing_seats);
    set_to(inqueue, s, c->waiting);
    set_to(inqueue_seats, s, c->waiting_seats);
}

static struct metric *histogram_of(const struct flow_schema_state *s, enum flow_histogram which)
{
    struct str level = str_of(s->level->name), name = str_of(s->name);
    switch (which) {
    case FLOW_WAITED_TRUE:
        return METRIC_OF(waited, level, name, STR("true"));
    case FLOW_WAITED_FALSE:
        return METRIC_OF(waited, level, name, STR("false"));
    case FLOW_RAN_REGULAR:
        return METRIC_OF(ran, level, name, STR("regular"));
    case FLOW_RAN_WATCH:
        return METRIC_OF(ran, level, name, STR("watch"));
    case FLOW_SEATS:
        return METRIC_OF(estimated, level, name);
    case FLOW_QUEUE_LENGTH:
        return METRIC_OF(queue_length, level, name);
    case FLOW_WATCH_COUNT:
    case FLOW_HISTOGRAMS:
        break;
    }
    return METRIC_OF(watches, level, name);
}

void flow_metrics_observe(struct flow_schema_state *s, enum flow_histogram which, double v)
{
    struct metric *m = atomic_load_explicit(&s->histograms[which], memory_order_acquire);
    if (m == NULL) { /* Two threads find the same one. */
        m = histogram_of(s, which);
        atomic_store_explicit(&s->histograms[which], m, memory_order_release);
    }
    metric_observe(m, v);
}

/* --- level by level ------------------------------------------------------------------------------
 */
void flow_metrics_adjusted(const struct flow_level *l)
{
    struct str name = str_of(l->name);
    const struct flow_share *s = &l->share;
    metric_set(METRIC_OF(nominal, name), s->nominal);
    metric_set(METRIC_OF(lower, name), s->min);
    metric_set(METRIC_OF(upper, name), s->max);
    metric_set(METRIC_OF(current, name), s->current);
    metric_set(METRIC_OF(high, name), s->high);
    metric_set(METRIC_OF(average, name), s->average);
    metric_set(METRIC_OF(deviation, name), s->deviation);
    metric_set(METRIC_OF(smoothed, name), s->smoothed);
    metric_set(METRIC_OF(target, name), s->target);
}

static void set_timing(struct metric *m, const struct flow_timing *t)
{
    metric_set_histogram(m, t->ns, t->sum);
}

/* The bounds of what queues would start next, and the same less what they have under way. */
static void show_starts(struct flow_set *set, struct str name)
{
    int64_t bounds[4] = {INT64_MAX, 0, INT64_MAX, 0};
    LIST_FOREACH (it, &set->active) {
        const struct flow_queue *q = LIST_ENTRY(it, struct flow_queue, link);
        int64_t under_way = (int64_t)q->seats_in_use * FLOW_R_PER_SECOND / 1000 * 3;
        if (q->waiting_count == 0)
            continue;
        bounds[0] = MIN_OF(bounds[0], q->next_r);
        bounds[1] = MAX_OF(bounds[1], q->next_r);
        bounds[2] = MIN_OF(bounds[2], q->next_r - under_way);
        bounds[3] = MAX_OF(bounds[3], q->next_r - under_way);
    }
    if (bounds[0] == INT64_MAX)
        return; /* As it was when requests waited last. */
    double unit = (double)FLOW_R_PER_SECOND;
    metric_set(METRIC_OF(next_s, name, STR("min")), (double)bounds[0] / unit);
    metric_set(METRIC_OF(next_s, name, STR("max")), (double)bounds[1] / unit);
    metric_set(METRIC_OF(next_discounted_s, name, STR("min")), (double)bounds[2] / unit);
    metric_set(METRIC_OF(next_discounted_s, name, STR("max")), (double)bounds[3] / unit);
}

static void show_level(struct flow_level *l)
{
    struct str name = str_of(l->name), key;
    double unit = (double)FLOW_R_PER_SECOND;
    size_t pos = 0;
    void *state;
    pthread_mutex_lock(&l->lock);
    struct flow_set *set = &l->set;
    flow_set_sync(set, uv_hrtime());
    while (map_next(&l->states, &pos, &key, &state))
        flow_metrics_state(state);
    set_timing(METRIC_OF(demand, name), &set->demand.ratio);
    set_timing(METRIC_OF(utilization, STR("waiting"), name), &set->waiting_ratio);
    set_timing(METRIC_OF(utilization, STR("executing"), name), &set->executing_ratio);
    set_timing(METRIC_OF(seat_utilization, STR("executing"), name), &set->seats_ratio);
    metric_set(METRIC_OF(current_r, name), (double)set->current_r / unit);
    metric_set(METRIC_OF(dispatch_r, name), (double)set->latest.r / unit);
    metric_set(METRIC_OF(latest_s, name), (double)set->latest.s / unit);
    show_starts(set, name);
    if (set->totals.epochs != l->epochs_shown)
        metric_add(METRIC_OF(epochs, name, STR("true")),
                   (double)(set->totals.epochs - l->epochs_shown));
    l->epochs_shown = set->totals.epochs;
    pthread_mutex_unlock(&l->lock);
}

/* --- reads and writes ----------------------------------------------------------------------------
 */
static void mix_sync(struct flow_mix *m)
{
    uint64_t now = uv_hrtime();
    uint64_t ns = now > m->last_ns ? now - m->last_ns : 0;
    m->last_ns += ns;
    for (int phase = 0; phase < 2; phase++)
        for (int kind = 0; kind < 2; kind++)
            flow_timing_elapse(&m->ratio[phase][kind], ns);
}

void flow_mix_add(struct flow_mix *m, int phase, bool writes, int delta)
{
    pthread_mutex_lock(&m->lock);
    mix_sync(m);
    m->now[phase][writes] += delta;
    flow_timing_set(&m->ratio[phase][writes], m->now[phase][writes]);
    pthread_mutex_unlock(&m->lock);
}

void flow_mix_limits(struct flow_mix *m, double waiting, double executing_max)
{
    pthread_mutex_lock(&m->lock);
    mix_sync(m);
    for (int kind = 0; kind < 2; kind++) {
        flow_timing_set_denominator(&m->ratio[FLOW_MIX_WAITING][kind], waiting);
        flow_timing_set_denominator(&m->ratio[FLOW_MIX_EXECUTING][kind], executing_max);
    }
    pthread_mutex_unlock(&m->lock);
}

static void show_mix(struct flow_mix *m)
{
    const struct str phases[] = {STR("waiting"), STR("executing")};
    const struct str kinds[] = {STR("readOnly"), STR("mutating")};
    pthread_mutex_lock(&m->lock);
    mix_sync(m);
    for (int phase = 0; phase < 2; phase++)
        for (int kind = 0; kind < 2; kind++)
            set_timing(METRIC_OF(read_write, phases[phase], kinds[kind]), &m->ratio[phase][kind]);
    for (int kind = 0; kind < 2; kind++)
        metric_set(METRIC_OF(inqueue_kinds, kinds[kind]), m->now[FLOW_MIX_WAITING][kind]);
    pthread_mutex_unlock(&m->lock);
}

static void on_render(void *arg)
{
    struct flow_control *fc = arg;
    pthread_mutex_lock(&fc->lock);
    struct flow_config *c = flow_config_ref(fc->config);
    pthread_mutex_unlock(&fc->lock);
    for (size_t i = 0; i < c->level_count; i++)
        show_level(c->levels[i]);
    flow_config_unref(c);
    show_mix(&fc->mix);
    metric_set(metric_single(fair_fraction), atomic_load(&fc->fair_fraction));
}

/* --- families
 * ------------------------------------------------------------------------------------- */
#define OF_SCHEMA METRIC_LABELS("priority_level", "flow_schema")
#define OF_LEVEL METRIC_LABELS("priority_level")

static struct metric_family *counter(const char *name, const char *help, const char *const *labels)
{
    return metric_counter(metrics_default(), name, help, labels);
}

static struct metric_family *gauge(const char *name, const char *help, const char *const *labels)
{
    return metric_gauge(metrics_default(), name, help, labels);
}

#define HISTOGRAM(name, help, labels, bounds)                                                      \
    metric_histogram(metrics_default(), name, help, labels, bounds, ARRAY_SIZE(bounds))

static void schema_families(void)
{
    rejected = counter(PREFIX "rejected_requests_total", "Requests answered with 429, by why.",
                       METRIC_LABELS("priority_level", "flow_schema", "reason"));
    dispatched =
        counter(PREFIX "dispatched_requests_total", "Requests that were let run.", OF_SCHEMA);
    no_accommodation = counter(PREFIX "request_dispatch_no_accommodation_total",
                               "Times that the next request found too few seats free.", OF_SCHEMA);
    executing = gauge(PREFIX "current_executing_requests",
                      "Requests being executed; watches only until they have begun.", OF_SCHEMA);
    executing_seats =
        gauge(PREFIX "current_executing_seats", "Seats that requests occupy.", OF_SCHEMA);
    inqueue = gauge(PREFIX "current_inqueue_requests", "Requests that wait.", OF_SCHEMA);
    inqueue_seats =
        gauge(PREFIX "current_inqueue_seats", "Seats that requests wait for.", OF_SCHEMA);
    waited = HISTOGRAM(PREFIX "request_wait_duration_seconds", "Time that requests waited.",
                       METRIC_LABELS("priority_level", "flow_schema", "execute"), durations);
    ran = HISTOGRAM(PREFIX "request_execution_seconds",
                    "Time that requests were executed; watches only until they had begun.",
                    METRIC_LABELS("priority_level", "flow_schema", "type"), durations);
    queue_length = HISTOGRAM(PREFIX "request_queue_length_after_enqueue",
                             "Length of its queue as each request saw it.", OF_SCHEMA, lengths);
    estimated = HISTOGRAM(PREFIX "work_estimated_seats",
                          "Seats that requests were thought to take.", OF_SCHEMA, seats);
    watches = HISTOGRAM(PREFIX "watch_count_samples", "Watches that writes concerned.", OF_SCHEMA,
                        watch_counts);
}

static void level_families(void)
{
    nominal = gauge(PREFIX "nominal_limit_seats", "Seats by configuration.", OF_LEVEL);
    lower = gauge(PREFIX "lower_limit_seats", "Seats that are not lent.", OF_LEVEL);
    upper = gauge(PREFIX "upper_limit_seats", "Seats with all that may be borrowed.", OF_LEVEL);
    current = gauge(PREFIX "current_limit_seats", "Seats at present.", OF_LEVEL);
    high = gauge(PREFIX "demand_seats_high_watermark",
                 "Most seats wanted in the last adjustment period.", OF_LEVEL);
    average =
        gauge(PREFIX "demand_seats_average", "Seats wanted on average in that period.", OF_LEVEL);
    deviation = gauge(PREFIX "demand_seats_stdev", "Standard deviation of seats wanted.", OF_LEVEL);
    smoothed = gauge(PREFIX "demand_seats_smoothed", "Seats wanted, smoothed.", OF_LEVEL);
    target = gauge(PREFIX "target_seats", "Seats that the adjustment aimed at.", OF_LEVEL);
    demand = HISTOGRAM(PREFIX "demand_seats", "Nanoseconds by seats wanted as a part of the limit.",
                       OF_LEVEL, flow_bounds_demand);
    utilization = HISTOGRAM(PREFIX "priority_level_request_utilization",
                            "Nanoseconds by requests as a part of the limit.",
                            METRIC_LABELS("phase", "priority_level"), flow_bounds_requests);
    seat_utilization = HISTOGRAM(PREFIX "priority_level_seat_utilization",
                                 "Nanoseconds by seats occupied as a part of the limit.",
                                 METRIC_LABELS("phase", "priority_level"), flow_bounds_seats);
    current_r = gauge(PREFIX "current_r", "Virtual time.", OF_LEVEL);
    dispatch_r = gauge(PREFIX "dispatch_r", "Virtual time of the latest dispatch.", OF_LEVEL);
    latest_s =
        gauge(PREFIX "latest_s", "Virtual start of the latest dispatched request.", OF_LEVEL);
    next_s = gauge(PREFIX "next_s_bounds", "Bounds of the virtual starts that are next.",
                   METRIC_LABELS("priority_level", "bound"));
    next_discounted_s =
        gauge(PREFIX "next_discounted_s_bounds", "The same, less the work that is under way.",
              METRIC_LABELS("priority_level", "bound"));
    epochs = counter(PREFIX "epoch_advance_total", "Times that virtual time was wound back.",
                     METRIC_LABELS("priority_level", "success"));
}

void flow_metrics_init(struct flow_control *fc)
{
    schema_families();
    level_families();
    read_write = HISTOGRAM(PREFIX "read_vs_write_current_requests",
                           "Nanoseconds by requests as a part of the limit, reads and writes.",
                           METRIC_LABELS("phase", "request_kind"), flow_bounds_read_write);
    fair_fraction = gauge(PREFIX "seat_fair_frac",
                          "Part of its target that each level gets which no limit binds.", NULL);
    inqueue_kinds = gauge("apiserver_current_inqueue_requests", "Requests that wait, by kind.",
                          METRIC_LABELS("request_kind"));
    pthread_mutex_init(&fc->mix.lock, NULL);
    fc->mix.last_ns = uv_hrtime();
    for (int phase = 0; phase < 2; phase++)
        for (int kind = 0; kind < 2; kind++)
            flow_timing_init(&fc->mix.ratio[phase][kind], flow_bounds_read_write,
                             ARRAY_SIZE(flow_bounds_read_write));
    metrics_on_render(metrics_default(), on_render, fc);
}
