/* resources.c - see resources.h. */
#include "kubelet/resources.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/quantity.h"
#include "lib/client/reclaim.h"

const char *qos_class_name(enum qos_class q)
{
    static const char *const names[] = {"Guaranteed", "Burstable", "BestEffort"};
    return names[q];
}

static const struct resource_quantity *find(const struct api_quantity_entry *list, size_t count,
                                            const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eqc(list[i].key, name))
            return &list[i].value;
    }
    return NULL;
}

bool resource_value(const struct api_quantity_entry *list, size_t count, const char *name,
                    int64_t *ret)
{
    const struct resource_quantity *q = find(list, count, name);
    if (q == NULL)
        return false;
    struct quantity v = quantity_of(q);
    *ret = quantity_value(&v);
    return true;
}

bool resource_milli(const struct api_quantity_entry *list, size_t count, const char *name,
                    int64_t *ret)
{
    const struct resource_quantity *q = find(list, count, name);
    if (q == NULL)
        return false;
    struct quantity v = quantity_of(q);
    *ret = quantity_milli_value(&v);
    return true;
}

bool container_is_sidecar(const struct core_v1_container *c)
{
    return c->has_restart_policy && str_eqc(c->restart_policy, "Always");
}

/* --- QoS -------------------------------------------------------------------- */

static const char *const qos_resources[] = {"cpu", "memory"};

/* What the containers seen so far ask for. */
struct qos_sums {
    int64_t requests[2];
    int64_t limits[2];
    bool has_request[2];
    bool has_limit[2];
    bool all_limited;
};

static void qos_add(struct qos_sums *s, const struct core_v1_resource_requirements *r)
{
    for (size_t i = 0; i < ARRAY_SIZE(qos_resources); i++) {
        int64_t v;
        if (resource_milli(r->requests, r->requests_count, qos_resources[i], &v) && v > 0) {
            s->requests[i] += v;
            s->has_request[i] = true;
        }
        if (resource_milli(r->limits, r->limits_count, qos_resources[i], &v) && v > 0) {
            s->limits[i] += v;
            s->has_limit[i] = true;
        } else {
            s->all_limited = false;
        }
    }
}

enum qos_class pod_qos_class(const struct core_v1_pod *pod)
{
    const struct core_v1_pod_spec *spec = &pod->spec;
    struct qos_sums s = {.all_limited = true};
    if (spec->resources != NULL &&
        (spec->resources->requests_count > 0 || spec->resources->limits_count > 0)) {
        qos_add(&s, spec->resources);
    } else {
        for (size_t i = 0; i < spec->init_containers_count; i++)
            qos_add(&s, &spec->init_containers[i].resources);
        for (size_t i = 0; i < spec->containers_count; i++)
            qos_add(&s, &spec->containers[i].resources);
    }
    bool any = false, equal = true;
    for (size_t i = 0; i < ARRAY_SIZE(qos_resources); i++) {
        any = any || s.has_request[i] || s.has_limit[i];
        /* A request that is not given takes the limit's value. */
        if (!s.has_limit[i] || (s.has_request[i] && s.requests[i] != s.limits[i]))
            equal = false;
    }
    if (!any)
        return QOS_BEST_EFFORT;
    return s.all_limited && equal ? QOS_GUARANTEED : QOS_BURSTABLE;
}

/* --- cgroup values ------------------------------------------------------------ */

int64_t cpu_shares_of_milli(int64_t milli)
{
    if (milli <= 0)
        return CPU_SHARES_MIN;
    if (milli > INT64_MAX / 1024)
        return CPU_SHARES_MAX;
    int64_t shares = milli * 1024 / 1000;
    return MIN_OF(MAX_OF(shares, (int64_t)CPU_SHARES_MIN), (int64_t)CPU_SHARES_MAX);
}

int64_t cpu_quota_of_milli(int64_t milli, int64_t period_us)
{
    if (milli <= 0)
        return 0;
    if (milli > INT64_MAX / period_us)
        return 0;
    int64_t quota = milli * period_us / 1000;
    return MAX_OF(quota, (int64_t)1000); /* The kernel takes no less than a millisecond. */
}

int64_t cpu_weight_of_shares(int64_t shares)
{
    if (shares < CPU_SHARES_MIN)
        return 1;
    return 1 + (shares - 2) * 9999 / 262142;
}

int oom_score_adj(const struct core_v1_pod *pod, const struct core_v1_container *c,
                  int64_t memory_capacity)
{
    /* Node-critical pods (system-node-critical and above) go last. */
    if (pod->spec.has_priority && pod->spec.priority >= 2000000000)
        return -997;
    if (pod_reclaims(pod))
        return 1000;
    switch (pod_qos_class(pod)) {
    case QOS_GUARANTEED:
        return -997;
    case QOS_BEST_EFFORT:
        return 1000;
    case QOS_BURSTABLE:
        break;
    }
    int64_t request = 0;
    if (!resource_value(c->resources.requests, c->resources.requests_count, "memory", &request))
        resource_value(c->resources.limits, c->resources.limits_count, "memory", &request);
    if (memory_capacity <= 0)
        return 999;
    int64_t adj = 1000 - (int64_t)(1000.0 * (double)request / (double)memory_capacity);
    if (adj < 3)
        return 3;
    return adj >= 1000 ? 999 : (int)adj;
}

void container_cgroup_limits(const struct core_v1_container *c, struct cgroup_limits *ret)
{
    const struct core_v1_resource_requirements *r = &c->resources;
    int64_t cpu_request = 0, cpu_limit = 0, memory = 0;
    bool limited = resource_milli(r->limits, r->limits_count, "cpu", &cpu_limit);
    if (!resource_milli(r->requests, r->requests_count, "cpu", &cpu_request) && limited)
        cpu_request = cpu_limit;
    resource_value(r->limits, r->limits_count, "memory", &memory);
    *ret = (struct cgroup_limits){
        .cpu_shares = cpu_shares_of_milli(cpu_request),
        .cpu_quota_us = cpu_quota_of_milli(cpu_limit, CPU_PERIOD_US),
        .memory_bytes = memory,
    };
}

/* cpu in milli, memory in bytes. */
struct pod_sums {
    int64_t cpu_request, cpu_limit, memory_limit;
    bool cpu_limited, memory_limited; /* Every container so far has a limit. */
};

static void sums_of(const struct core_v1_resource_requirements *r, struct pod_sums *ret)
{
    *ret = (struct pod_sums){0};
    ret->cpu_limited =
        resource_milli(r->limits, r->limits_count, "cpu", &ret->cpu_limit) && ret->cpu_limit > 0;
    ret->memory_limited =
        resource_value(r->limits, r->limits_count, "memory", &ret->memory_limit) &&
        ret->memory_limit > 0;
    if (!resource_milli(r->requests, r->requests_count, "cpu", &ret->cpu_request))
        ret->cpu_request = ret->cpu_limit;
}

static void sums_add(struct pod_sums *s, const struct pod_sums *x)
{
    s->cpu_request += x->cpu_request;
    s->cpu_limit += x->cpu_limit;
    s->memory_limit += x->memory_limit;
    s->cpu_limited = s->cpu_limited && x->cpu_limited;
    s->memory_limited = s->memory_limited && x->memory_limited;
}

static void sums_max(struct pod_sums *s, const struct pod_sums *x)
{
    s->cpu_request = MAX_OF(s->cpu_request, x->cpu_request);
    s->cpu_limit = MAX_OF(s->cpu_limit, x->cpu_limit);
    s->memory_limit = MAX_OF(s->memory_limit, x->memory_limit);
    s->cpu_limited = s->cpu_limited && x->cpu_limited;
    s->memory_limited = s->memory_limited && x->memory_limited;
}

/* App containers and sidecars run together; an init container runs with the
 * sidecars started before it. The larger of the two counts. */
static void pod_sums(const struct core_v1_pod_spec *spec, struct pod_sums *ret)
{
    struct pod_sums all = {.cpu_limited = true, .memory_limited = true}, init = all, sidecars = all;
    for (size_t i = 0; i < spec->containers_count; i++) {
        struct pod_sums c;
        sums_of(&spec->containers[i].resources, &c);
        sums_add(&all, &c);
    }
    for (size_t i = 0; i < spec->init_containers_count; i++) {
        struct pod_sums c;
        sums_of(&spec->init_containers[i].resources, &c);
        if (container_is_sidecar(&spec->init_containers[i])) {
            sums_add(&all, &c);
            sums_add(&sidecars, &c);
            sums_max(&init, &sidecars);
        } else {
            sums_add(&c, &sidecars);
            sums_max(&init, &c);
        }
    }
    sums_max(&all, &init);
    struct core_v1_resource_requirements overhead = {.requests = spec->overhead,
                                                     .requests_count = spec->overhead_count,
                                                     .limits = spec->overhead,
                                                     .limits_count = spec->overhead_count};
    struct pod_sums over;
    sums_of(&overhead, &over);
    over.cpu_limited = over.memory_limited = true;
    sums_add(&all, &over);
    *ret = all;
}

/* Pod-level resources take precedence over the sums, each on its own. */
static void pod_level(const struct core_v1_pod_spec *spec, struct pod_sums *s)
{
    const struct core_v1_resource_requirements *r = spec->resources;
    int64_t v;
    if (r == NULL)
        return;
    if (resource_milli(r->limits, r->limits_count, "cpu", &v)) {
        s->cpu_limit = v;
        s->cpu_limited = true;
    }
    if (resource_value(r->limits, r->limits_count, "memory", &v)) {
        s->memory_limit = v;
        s->memory_limited = true;
    }
    if (resource_milli(r->requests, r->requests_count, "cpu", &v))
        s->cpu_request = v;
}

void pod_cgroup_limits(const struct core_v1_pod *pod, struct cgroup_limits *ret)
{
    struct pod_sums s;
    pod_sums(&pod->spec, &s);
    pod_level(&pod->spec, &s);
    *ret = (struct cgroup_limits){
        .cpu_shares = pod_qos_class(pod) == QOS_BEST_EFFORT || pod_reclaims(pod)
                          ? CPU_SHARES_MIN
                          : cpu_shares_of_milli(s.cpu_request),
        .cpu_quota_us = s.cpu_limited ? cpu_quota_of_milli(s.cpu_limit, CPU_PERIOD_US) : 0,
        .memory_bytes = s.memory_limited ? s.memory_limit : 0,
    };
    hugepage_limits_of_pod(pod, &ret->hugepages);
}

int64_t pod_request_milli_cpu(const struct core_v1_pod *pod)
{
    struct pod_sums s;
    pod_sums(&pod->spec, &s);
    pod_level(&pod->spec, &s);
    return s.cpu_request;
}
