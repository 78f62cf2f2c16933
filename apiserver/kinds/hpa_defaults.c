/* hpa_defaults.c - what an autoscaler does when it is not told. Pure. */
#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/hpa.h"

#include "api/autoscaling_v2.h"
#include "lib/base/arena.h"

#define CPU_PERCENT 80
#define PERIOD_S 15

static void default_rules(struct arena *a, struct autoscaling_v2_hpa_scaling_rules **rules, bool up)
{
    if (*rules == NULL)
        *rules = ARENA_NEW(a, struct autoscaling_v2_hpa_scaling_rules);
    struct autoscaling_v2_hpa_scaling_rules *r = *rules;
    default_opt_str(&r->has_select_policy, &r->select_policy, STR("Max"));
    if (up && !r->has_stabilization_window_seconds)
        r->has_stabilization_window_seconds = true;
    if (r->policies != NULL)
        return;
    r->policies = ARENA_ARRAY(a, struct autoscaling_v2_hpa_scaling_policy, 2);
    if (up)
        r->policies[r->policies_count++] =
            (struct autoscaling_v2_hpa_scaling_policy){STR("Pods"), 4, PERIOD_S};
    r->policies[r->policies_count++] =
        (struct autoscaling_v2_hpa_scaling_policy){STR("Percent"), 100, PERIOD_S};
}

void hpa_defaults(struct arena *a, struct autoscaling_v2_horizontal_pod_autoscaler_spec *s)
{
    default_opt_int(&s->has_min_replicas, &s->min_replicas, 1);
    if (s->metrics_count == 0) {
        s->metrics = ARENA_NEW(a, struct autoscaling_v2_metric_spec);
        s->metrics_count = 1;
        s->metrics->type = STR("Resource");
        s->metrics->resource = ARENA_NEW(a, struct autoscaling_v2_resource_metric_source);
        s->metrics->resource->name = STR("cpu");
        s->metrics->resource->target =
            (struct autoscaling_v2_metric_target){.type = STR("Utilization"),
                                                  .has_average_utilization = true,
                                                  .average_utilization = CPU_PERCENT};
    }
    if (s->behavior != NULL) {
        default_rules(a, &s->behavior->scale_up, true);
        default_rules(a, &s->behavior->scale_down, false);
    }
}
