/* config_args.c - see config_args.h. */
#include "scheduler/config_args.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"

#include <string.h>

#define SHAPE_SCORE_MAX 10 /* In the file; ten times as much here. */
#define HEAD "apiVersion", "kind"

static const char *const *read_names(struct config_reader *r, const char *path,
                                     const struct json *j, const char *name, size_t *ret_count)
{
    const struct json *list = config_member(r, path, j, name, JSON_ARRAY);
    *ret_count = 0;
    if (list == NULL)
        return NULL;
    const char **names = ARENA_ARRAY(r->arena, const char *, list->array.count + 1);
    for (size_t i = 0; i < list->array.count; i++)
        if (list->array.items[i]->type == JSON_STRING)
            names[(*ret_count)++] = arena_str(r->arena, list->array.items[i]->string).data;
        else
            config_wrong(r, "%s: must be of type string",
                         config_item(r, config_at(r, path, name), i));
    return names;
}

/* resources: [{name, weight}] */
static struct resource_weight *read_weights(struct config_reader *r, const char *path,
                                            const struct json *j, size_t *ret_count)
{
    const struct json *list = config_member(r, path, j, "resources", JSON_ARRAY);
    *ret_count = 0;
    if (list == NULL || list->array.count == 0)
        return NULL;
    struct resource_weight *w = ARENA_ARRAY(r->arena, struct resource_weight, list->array.count);
    for (size_t i = 0; i < list->array.count; i++) {
        const char *at = config_item(r, config_at(r, path, "resources"), i);
        const struct json *item = list->array.items[i];
        CONFIG_KNOWN(r, at, item, "name", "weight");
        const char *name = config_text(r, at, item, "name");
        int64_t weight = config_int(r, at, item, "weight", 1);
        if (weight < 1 || weight > 100)
            config_wrong(r,
                         "%s: Invalid value: %lld: resource weight of %s not in valid range "
                         "[1-100]",
                         config_at(r, at, "weight"), (long long)weight, name != NULL ? name : "");
        w[i] = (struct resource_weight){name != NULL ? name : "", weight};
    }
    *ret_count = list->array.count;
    return w;
}

static void read_shape(struct config_reader *r, struct profile *p, const char *path,
                       const struct json *j)
{
    const struct json *list = config_member(r, path, j, "shape", JSON_ARRAY);
    const char *at = config_at(r, path, "shape");
    size_t count = list != NULL ? list->array.count : 0;
    if (count == 0) {
        config_wrong(r, "%s: Required value: at least one point must be specified", at);
        return;
    }
    struct shape_point *points = ARENA_ARRAY(r->arena, struct shape_point, count);
    for (size_t i = 0; i < count; i++) {
        const char *here = config_item(r, at, i);
        const struct json *item = list->array.items[i];
        CONFIG_KNOWN(r, here, item, "utilization", "score");
        int64_t u = config_int(r, here, item, "utilization", 0);
        int64_t score = config_int(r, here, item, "score", 0);
        if (u < 0 || u > 100)
            config_invalid(r, config_at(r, here, "utilization"), u, "not in valid range [0-100]");
        if (score < 0 || score > SHAPE_SCORE_MAX)
            config_invalid(r, config_at(r, here, "score"), score, "not in valid range [0-10]");
        if (i > 0 && u <= points[i - 1].utilization)
            config_invalid(r, config_at(r, here, "utilization"), u,
                           "utilization values must be sorted in increasing order");
        points[i] = (struct shape_point){u, score * (100 / SHAPE_SCORE_MAX)};
    }
    p->shape = points;
    p->shape_count = count;
}

static uint64_t read_seconds(struct config_reader *r, const char *path, const struct json *j,
                             const char *name, int64_t least, uint64_t fallback_ms)
{
    int64_t s = config_int(r, path, j, name, (int64_t)(fallback_ms / 1000));
    if (s < least || s > 24 * 3600)
        config_invalid(r, config_at(r, path, name), s, "must be positive, and no more than a day");
    return (uint64_t)MAX_OF(s, least) * 1000;
}

/* Not upstream's: see docs/scheduler.md. The rules hold for all profiles. */
static void read_reclaim(struct config_reader *r, struct sched_config *c, struct profile *p,
                         const char *path, const struct json *j)
{
    const char *at = config_at(r, path, "reclaim");
    struct estimate_rules *rules = &c->reclaim;
    if (j == NULL)
        return;
    CONFIG_KNOWN(r, at, j, "periodSeconds", "warmUpSeconds", "halfLifeSeconds", "marginPercent");
    p->reclaims = true;
    rules->period_ms = read_seconds(r, at, j, "periodSeconds", 1, rules->period_ms);
    rules->warm_up_ms = read_seconds(r, at, j, "warmUpSeconds", 0, rules->warm_up_ms);
    rules->half_life_ms = read_seconds(r, at, j, "halfLifeSeconds", 0, rules->half_life_ms);
    rules->margin_percent = config_int(r, at, j, "marginPercent", rules->margin_percent);
    if (rules->margin_percent < 0 || rules->margin_percent > 1000)
        config_invalid(r, config_at(r, at, "marginPercent"), rules->margin_percent,
                       "must be within 0 and 1000");
}

static void read_fit(struct config_reader *r, struct sched_config *c, struct profile *p,
                     const char *path, const struct json *j)
{
    CONFIG_KNOWN(r, path, j, HEAD, "ignoredResources", "ignoredResourceGroups", "scoringStrategy",
                 "reclaim");
    read_reclaim(r, c, p, path, config_member(r, path, j, "reclaim", JSON_OBJECT));
    p->ignored_resources = read_names(r, path, j, "ignoredResources", &p->ignored_resource_count);
    p->ignored_groups = read_names(r, path, j, "ignoredResourceGroups", &p->ignored_group_count);
    for (size_t i = 0; i < p->ignored_group_count; i++)
        if (strchr(p->ignored_groups[i], '/') != NULL)
            config_wrong(r, "%s: Invalid value: \"%s\": resource group name can't contain '/'",
                         config_item(r, config_at(r, path, "ignoredResourceGroups"), i),
                         p->ignored_groups[i]);
    const struct json *s = config_member(r, path, j, "scoringStrategy", JSON_OBJECT);
    const char *at = config_at(r, path, "scoringStrategy");
    if (s == NULL)
        return;
    CONFIG_KNOWN(r, at, s, "type", "resources", "requestedToCapacityRatio");
    const char *type = config_text(r, at, s, "type");
    size_t count;
    const struct resource_weight *weights = read_weights(r, at, s, &count);
    if (count != 0) {
        p->fit_resources = weights;
        p->fit_resource_count = count;
    }
    if (type == NULL || strcmp(type, "LeastAllocated") == 0) {
        p->fit = FIT_LEAST_ALLOCATED;
    } else if (strcmp(type, "MostAllocated") == 0) {
        p->fit = FIT_MOST_ALLOCATED;
    } else if (strcmp(type, "RequestedToCapacityRatio") == 0) {
        p->fit = FIT_REQUESTED_TO_CAPACITY;
        const char *ratio = config_at(r, at, "requestedToCapacityRatio");
        read_shape(r, p, ratio, config_member(r, at, s, "requestedToCapacityRatio", JSON_OBJECT));
    } else {
        config_wrong(r,
                     "%s: Unsupported value: \"%s\": supported values: \"LeastAllocated\", "
                     "\"MostAllocated\", \"RequestedToCapacityRatio\"",
                     config_at(r, at, "type"), type);
    }
}

static void read_balanced(struct config_reader *r, struct profile *p, const char *path,
                          const struct json *j)
{
    size_t count;
    CONFIG_KNOWN(r, path, j, HEAD, "resources");
    const struct resource_weight *weights = read_weights(r, path, j, &count);
    if (count == 0)
        return;
    const char **names = ARENA_ARRAY(r->arena, const char *, count);
    for (size_t i = 0; i < count; i++) {
        names[i] = weights[i].name;
        if (weights[i].weight != 1)
            config_wrong(r, "%s: Invalid value: %lld: must be 1",
                         config_at(r, config_item(r, config_at(r, path, "resources"), i), "weight"),
                         (long long)weights[i].weight);
    }
    p->balanced = names;
    p->balanced_count = count;
}

static void read_inter_pod(struct config_reader *r, struct profile *p, const char *path,
                           const struct json *j)
{
    CONFIG_KNOWN(r, path, j, HEAD, "hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods");
    int64_t w = config_int(r, path, j, "hardPodAffinityWeight", 1);
    if (w < 0 || w > 100)
        config_invalid(r, config_at(r, path, "hardPodAffinityWeight"), w,
                       "not in valid range [0-100]");
    p->hard_affinity_weight = w;
    p->ignores_existing_preferences =
        config_bool(r, path, j, "ignorePreferredTermsOfExistingPods", false);
}

/* An API type inside the file. */
static bool decode(struct config_reader *r, const char *path, const struct api_msg *m,
                   const struct json *j, void *msg)
{
    struct error err = {0};
    if (api_json_decode_tree(r->arena, m, j, API_STRICT, NULL, msg, &err) == 0)
        return true;
    config_wrong(r, "%s: %s", path, error_message(&err));
    return false;
}

static void check_spread(struct config_reader *r, const char *at,
                         const struct core_v1_topology_spread_constraint *t)
{
    if (t->max_skew <= 0)
        config_invalid(r, config_at(r, at, "maxSkew"), t->max_skew, "not in valid range (0, inf)");
    if (str_empty(t->topology_key))
        config_wrong(r, "%s: Required value: can not be empty", config_at(r, at, "topologyKey"));
    if (str_empty(t->when_unsatisfiable))
        config_wrong(r, "%s: Required value: can not be empty",
                     config_at(r, at, "whenUnsatisfiable"));
    else if (!str_eqc(t->when_unsatisfiable, "DoNotSchedule") &&
             !str_eqc(t->when_unsatisfiable, "ScheduleAnyway"))
        config_wrong(r,
                     "%s: Unsupported value: \"" STR_FMT
                     "\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
                     config_at(r, at, "whenUnsatisfiable"), STR_ARG(t->when_unsatisfiable));
    if (t->label_selector != NULL)
        config_wrong(r,
                     "%s: Forbidden: constraint must not define a selector, as they deduced for "
                     "each pod",
                     config_at(r, at, "labelSelector"));
}

static void read_spread(struct config_reader *r, struct profile *p, const char *path,
                        const struct json *j)
{
    CONFIG_KNOWN(r, path, j, HEAD, "defaultConstraints", "defaultingType");
    const char *type = config_text(r, path, j, "defaultingType");
    const struct json *list = config_member(r, path, j, "defaultConstraints", JSON_ARRAY);
    size_t count = list != NULL ? list->array.count : 0;
    const char *at = config_at(r, path, "defaultConstraints");
    if (type != NULL && strcmp(type, "System") != 0 && strcmp(type, "List") != 0) {
        config_wrong(r, "%s: Unsupported value: \"%s\": supported values: \"System\", \"List\"",
                     config_at(r, path, "defaultingType"), type);
        return;
    }
    p->system_spread = type == NULL || strcmp(type, "System") == 0;
    if (p->system_spread && count != 0)
        config_wrong(r,
                     "%s: Invalid value: \"System\": when .defaultingType is System, "
                     ".defaultConstraints must be empty",
                     config_at(r, path, "defaultingType"));
    struct core_v1_topology_spread_constraint *items =
        ARENA_ARRAY(r->arena, struct core_v1_topology_spread_constraint, count + 1);
    for (size_t i = 0; i < count; i++) {
        const char *here = config_item(r, at, i);
        if (decode(r, here, &core_v1_topology_spread_constraint_msg, list->array.items[i],
                   &items[i]))
            check_spread(r, here, &items[i]);
    }
    p->spread = items;
    p->spread_count = count;
}

static void read_node_affinity(struct config_reader *r, struct profile *p, const char *path,
                               const struct json *j)
{
    CONFIG_KNOWN(r, path, j, HEAD, "addedAffinity");
    const struct json *a = config_member(r, path, j, "addedAffinity", JSON_OBJECT);
    if (a == NULL)
        return;
    struct core_v1_node_affinity *added = ARENA_NEW(r->arena, struct core_v1_node_affinity);
    if (decode(r, config_at(r, path, "addedAffinity"), &core_v1_node_affinity_msg, a, added))
        p->added_affinity = added;
}

/* All nodes are looked at: the numbers are checked and say nothing more. */
static void read_preemption(struct config_reader *r, const char *path, const struct json *j)
{
    CONFIG_KNOWN(r, path, j, HEAD, "minCandidateNodesPercentage", "minCandidateNodesAbsolute");
    int64_t percentage = config_int(r, path, j, "minCandidateNodesPercentage", 10);
    int64_t absolute = config_int(r, path, j, "minCandidateNodesAbsolute", 100);
    if (percentage < 0 || percentage > 100)
        config_invalid(r, config_at(r, path, "minCandidateNodesPercentage"), percentage,
                       "not in valid range [0, 100]");
    if (absolute < 0)
        config_invalid(r, config_at(r, path, "minCandidateNodesAbsolute"), absolute,
                       "not in valid range [0, inf)");
    if (percentage == 0 && absolute == 0)
        config_wrong(r, "cannot have both minCandidateNodesPercentage and "
                        "minCandidateNodesAbsolute be zero");
}

static void read_volume_binding(struct config_reader *r, struct sched_config *c, const char *path,
                                const struct json *j)
{
    CONFIG_KNOWN(r, path, j, HEAD, "bindTimeoutSeconds", "shape");
    int64_t seconds = config_int(r, path, j, "bindTimeoutSeconds", 600);
    if (seconds < 0)
        config_invalid(r, config_at(r, path, "bindTimeoutSeconds"), seconds,
                       "invalid BindTimeoutSeconds, should not be a negative value");
    else
        c->bind_timeout_ms = (uint64_t)seconds * 1000;
}

/* "10s"; absent: fallback. */
static int64_t read_duration(struct config_reader *r, const char *path, const struct json *j,
                             const char *name, int64_t fallback_ns)
{
    const char *text = config_text(r, path, j, name);
    int64_t ns = fallback_ns;
    if (text != NULL && duration_parse(str_of(text), &ns) != 0)
        config_wrong(r, "%s: Invalid value: \"%s\": a duration such as 5s is expected",
                     config_at(r, path, name), text);
    return ns;
}

/* filterTimeout: searches end by the devices that they looked at; see devices/allocate.h. */
static void read_devices(struct config_reader *r, struct profile *p, const char *path,
                         const struct json *j)
{
    CONFIG_KNOWN(r, path, j, HEAD, "filterTimeout", "bindingTimeout");
    int64_t filter = read_duration(r, path, j, "filterTimeout", 0);
    int64_t binding =
        read_duration(r, path, j, "bindingTimeout", (int64_t)DEVICE_TIMEOUT_MS * 1000000);
    if (filter < 0)
        config_wrong(r, "%s: Invalid value: must be at least 0",
                     config_at(r, path, "filterTimeout"));
    if (binding < 1000000000)
        config_wrong(r, "%s: Invalid value: must be at least 1 second",
                     config_at(r, path, "bindingTimeout"));
    else
        p->device_timeout_ms = (uint64_t)binding / 1000000;
}

bool config_args(struct config_reader *r, struct sched_config *c, struct profile *p,
                 const char *path, struct str plugin, const struct json *args)
{
    if (str_eqc(plugin, "NodeResourcesFit"))
        read_fit(r, c, p, path, args);
    else if (str_eqc(plugin, "NodeResourcesBalancedAllocation"))
        read_balanced(r, p, path, args);
    else if (str_eqc(plugin, "InterPodAffinity"))
        read_inter_pod(r, p, path, args);
    else if (str_eqc(plugin, "PodTopologySpread"))
        read_spread(r, p, path, args);
    else if (str_eqc(plugin, "NodeAffinity"))
        read_node_affinity(r, p, path, args);
    else if (str_eqc(plugin, "DefaultPreemption"))
        read_preemption(r, path, args);
    else if (str_eqc(plugin, "DynamicResources"))
        read_devices(r, p, path, args);
    else if (str_eqc(plugin, "VolumeBinding"))
        read_volume_binding(r, c, path, args);
    else
        return false;
    return true;
}
