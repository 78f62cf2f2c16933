/* config_write.c - see config_write.h. */
#include "scheduler/config_write.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json_write.h"
#include "lib/base/buf.h"
#include "scheduler/config.h"
#include "scheduler/extender_wire.h"
#include "scheduler/framework.h"

#include <inttypes.h>
#include <string.h>

#define MS_PER_S 1000

/* --- pieces ----------------------------------------------------------------------------------- */

/* Before a member or an item: it may be the first. */
static void put_comma(struct buf *b)
{
    if (b->len != 0 && strchr("{[:", b->data[b->len - 1]) == NULL)
        buf_putc(b, ',');
}

static void put_text(struct buf *b, const char *text)
{
    put_comma(b);
    buf_putc(b, '"');
    json_put_escaped(str_of(text), b);
    buf_putc(b, '"');
}

static void put_name(struct buf *b, const char *name)
{
    put_text(b, name);
    buf_putc(b, ':');
}

static void begin(struct buf *b, const char *name, char bracket)
{
    if (name != NULL)
        put_name(b, name);
    else
        put_comma(b);
    buf_putc(b, bracket);
}

/* Nothing when value is NULL. */
static void member_text(struct buf *b, const char *name, const char *value)
{
    if (value == NULL)
        return;
    put_name(b, name);
    put_text(b, value);
}

static void member_int(struct buf *b, const char *name, int64_t value)
{
    put_name(b, name);
    json_put_int(value, b);
}

static void member_bool(struct buf *b, const char *name, bool value)
{
    put_name(b, name);
    buf_append_str(b, str_of(value ? "true" : "false"));
}

static void member_ms(struct buf *b, const char *name, uint64_t ms)
{
    put_name(b, name);
    buf_printf(b, "\"%" PRIu64 "ms\"", ms);
}

static void member_texts(struct buf *b, const char *name, const char *const *texts, size_t count)
{
    begin(b, name, '[');
    for (size_t i = 0; i < count; i++)
        put_text(b, texts[i]);
    buf_putc(b, ']');
}

/* --- plugins ---------------------------------------------------------------------------------- */

static void put_plugin(struct buf *b, const char *name, int64_t weight)
{
    begin(b, NULL, '{');
    member_text(b, "name", name);
    if (weight != 0)
        member_int(b, "weight", weight);
    buf_putc(b, '}');
}

/* Up to the list of those that are on. */
static void begin_point(struct buf *b, const char *point)
{
    begin(b, point, '{');
    begin(b, "disabled", '[');
    put_plugin(b, "*", 0);
    buf_putc(b, ']');
    begin(b, "enabled", '[');
}

static void put_plugins(struct buf *b, const struct profile *p)
{
    begin(b, "plugins", '{');
    begin_point(b, "filter");
    for (unsigned i = 0; i < scheduler_plugin_count; i++)
        if (p->filters[i])
            put_plugin(b, scheduler_plugins[i]->name, 0);
    buf_append_str(b, STR("]}"));
    begin_point(b, "score");
    for (unsigned i = 0; i < scheduler_plugin_count; i++)
        if (p->scores[i])
            put_plugin(b, scheduler_plugins[i]->name, p->weights[i]);
    buf_append_str(b, STR("]}"));
    begin_point(b, "postFilter");
    if (p->preempts)
        put_plugin(b, "DefaultPreemption", 0);
    buf_append_str(b, STR("]}}"));
}

/* --- their arguments ---------------------------------------------------------------------------
 */

static void begin_args(struct buf *b, const char *plugin)
{
    begin(b, NULL, '{');
    member_text(b, "name", plugin);
    begin(b, "args", '{');
}

static void end_args(struct buf *b)
{
    buf_append_str(b, STR("}}"));
}

static void put_reclaim(struct buf *b, const struct estimate_rules *r)
{
    begin(b, "reclaim", '{');
    member_int(b, "periodSeconds", (int64_t)r->period_ms / MS_PER_S);
    member_int(b, "warmUpSeconds", (int64_t)r->warm_up_ms / MS_PER_S);
    member_int(b, "halfLifeSeconds", (int64_t)r->half_life_ms / MS_PER_S);
    member_int(b, "marginPercent", r->margin_percent);
    buf_putc(b, '}');
}

static void put_shape(struct buf *b, const struct profile *p)
{
    begin(b, "requestedToCapacityRatio", '{');
    begin(b, "shape", '[');
    for (size_t i = 0; i < p->shape_count; i++) {
        begin(b, NULL, '{');
        member_int(b, "utilization", p->shape[i].utilization);
        member_int(b, "score", p->shape[i].score / (SCORE_MAX / EXTENDER_SCORE_MAX));
        buf_putc(b, '}');
    }
    buf_append_str(b, STR("]}"));
}

static void put_fit(struct buf *b, const struct sched_config *c, const struct profile *p)
{
    static const char *const strategies[] = {[FIT_LEAST_ALLOCATED] = "LeastAllocated",
                                             [FIT_MOST_ALLOCATED] = "MostAllocated",
                                             [FIT_REQUESTED_TO_CAPACITY] =
                                                 "RequestedToCapacityRatio"};
    begin_args(b, "NodeResourcesFit");
    member_texts(b, "ignoredResources", p->ignored_resources, p->ignored_resource_count);
    member_texts(b, "ignoredResourceGroups", p->ignored_groups, p->ignored_group_count);
    begin(b, "scoringStrategy", '{');
    member_text(b, "type", strategies[p->fit]);
    begin(b, "resources", '[');
    for (size_t i = 0; i < p->fit_resource_count; i++)
        put_plugin(b, p->fit_resources[i].name, p->fit_resources[i].weight);
    buf_putc(b, ']');
    if (p->fit == FIT_REQUESTED_TO_CAPACITY)
        put_shape(b, p);
    buf_putc(b, '}');
    if (p->reclaims)
        put_reclaim(b, &c->reclaim);
    end_args(b);
}

static void put_message(struct buf *b, const struct api_msg *m, const void *msg)
{
    api_json_encode(m, msg, STR_NULL, STR_NULL, b);
}

static void put_spread(struct buf *b, const struct profile *p)
{
    begin_args(b, "PodTopologySpread");
    member_text(b, "defaultingType", p->system_spread ? "System" : "List");
    begin(b, "defaultConstraints", '[');
    for (size_t i = 0; i < p->spread_count; i++) {
        put_comma(b);
        put_message(b, &core_v1_topology_spread_constraint_msg, &p->spread[i]);
    }
    buf_putc(b, ']');
    end_args(b);
}

static void put_plugin_config(struct buf *b, const struct sched_config *c, const struct profile *p)
{
    begin(b, "pluginConfig", '[');
    put_fit(b, c, p);
    begin_args(b, "NodeResourcesBalancedAllocation");
    begin(b, "resources", '[');
    for (size_t i = 0; i < p->balanced_count; i++)
        put_plugin(b, p->balanced[i], 1);
    buf_putc(b, ']');
    end_args(b);
    begin_args(b, "InterPodAffinity");
    member_int(b, "hardPodAffinityWeight", p->hard_affinity_weight);
    member_bool(b, "ignorePreferredTermsOfExistingPods", p->ignores_existing_preferences);
    end_args(b);
    put_spread(b, p);
    begin_args(b, "NodeAffinity");
    if (p->added_affinity != NULL) {
        put_name(b, "addedAffinity");
        put_message(b, &core_v1_node_affinity_msg, p->added_affinity);
    }
    end_args(b);
    begin_args(b, "VolumeBinding");
    member_int(b, "bindTimeoutSeconds", (int64_t)c->bind_timeout_ms / MS_PER_S);
    end_args(b);
    begin_args(b, "DynamicResources");
    member_ms(b, "bindingTimeout", p->device_timeout_ms);
    end_args(b);
    buf_putc(b, ']');
}

/* --- the document ------------------------------------------------------------------------------
 */

static void put_tls(struct buf *b, const struct extender_config *e)
{
    begin(b, "tlsConfig", '{');
    member_bool(b, "insecure", e->insecure);
    member_text(b, "serverName", e->server_name);
    member_text(b, "certFile", e->cert_file);
    member_text(b, "keyFile", e->key_file);
    member_text(b, "caFile", e->ca_file);
    buf_putc(b, '}');
}

static void put_extender(struct buf *b, const struct extender_config *e)
{
    begin(b, NULL, '{');
    member_text(b, "urlPrefix", e->url);
    member_text(b, "filterVerb", e->filter);
    member_text(b, "prioritizeVerb", e->prioritize);
    member_text(b, "preemptVerb", e->preempt);
    member_text(b, "bindVerb", e->bind);
    member_int(b, "weight", e->weight);
    member_ms(b, "httpTimeout", e->timeout_ms);
    member_bool(b, "nodeCacheCapable", e->node_cache_capable);
    member_bool(b, "ignorable", e->ignorable);
    member_bool(b, "enableHTTPS", e->https);
    put_tls(b, e);
    begin(b, "managedResources", '[');
    for (size_t i = 0; i < e->managed_count; i++)
        put_plugin(b, e->managed[i], 0);
    buf_append_str(b, STR("]}"));
}

void sched_config_write(const struct sched_config *c, struct buf *b)
{
    begin(b, NULL, '{');
    member_text(b, "apiVersion", SCHED_CONFIG_VERSION);
    member_text(b, "kind", SCHED_CONFIG_KIND);
    member_int(b, "podInitialBackoffSeconds", (int64_t)c->backoff_min_ms / MS_PER_S);
    member_int(b, "podMaxBackoffSeconds", (int64_t)c->backoff_max_ms / MS_PER_S);
    begin(b, "profiles", '[');
    for (size_t i = 0; i < c->profile_count; i++) {
        const struct profile *p = &c->profiles[i];
        begin(b, NULL, '{');
        member_text(b, "schedulerName", p->name);
        member_int(b, "percentageOfNodesToScore", p->percentage);
        put_plugins(b, p);
        put_plugin_config(b, c, p);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
    begin(b, "extenders", '[');
    for (size_t i = 0; i < c->extender_count; i++)
        put_extender(b, &c->extenders[i]);
    buf_append_str(b, STR("]}"));
}
