/* hpa_replicas.c - see hpa_replicas.h. */
#include "controllers/hpa_replicas.h"

#include "api/core_v1.h"
#include "controllers/pods.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <math.h>
#include <stdlib.h>

/* A pod and how it takes part. */
enum part { PART_COUNTED, PART_UNREADY, PART_IGNORED, PART_SILENT };

struct member {
    const struct core_v1_pod *pod;
    const struct hpa_pod_metric *metric; /* NULL: it told nothing. */
    enum part part;
    int64_t value; /* Milli; used when it takes part. */
    int64_t request;
};

struct group {
    struct member *items;
    size_t count;
    size_t ready, unready, silent;
};

static int by_pod(const void *x, const void *y)
{
    return str_cmp(((const struct hpa_pod_metric *)x)->pod,
                   ((const struct hpa_pod_metric *)y)->pod);
}

/* Whether a pod's processor time says nothing yet: it starts, or was not ready while it was
 * measured. */
static bool warms_up(const struct hpa_question *q, const struct core_v1_pod *p,
                     const struct hpa_pod_metric *m)
{
    const struct core_v1_pod_condition *ready = pod_condition(p, "Ready");
    if (ready == NULL || p->status.start_time == NULL)
        return true;
    int64_t started = p->status.start_time->seconds, changed = ready->last_transition_time.seconds;
    bool is_ready = str_eqc(ready->status, "True");
    if (started + q->cpu_initialization_s > q->now_s)
        return !is_ready || m->at_s < changed + m->window_s;
    return !is_ready && started + q->initial_readiness_s > changed;
}

static enum part part_of(const struct hpa_question *q, const struct member *x)
{
    struct str phase = x->pod->status.phase;
    if (x->pod->metadata.deletion_timestamp != NULL || str_eqc(phase, "Failed"))
        return PART_IGNORED;
    if (str_eqc(phase, "Pending"))
        return PART_UNREADY;
    if (x->metric == NULL)
        return PART_SILENT;
    if (str_eqc(q->resource, "cpu") && warms_up(q, x->pod, x->metric))
        return PART_UNREADY;
    return PART_COUNTED;
}

static int make_group(const struct hpa_question *q, struct group *ret, struct error *err)
{
    if (q->pod_count == 0)
        return error_set(err, E_INVALID,
                         "no pods returned by selector while calculating replica count");
    struct hpa_pod_metric *sorted =
        arena_memdup(q->arena, q->metrics, q->metric_count * sizeof(*q->metrics));
    qsort(sorted, q->metric_count, sizeof(*sorted), by_pod);
    *ret = (struct group){.items = ARENA_ARRAY(q->arena, struct member, q->pod_count)};
    for (size_t i = 0; i < q->pod_count; i++) {
        struct member *x = &ret->items[ret->count++];
        x->pod = q->pods[i]->msg;
        x->metric = bsearch(&(struct hpa_pod_metric){.pod = x->pod->metadata.name}, sorted,
                            q->metric_count, sizeof(*sorted), by_pod);
        x->part = part_of(q, x);
        x->value = x->metric != NULL ? x->metric->milli : 0;
        ret->ready += x->part == PART_COUNTED;
        ret->unready += x->part == PART_UNREADY;
        ret->silent += x->part == PART_SILENT;
    }
    if (ret->ready == 0)
        return error_set(err, E_INVALID, "did not receive metrics for any ready pods");
    return 0;
}

/* --- requests -------------------------------------------------------------------------- */
static const struct resource_quantity *find(const struct api_quantity_entry *e, size_t n,
                                            struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(e[i].key, name))
            return &e[i].value;
    return NULL;
}

static int add_requests(const struct hpa_question *q, const struct core_v1_pod *p,
                        const struct core_v1_container *c, size_t n, bool init, bool *found,
                        int64_t *sum, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        bool sidecar = c[i].has_restart_policy && str_eqc(c[i].restart_policy, "Always");
        if ((init && !sidecar) || (q->container.len != 0 && !str_eq(c[i].name, q->container)))
            continue;
        const struct resource_quantity *r =
            find(c[i].resources.requests, c[i].resources.requests_count, q->resource);
        *found = true;
        if (r == NULL)
            return error_set(err, E_INVALID,
                             "missing request for " STR_FMT " in container " STR_FMT
                             " of Pod " STR_FMT,
                             STR_ARG(q->resource), STR_ARG(c[i].name), STR_ARG(p->metadata.name));
        struct quantity value = quantity_of(r);
        *sum += quantity_milli_value(&value);
    }
    return 0;
}

static int request_of(const struct hpa_question *q, const struct core_v1_pod *p, int64_t *ret,
                      struct error *err)
{
    const struct core_v1_resource_requirements *whole = p->spec.resources;
    const struct resource_quantity *r =
        whole != NULL && q->container.len == 0
            ? find(whole->requests, whole->requests_count, q->resource)
            : NULL;
    *ret = 0;
    if (r != NULL) {
        struct quantity value = quantity_of(r);
        *ret = quantity_milli_value(&value);
        return 0;
    }
    bool found = false;
    int rc = add_requests(q, p, p->spec.init_containers, p->spec.init_containers_count, true,
                          &found, ret, err);
    if (rc == 0)
        rc = add_requests(q, p, p->spec.containers, p->spec.containers_count, false, &found, ret,
                          err);
    if (rc == 0 && !found && q->container.len != 0)
        rc = error_set(err, E_INVALID, "container " STR_FMT " not found in Pod " STR_FMT,
                       STR_ARG(q->container), STR_ARG(p->metadata.name));
    return rc;
}

/* --- ratios ----------------------------------------------------------------------------- */
struct measure {
    bool by_request;
    int64_t target; /* Percent, or milli. */
};

struct ratio {
    double value;
    size_t pods;
    int32_t utilization;
    int64_t average;
};

static bool takes_part(const struct member *x, bool unready, bool silent)
{
    return x->part == PART_COUNTED || (unready && x->part == PART_UNREADY) ||
           (silent && x->part == PART_SILENT);
}

static int ratio_of(const struct group *g, const struct measure *m, bool unready, bool silent,
                    struct ratio *ret, struct error *err)
{
    __int128 sum = 0, requests = 0;
    *ret = (struct ratio){0};
    for (size_t i = 0; i < g->count; i++) {
        if (!takes_part(&g->items[i], unready, silent))
            continue;
        sum += g->items[i].value;
        requests += g->items[i].request;
        ret->pods++;
    }
    ret->average = (int64_t)(sum / (__int128)ret->pods);
    if (!m->by_request) {
        ret->value = (double)ret->average / (double)m->target;
        return 0;
    }
    if (requests == 0)
        return error_set(err, E_INVALID, "no metrics returned matched known pods");
    ret->utilization = (int32_t)(sum * 100 / requests);
    ret->value = (double)ret->utilization / (double)m->target;
    return 0;
}

static bool tolerable(const struct hpa_question *q, double ratio)
{
    return ratio >= 1.0 - q->tolerance_down && ratio <= 1.0 + q->tolerance_up;
}

static int32_t rounded_up(double v)
{
    v = ceil(v);
    return v >= INT32_MAX ? INT32_MAX : v <= 0 ? 0 : (int32_t)v;
}

/* Of those that told nothing: as much as is wanted when fewer pods are asked for, nothing when more
 * are. */
static void assume_silent(struct group *g, const struct measure *m, double ratio)
{
    int64_t percent = MAX_OF(m->target, 100);
    for (size_t i = 0; i < g->count; i++)
        if (g->items[i].part == PART_SILENT)
            g->items[i].value = ratio >= 1.0    ? 0
                                : m->by_request ? g->items[i].request * percent / 100
                                                : m->target;
}

static void silence_unready(struct group *g)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->items[i].part == PART_UNREADY)
            g->items[i].value = 0;
}

static int answer(const struct hpa_question *q, struct group *g, const struct measure *m,
                  struct hpa_answer *ret, struct error *err)
{
    struct ratio first, second;
    int rc = ratio_of(g, m, false, false, &first, err);
    if (rc != 0)
        return rc;
    *ret = (struct hpa_answer){q->current, first.utilization, first.average};
    bool unready = g->unready > 0 && first.value > 1.0;
    if (!unready && g->silent == 0) {
        if (!tolerable(q, first.value))
            ret->replicas = rounded_up(first.value * (double)g->ready);
        return 0;
    }
    assume_silent(g, m, first.value);
    silence_unready(g);
    rc = ratio_of(g, m, unready, true, &second, err);
    if (rc != 0)
        return rc;
    /* What was assumed must not turn the direction. */
    if (tolerable(q, second.value) || (first.value < 1.0 && second.value > 1.0) ||
        (first.value > 1.0 && second.value < 1.0))
        return 0;
    int32_t replicas = rounded_up(second.value * (double)second.pods);
    if ((second.value < 1.0 && replicas > q->current) ||
        (second.value > 1.0 && replicas < q->current))
        return 0;
    ret->replicas = replicas;
    return 0;
}

int hpa_by_utilization(const struct hpa_question *q, int32_t target, struct hpa_answer *ret,
                       struct error *err)
{
    struct group g;
    int rc = make_group(q, &g, err);
    for (size_t i = 0; rc == 0 && i < g.count; i++)
        if (g.items[i].part != PART_IGNORED)
            rc = request_of(q, g.items[i].pod, &g.items[i].request, err);
    return rc != 0 ? rc : answer(q, &g, &(struct measure){true, target}, ret, err);
}

int hpa_by_average(const struct hpa_question *q, int64_t target_milli, struct hpa_answer *ret,
                   struct error *err)
{
    struct group g;
    int rc = make_group(q, &g, err);
    return rc != 0 ? rc : answer(q, &g, &(struct measure){false, target_milli}, ret, err);
}

int hpa_by_ratio(const struct hpa_question *q, double ratio, int32_t *ret, struct error *err)
{
    size_t ready = 0;
    *ret = q->current;
    if (q->current == 0) {
        *ret = rounded_up(ratio);
        return 0;
    }
    if (tolerable(q, ratio))
        return 0;
    if (q->pod_count == 0)
        return error_set(err, E_INVALID,
                         "unable to calculate ready pods: no pods returned by selector while "
                         "calculating replica count");
    for (size_t i = 0; i < q->pod_count; i++) {
        const struct core_v1_pod *p = q->pods[i]->msg;
        ready += str_eqc(p->status.phase, "Running") && pod_is_ready(p);
    }
    *ret = rounded_up(ratio * (double)ready);
    return 0;
}

void hpa_by_share(const struct hpa_question *q, int64_t total_milli, int64_t target_milli,
                  int32_t status_replicas, struct hpa_answer *ret)
{
    double total = (double)total_milli, target = (double)target_milli;
    *ret = (struct hpa_answer){.replicas = status_replicas};
    if (status_replicas == 0 || !tolerable(q, total / (target * status_replicas)))
        ret->replicas = rounded_up(total / target);
    if (status_replicas != 0)
        ret->average = (int64_t)ceil(total / status_replicas);
}
