/* convert.c - see convert.h.
 *
 * Events: events.k8s.io/v1 renames fields of core/v1, where they are stored.
 * Autoscalers: autoscaling/v1 knows one CPU target; the rest of autoscaling/v2
 * travels in annotations, as upstream has it, so that nothing is lost when a
 * client reads and writes the old version. */
#include "apiserver/convert.h"

#include "api/autoscaling_v1.h"
#include "api/autoscaling_v2.h"
#include "api/core_v1.h"
#include "api/events_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <ctype.h>
#include <inttypes.h>

#define METRICS_ANNOTATION "autoscaling.alpha.kubernetes.io/metrics"
#define BEHAVIOR_ANNOTATION "autoscaling.alpha.kubernetes.io/behavior"
#define CONDITIONS_ANNOTATION "autoscaling.alpha.kubernetes.io/conditions"

static_assert(sizeof(struct core_v1_event_series) == sizeof(struct events_v1_event_series),
              "same shape");

static void *event_to_core(struct arena *a, const struct events_v1_event *e)
{
    struct core_v1_event *c = ARENA_NEW(a, struct core_v1_event);
    *c = (struct core_v1_event){
        .metadata = e->metadata,
        .involved_object = e->regarding,
        .reason = e->reason,
        .message = e->note,
        .source = e->deprecated_source,
        .first_timestamp = e->deprecated_first_timestamp,
        .last_timestamp = e->deprecated_last_timestamp,
        .type = e->type,
        .event_time = e->event_time,
        .action = e->action,
        .related = e->related,
        .reporting_component = e->reporting_controller,
        .reporting_instance = e->reporting_instance,
        .count = e->deprecated_count,
    };
    if (e->series != NULL) {
        c->series = ARENA_NEW(a, struct core_v1_event_series);
        c->series->count = e->series->count;
        c->series->last_observed_time = e->series->last_observed_time;
    }
    return c;
}

static void *event_from_core(struct arena *a, const struct core_v1_event *c)
{
    struct events_v1_event *e = ARENA_NEW(a, struct events_v1_event);
    *e = (struct events_v1_event){
        .metadata = c->metadata,
        .regarding = c->involved_object,
        .reason = c->reason,
        .note = c->message,
        .deprecated_source = c->source,
        .deprecated_first_timestamp = c->first_timestamp,
        .deprecated_last_timestamp = c->last_timestamp,
        .type = c->type,
        .event_time = c->event_time,
        .action = c->action,
        .related = c->related,
        .reporting_controller = c->reporting_component,
        .reporting_instance = c->reporting_instance,
        .deprecated_count = c->count,
    };
    if (c->series != NULL) {
        e->series = ARENA_NEW(a, struct events_v1_event_series);
        e->series->count = c->series->count;
        e->series->last_observed_time = c->series->last_observed_time;
    }
    return e;
}

/* --- autoscalers ------------------------------------------------------------------ */
static void annotate(struct arena *a, struct meta_v1_object_meta *m, const char *key,
                     struct str value)
{
    struct api_str_entry *e = ARENA_ARRAY(a, struct api_str_entry, m->annotations_count + 1);
    size_t n = 0, i = 0;
    for (; i < m->annotations_count && str_cmp(m->annotations[i].key, str_of(key)) < 0; i++)
        e[n++] = m->annotations[i];
    e[n++] = (struct api_str_entry){str_of(key), value};
    for (; i < m->annotations_count; i++)
        if (!str_eqc(m->annotations[i].key, key))
            e[n++] = m->annotations[i];
    m->annotations = e;
    m->annotations_count = n;
}

/* The annotation's value, taken out of the metadata; empty when absent. */
static struct str unannotate(struct arena *a, struct meta_v1_object_meta *m, const char *key)
{
    struct str found = STR_NULL;
    struct api_str_entry *e = ARENA_ARRAY(a, struct api_str_entry, m->annotations_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < m->annotations_count; i++) {
        if (str_eqc(m->annotations[i].key, key))
            found = m->annotations[i].value;
        else
            e[n++] = m->annotations[i];
    }
    m->annotations = e;
    m->annotations_count = n;
    return found;
}

static bool is_cpu_target(const struct autoscaling_v2_metric_spec *m)
{
    return str_eqc(m->type, "Resource") && m->resource != NULL &&
           str_eqc(m->resource->name, "cpu") && m->resource->target.has_average_utilization;
}

/* A metric in the form of autoscaling/v1, which only the annotation shows. */
static void metric_to_v1(struct arena *a, const struct autoscaling_v2_metric_spec *m,
                         struct autoscaling_v1_metric_spec *ret)
{
    *ret = (struct autoscaling_v1_metric_spec){.type = m->type};
    if (m->resource != NULL) {
        const struct autoscaling_v2_metric_target *t = &m->resource->target;
        ret->resource = ARENA_NEW(a, struct autoscaling_v1_resource_metric_source);
        *ret->resource = (struct autoscaling_v1_resource_metric_source){
            .name = m->resource->name,
            .target_average_value = t->average_value,
            .has_target_average_utilization = t->has_average_utilization,
            .target_average_utilization = t->average_utilization};
    }
    if (m->container_resource != NULL) {
        const struct autoscaling_v2_metric_target *t = &m->container_resource->target;
        ret->container_resource =
            ARENA_NEW(a, struct autoscaling_v1_container_resource_metric_source);
        *ret->container_resource = (struct autoscaling_v1_container_resource_metric_source){
            .name = m->container_resource->name,
            .container = m->container_resource->container,
            .target_average_value = t->average_value,
            .has_target_average_utilization = t->has_average_utilization,
            .target_average_utilization = t->average_utilization};
    }
    if (m->pods != NULL) {
        ret->pods = ARENA_NEW(a, struct autoscaling_v1_pods_metric_source);
        ret->pods->metric_name = m->pods->metric.name;
        ret->pods->selector = m->pods->metric.selector;
        if (m->pods->target.average_value != NULL)
            ret->pods->target_average_value = *m->pods->target.average_value;
    }
    if (m->external != NULL) {
        ret->external = ARENA_NEW(a, struct autoscaling_v1_external_metric_source);
        *ret->external = (struct autoscaling_v1_external_metric_source){
            .metric_name = m->external->metric.name,
            .metric_selector = m->external->metric.selector,
            .target_value = m->external->target.value,
            .target_average_value = m->external->target.average_value};
    }
    if (m->object != NULL) {
        const struct autoscaling_v2_cross_version_object_reference *d =
            &m->object->described_object;
        ret->object = ARENA_NEW(a, struct autoscaling_v1_object_metric_source);
        ret->object->target.kind = d->kind;
        ret->object->target.name = d->name;
        ret->object->target.api_version = d->api_version;
        ret->object->metric_name = m->object->metric.name;
        ret->object->selector = m->object->metric.selector;
        ret->object->average_value = m->object->target.average_value;
        if (m->object->target.value != NULL)
            ret->object->target_value = *m->object->target.value;
    }
}

static struct autoscaling_v2_metric_target target_of(struct resource_quantity *value,
                                                     struct resource_quantity *average)
{
    return (struct autoscaling_v2_metric_target){.type = average != NULL ? STR("AverageValue")
                                                                         : STR("Value"),
                                                 .value = average != NULL ? NULL : value,
                                                 .average_value = average};
}

static struct autoscaling_v2_metric_target usage_target(struct resource_quantity *average,
                                                        bool has_utilization, int32_t utilization)
{
    struct autoscaling_v2_metric_target t = target_of(NULL, average);
    t.has_average_utilization = has_utilization;
    t.average_utilization = utilization;
    if (has_utilization)
        t.type = STR("Utilization");
    return t;
}

static void metric_to_v2(struct arena *a, struct autoscaling_v1_metric_spec *m,
                         struct autoscaling_v2_metric_spec *ret)
{
    *ret = (struct autoscaling_v2_metric_spec){.type = m->type};
    if (m->resource != NULL) {
        ret->resource = ARENA_NEW(a, struct autoscaling_v2_resource_metric_source);
        ret->resource->name = m->resource->name;
        ret->resource->target = usage_target(m->resource->target_average_value,
                                             m->resource->has_target_average_utilization,
                                             m->resource->target_average_utilization);
    }
    if (m->container_resource != NULL) {
        ret->container_resource =
            ARENA_NEW(a, struct autoscaling_v2_container_resource_metric_source);
        ret->container_resource->name = m->container_resource->name;
        ret->container_resource->container = m->container_resource->container;
        ret->container_resource->target =
            usage_target(m->container_resource->target_average_value,
                         m->container_resource->has_target_average_utilization,
                         m->container_resource->target_average_utilization);
    }
    if (m->pods != NULL) {
        ret->pods = ARENA_NEW(a, struct autoscaling_v2_pods_metric_source);
        ret->pods->metric.name = m->pods->metric_name;
        ret->pods->metric.selector = m->pods->selector;
        ret->pods->target = target_of(NULL, &m->pods->target_average_value);
    }
    if (m->external != NULL) {
        ret->external = ARENA_NEW(a, struct autoscaling_v2_external_metric_source);
        ret->external->metric.name = m->external->metric_name;
        ret->external->metric.selector = m->external->metric_selector;
        ret->external->target =
            target_of(m->external->target_value, m->external->target_average_value);
    }
    if (m->object != NULL) {
        ret->object = ARENA_NEW(a, struct autoscaling_v2_object_metric_source);
        ret->object->described_object.kind = m->object->target.kind;
        ret->object->described_object.name = m->object->target.name;
        ret->object->described_object.api_version = m->object->target.api_version;
        ret->object->metric.name = m->object->metric_name;
        ret->object->metric.selector = m->object->selector;
        ret->object->target = target_of(&m->object->target_value, m->object->average_value);
    }
}

/* The behavior as upstream writes it there: with the names of Go's fields. */
static void write_rules(const char *name, const struct autoscaling_v2_hpa_scaling_rules *r,
                        struct buf *b)
{
    buf_printf(b, "\"%s\":", name);
    if (r == NULL) {
        buf_puts(b, "null");
        return;
    }
    if (r->has_stabilization_window_seconds)
        buf_printf(b, "{\"StabilizationWindowSeconds\":%" PRId32, r->stabilization_window_seconds);
    else
        buf_puts(b, "{\"StabilizationWindowSeconds\":null");
    buf_puts(b, ",\"SelectPolicy\":");
    if (r->has_select_policy)
        json_write_string(r->select_policy, b);
    else
        buf_puts(b, "null");
    buf_puts(b, r->policies_count == 0 ? ",\"Policies\":null" : ",\"Policies\":[");
    for (size_t i = 0; i < r->policies_count; i++) {
        buf_puts(b, i == 0 ? "{\"Type\":" : ",{\"Type\":");
        json_write_string(r->policies[i].type, b);
        buf_printf(b, ",\"Value\":%" PRId32 ",\"PeriodSeconds\":%" PRId32 "}", r->policies[i].value,
                   r->policies[i].period_seconds);
    }
    buf_puts(b, r->policies_count == 0 ? ",\"Tolerance\":" : "],\"Tolerance\":");
    if (r->tolerance != NULL)
        json_write_string(r->tolerance->string, b);
    else
        buf_puts(b, "null");
    buf_putc(b, '}');
}

/* Names of Go's fields to those of JSON. */
static void lower_names(struct arena *a, struct json *j)
{
    for (size_t i = 0; j->type == JSON_OBJECT && i < j->object.count; i++) {
        struct json_member *m = &j->object.members[i];
        if (m->key.len == 0)
            continue;
        m->key = arena_printf(a, "%c" STR_FMT, tolower((unsigned char)m->key.data[0]),
                              STR_ARG(str_sub(m->key, 1, m->key.len)));
        lower_names(a, m->value); /* As deep as json_parse allows. */
    }
    for (size_t i = 0; j->type == JSON_ARRAY && i < j->array.count; i++)
        lower_names(a, j->array.items[i]);
}

static void *hpa_to_v1(struct arena *a, const struct autoscaling_v2_horizontal_pod_autoscaler *h)
{
    struct autoscaling_v1_horizontal_pod_autoscaler *o =
        ARENA_NEW(a, struct autoscaling_v1_horizontal_pod_autoscaler);
    AUTO_BUF others = BUF_INIT;
    o->metadata = h->metadata;
    o->spec.scale_target_ref.kind = h->spec.scale_target_ref.kind;
    o->spec.scale_target_ref.name = h->spec.scale_target_ref.name;
    o->spec.scale_target_ref.api_version = h->spec.scale_target_ref.api_version;
    o->spec.has_min_replicas = h->spec.has_min_replicas;
    o->spec.min_replicas = h->spec.min_replicas;
    o->spec.max_replicas = h->spec.max_replicas;
    for (size_t i = 0; i < h->spec.metrics_count; i++) {
        const struct autoscaling_v2_metric_spec *m = &h->spec.metrics[i];
        if (is_cpu_target(m) && !o->spec.has_target_cpu_utilization_percentage) {
            o->spec.has_target_cpu_utilization_percentage = true;
            o->spec.target_cpu_utilization_percentage = m->resource->target.average_utilization;
            continue;
        }
        struct autoscaling_v1_metric_spec shown;
        metric_to_v1(a, m, &shown);
        buf_putc(&others, others.len == 0 ? '[' : ',');
        api_json_encode(&autoscaling_v1_metric_spec_msg, &shown, STR_NULL, STR_NULL, &others);
    }
    if (others.len != 0) {
        buf_putc(&others, ']');
        annotate(a, &o->metadata, METRICS_ANNOTATION, arena_str(a, buf_str(&others)));
    }
    if (h->spec.behavior != NULL) {
        AUTO_BUF b = BUF_INIT;
        buf_putc(&b, '{');
        write_rules("ScaleUp", h->spec.behavior->scale_up, &b);
        buf_putc(&b, ',');
        write_rules("ScaleDown", h->spec.behavior->scale_down, &b);
        buf_putc(&b, '}');
        annotate(a, &o->metadata, BEHAVIOR_ANNOTATION, arena_str(a, buf_str(&b)));
    }
    if (h->status.conditions_count != 0) {
        AUTO_BUF b = BUF_INIT;
        for (size_t i = 0; i < h->status.conditions_count; i++) {
            buf_putc(&b, i == 0 ? '[' : ',');
            api_json_encode(&autoscaling_v2_horizontal_pod_autoscaler_condition_msg,
                            &h->status.conditions[i], STR_NULL, STR_NULL, &b);
        }
        buf_putc(&b, ']');
        annotate(a, &o->metadata, CONDITIONS_ANNOTATION, arena_str(a, buf_str(&b)));
    }
    o->status.has_observed_generation = h->status.has_observed_generation;
    o->status.observed_generation = h->status.observed_generation;
    o->status.last_scale_time = h->status.last_scale_time;
    o->status.current_replicas = h->status.current_replicas;
    o->status.desired_replicas = h->status.desired_replicas;
    for (size_t i = 0; i < h->status.current_metrics_count; i++) {
        const struct autoscaling_v2_metric_status *m = &h->status.current_metrics[i];
        if (m->resource != NULL && str_eqc(m->resource->name, "cpu") &&
            m->resource->current.has_average_utilization) {
            o->status.has_current_cpu_utilization_percentage = true;
            o->status.current_cpu_utilization_percentage = m->resource->current.average_utilization;
        }
    }
    return o;
}

static size_t metrics_of_annotation(struct arena *a, struct str text,
                                    struct autoscaling_v2_metric_spec **ret)
{
    struct json *j;
    if (text.len == 0 || json_parse(a, text, &j, NULL) != 0 || j->type != JSON_ARRAY)
        return 0;
    struct autoscaling_v2_metric_spec *m =
        ARENA_ARRAY(a, struct autoscaling_v2_metric_spec, j->array.count + 1);
    size_t n = 0;
    for (size_t i = 0; i < j->array.count; i++) {
        struct autoscaling_v1_metric_spec *v1 = api_msg_new(a, &autoscaling_v1_metric_spec_msg);
        if (api_json_decode_tree(a, &autoscaling_v1_metric_spec_msg, j->array.items[i], API_LENIENT,
                                 NULL, v1, NULL) == 0)
            metric_to_v2(a, v1, &m[n++]);
    }
    *ret = m;
    return n;
}

static void conditions_of_annotation(struct arena *a, struct str text,
                                     struct autoscaling_v2_horizontal_pod_autoscaler *h)
{
    struct json *j;
    if (text.len == 0 || json_parse(a, text, &j, NULL) != 0 || j->type != JSON_ARRAY)
        return;
    h->status.conditions = ARENA_ARRAY(a, struct autoscaling_v2_horizontal_pod_autoscaler_condition,
                                       j->array.count + 1);
    for (size_t i = 0; i < j->array.count; i++)
        if (api_json_decode_tree(a, &autoscaling_v2_horizontal_pod_autoscaler_condition_msg,
                                 j->array.items[i], API_LENIENT, NULL,
                                 &h->status.conditions[h->status.conditions_count], NULL) == 0)
            h->status.conditions_count++;
}

static void *hpa_to_v2(struct arena *a, const struct autoscaling_v1_horizontal_pod_autoscaler *o)
{
    struct autoscaling_v2_horizontal_pod_autoscaler *h =
        ARENA_NEW(a, struct autoscaling_v2_horizontal_pod_autoscaler);
    struct autoscaling_v2_metric_spec *others = NULL;
    h->metadata = o->metadata;
    size_t n = metrics_of_annotation(a, unannotate(a, &h->metadata, METRICS_ANNOTATION), &others);
    struct str behavior = unannotate(a, &h->metadata, BEHAVIOR_ANNOTATION);
    h->spec.scale_target_ref.kind = o->spec.scale_target_ref.kind;
    h->spec.scale_target_ref.name = o->spec.scale_target_ref.name;
    h->spec.scale_target_ref.api_version = o->spec.scale_target_ref.api_version;
    h->spec.has_min_replicas = o->spec.has_min_replicas;
    h->spec.min_replicas = o->spec.min_replicas;
    h->spec.max_replicas = o->spec.max_replicas;
    h->spec.metrics = ARENA_ARRAY(a, struct autoscaling_v2_metric_spec, n + 1);
    if (o->spec.has_target_cpu_utilization_percentage) {
        struct autoscaling_v2_metric_spec *m = &h->spec.metrics[h->spec.metrics_count++];
        m->type = STR("Resource");
        m->resource = ARENA_NEW(a, struct autoscaling_v2_resource_metric_source);
        m->resource->name = STR("cpu");
        m->resource->target.type = STR("Utilization");
        m->resource->target.has_average_utilization = true;
        m->resource->target.average_utilization = o->spec.target_cpu_utilization_percentage;
    }
    for (size_t i = 0; i < n; i++)
        h->spec.metrics[h->spec.metrics_count++] = others[i];
    if (behavior.len != 0) {
        void *b = api_msg_new(a, &autoscaling_v2_horizontal_pod_autoscaler_behavior_msg);
        struct json *j;
        if (json_parse(a, behavior, &j, NULL) == 0) {
            lower_names(a, j);
            if (api_json_decode_tree(a, &autoscaling_v2_horizontal_pod_autoscaler_behavior_msg, j,
                                     API_LENIENT, NULL, b, NULL) == 0)
                h->spec.behavior = b;
        }
    }
    conditions_of_annotation(a, unannotate(a, &h->metadata, CONDITIONS_ANNOTATION), h);
    h->status.has_observed_generation = o->status.has_observed_generation;
    h->status.observed_generation = o->status.observed_generation;
    h->status.last_scale_time = o->status.last_scale_time;
    h->status.current_replicas = o->status.current_replicas;
    h->status.desired_replicas = o->status.desired_replicas;
    if (o->status.has_current_cpu_utilization_percentage) {
        struct autoscaling_v2_metric_status *m = ARENA_NEW(a, struct autoscaling_v2_metric_status);
        m->type = STR("Resource");
        m->resource = ARENA_NEW(a, struct autoscaling_v2_resource_metric_status);
        m->resource->name = STR("cpu");
        m->resource->current.has_average_utilization = true;
        m->resource->current.average_utilization = o->status.current_cpu_utilization_percentage;
        h->status.current_metrics = m;
        h->status.current_metrics_count = 1;
    }
    return h;
}

void *convert_object(struct arena *a, const struct api_kind *from, const struct api_kind *to,
                     const void *obj)
{
    if (from->msg == &events_v1_event_msg && to->msg == &core_v1_event_msg)
        return event_to_core(a, obj);
    if (from->msg == &core_v1_event_msg && to->msg == &events_v1_event_msg)
        return event_from_core(a, obj);
    if (from->msg == &autoscaling_v1_horizontal_pod_autoscaler_msg)
        return hpa_to_v2(a, obj);
    if (from->msg == &autoscaling_v2_horizontal_pod_autoscaler_msg)
        return hpa_to_v1(a, obj);
    PANIC("no conversion from %s to %s", from->msg->full_name, to->msg->full_name);
}
