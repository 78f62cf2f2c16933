/* hpa_source.c - see hpa_source.h. Texts are upstream's. */
#include "controllers/hpa_source.h"

#include "api/meta_v1.h"
#include "api/resource.h"
#include "controllers/hpa_metrics.h"
#include "lib/api/quantity.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/client/client.h"
#include "lib/net/url.h"

#include <math.h>

enum source_type { BY_RESOURCE, BY_CONTAINER, BY_PODS, BY_OBJECT, BY_EXTERNAL, BY_NOTHING };

static enum source_type type_of(const struct hpa_source *s)
{
    const struct autoscaling_v2_metric_spec *m = s->spec;
    if (str_eqc(m->type, "Resource") && m->resource != NULL)
        return BY_RESOURCE;
    if (str_eqc(m->type, "ContainerResource") && m->container_resource != NULL)
        return BY_CONTAINER;
    if (str_eqc(m->type, "Pods") && m->pods != NULL)
        return BY_PODS;
    if (str_eqc(m->type, "Object") && m->object != NULL)
        return BY_OBJECT;
    return str_eqc(m->type, "External") && m->external != NULL ? BY_EXTERNAL : BY_NOTHING;
}

const char *hpa_source_reason(const struct hpa_source *s)
{
    static const char *const reasons[] = {
        [BY_RESOURCE] = "FailedGetResourceMetric",
        [BY_CONTAINER] = "FailedGetContainerResourceMetric",
        [BY_PODS] = "FailedGetPodsMetric",
        [BY_OBJECT] = "FailedGetObjectMetric",
        [BY_EXTERNAL] = "FailedGetExternalMetric",
        [BY_NOTHING] = "InvalidMetricSourceType",
    };
    return reasons[type_of(s)];
}

static const struct autoscaling_v2_metric_identifier *identifier_of(const struct hpa_source *s)
{
    switch (type_of(s)) {
    case BY_PODS:
        return &s->spec->pods->metric;
    case BY_OBJECT:
        return &s->spec->object->metric;
    case BY_EXTERNAL:
        return &s->spec->external->metric;
    case BY_RESOURCE:
    case BY_CONTAINER:
    case BY_NOTHING:
        break;
    }
    return NULL;
}

/* --- asking ------------------------------------------------------------------------------ */
static void put_query(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, "%c%s=", memchr(b->data, '?', b->len) == NULL ? '?' : '&', name);
    url_escape_query(b, value);
}

static int metric_selector(struct arena *a, const struct hpa_source *s, struct str *ret,
                           struct error *err)
{
    const struct autoscaling_v2_metric_identifier *id = identifier_of(s);
    struct api_label_selector parsed;
    *ret = STR_NULL;
    if (id == NULL || id->selector == NULL)
        return 0;
    int rc = api_label_selector_from(a, id->selector, &parsed, err);
    if (rc == 0)
        *ret = api_label_selector_text(a, &parsed);
    return rc;
}

#define CUSTOM_ROOT "/apis/custom.metrics.k8s.io/v1beta2/"

static void put_object_path(struct buf *b, const struct hpa_source *s, const struct hpa_target *t,
                            struct str resource, bool namespaced)
{
    const struct autoscaling_v2_object_metric_source *o = s->spec->object;
    if (str_eqc(o->described_object.kind, "Namespace") &&
        str_find(o->described_object.api_version, '/', 0) < 0) {
        buf_printf(b, CUSTOM_ROOT "namespaces/" STR_FMT "/metrics/", STR_ARG(t->namespace_name));
    } else {
        buf_puts(b, CUSTOM_ROOT);
        if (namespaced)
            buf_printf(b, "namespaces/" STR_FMT "/", STR_ARG(t->namespace_name));
        buf_printf(b, STR_FMT "/" STR_FMT "/", STR_ARG(resource),
                   STR_ARG(o->described_object.name));
    }
    url_escape_path_segment(b, o->metric.name);
}

int hpa_source_path(struct arena *a, const struct hpa_source *s, const struct hpa_target *t,
                    struct str resource, bool namespaced, struct str *ret, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    struct str selector;
    int rc = metric_selector(a, s, &selector, err);
    if (rc != 0)
        return rc;
    switch (type_of(s)) {
    case BY_RESOURCE:
    case BY_CONTAINER:
        buf_printf(&b, "/apis/metrics.k8s.io/v1beta1/namespaces/" STR_FMT "/pods",
                   STR_ARG(t->namespace_name));
        put_query(&b, "labelSelector", t->selector);
        break;
    case BY_PODS:
        buf_printf(&b, CUSTOM_ROOT "namespaces/" STR_FMT "/pods/*/", STR_ARG(t->namespace_name));
        url_escape_path_segment(&b, s->spec->pods->metric.name);
        put_query(&b, "labelSelector", t->selector);
        if (selector.len != 0)
            put_query(&b, "metricLabelSelector", selector);
        break;
    case BY_OBJECT:
        put_object_path(&b, s, t, resource, namespaced);
        if (selector.len != 0)
            put_query(&b, "metricLabelSelector", selector);
        break;
    case BY_EXTERNAL:
        buf_printf(&b, "/apis/external.metrics.k8s.io/v1beta1/namespaces/" STR_FMT "/",
                   STR_ARG(t->namespace_name));
        url_escape_path_segment(&b, s->spec->external->metric.name);
        if (selector.len != 0)
            put_query(&b, "labelSelector", selector);
        break;
    case BY_NOTHING:
        return error_set(err, E_INVALID, "unknown metric source type \"" STR_FMT "\"",
                         STR_ARG(s->spec->type));
    }
    *ret = arena_str(a, buf_str(&b));
    return 0;
}

/* --- answers ------------------------------------------------------------------------------ */
static struct resource_quantity *milli_quantity(struct arena *a, int64_t milli)
{
    struct resource_quantity *r = ARENA_NEW(a, struct resource_quantity);
    struct quantity q = quantity_from_milli(milli, QUANTITY_DECIMAL_SI);
    quantity_store(a, &q, r);
    return r;
}

static int64_t milli(const struct resource_quantity *r)
{
    struct quantity q = quantity_of(r);
    return quantity_milli_value(&q);
}

/* As Go prints a *metav1.LabelSelector. */
static struct str selector_for_people(struct arena *a, const struct meta_v1_label_selector *s)
{
    AUTO_BUF b = BUF_INIT;
    if (s == NULL)
        return STR("nil");
    buf_puts(&b, "&LabelSelector{MatchLabels:map[string]string{");
    for (size_t i = 0; i < s->match_labels_count; i++)
        buf_printf(&b, STR_FMT ": " STR_FMT ",", STR_ARG(s->match_labels[i].key),
                   STR_ARG(s->match_labels[i].value));
    buf_puts(&b, "},MatchExpressions:[]LabelSelectorRequirement{");
    for (size_t i = 0; i < s->match_expressions_count; i++) {
        const struct meta_v1_label_selector_requirement *r = &s->match_expressions[i];
        buf_printf(&b, "LabelSelectorRequirement{Key:" STR_FMT ",Operator:" STR_FMT ",Values:[",
                   STR_ARG(r->key), STR_ARG(r->operator));
        for (size_t k = 0; k < r->values_count; k++)
            buf_printf(&b, "%s" STR_FMT, k == 0 ? "" : " ", STR_ARG(r->values[k]));
        buf_puts(&b, "],},");
    }
    buf_puts(&b, "},}");
    return arena_str(a, buf_str(&b));
}

static struct str external_name(struct arena *a, const struct autoscaling_v2_metric_identifier *id)
{
    struct str selector = selector_for_people(a, id->selector);
    return arena_printf(a, "external metric " STR_FMT "(" STR_FMT ")", STR_ARG(id->name),
                        STR_ARG(selector));
}

/* Says first which metric could not be had. Returns the error's code. */
static int unable(const struct hpa_source *s, const struct hpa_target *t, struct arena *a,
                  struct error *err)
{
    const struct autoscaling_v2_metric_identifier *id = identifier_of(s);
    switch (type_of(s)) {
    case BY_RESOURCE:
    case BY_CONTAINER:
        return error_prefix(err, "unable to get metrics for resource " STR_FMT,
                            STR_ARG(type_of(s) == BY_RESOURCE ? s->spec->resource->name
                                                              : s->spec->container_resource->name));
    case BY_PODS:
        return error_prefix(err, "unable to get metric " STR_FMT, STR_ARG(id->name));
    case BY_OBJECT:
        return error_prefix(
            err, "unable to get metric " STR_FMT " on " STR_FMT " " STR_FMT "/" STR_FMT,
            STR_ARG(id->name), STR_ARG(s->spec->object->described_object.kind),
            STR_ARG(t->namespace_name), STR_ARG(s->spec->object->described_object.name));
    case BY_EXTERNAL:
        return error_prefix(err, "unable to get external metric " STR_FMT "/" STR_FMT "/" STR_FMT,
                            STR_ARG(t->namespace_name), STR_ARG(id->name),
                            STR_ARG(selector_for_people(a, id->selector)));
    case BY_NOTHING:
        break;
    }
    return error_set(err, E_INVALID, "unknown metric source type \"" STR_FMT "\"",
                     STR_ARG(s->spec->type));
}

static int by_resource(struct hpa_source *s, const struct hpa_target *t, struct hpa_question *q,
                       struct str body, struct error *err)
{
    const struct autoscaling_v2_resource_metric_source *r = s->spec->resource;
    const struct autoscaling_v2_container_resource_metric_source *c = s->spec->container_resource;
    bool whole = type_of(s) == BY_RESOURCE;
    const struct autoscaling_v2_metric_target *target = whole ? &r->target : &c->target;
    struct hpa_metrics metrics;
    struct hpa_answer x;
    q->resource = whole ? r->name : c->name;
    q->container = whole ? STR_NULL : c->container;
    int rc = hpa_metrics_resource(q->arena, body, q->resource, q->container, &metrics, err);
    if (rc != 0)
        return unable(s, t, q->arena, err);
    q->metrics = metrics.items;
    q->metric_count = metrics.count;
    if (target->average_value != NULL)
        rc = hpa_by_average(q, milli(target->average_value), &x, err);
    else if (target->has_average_utilization)
        rc = hpa_by_utilization(q, target->average_utilization, &x, err);
    else
        return error_set(
            err, E_INVALID,
            "invalid resource metric source: neither an average utilization target nor an average "
            "value target was set");
    if (rc != 0)
        return rc;
    s->replicas = x.replicas;
    struct autoscaling_v2_metric_value_status current = {
        .has_average_utilization = target->average_value == NULL,
        .average_utilization = x.utilization,
        .average_value = milli_quantity(q->arena, x.average)};
    s->name = arena_printf(
        q->arena, STR_FMT " %sresource%s", STR_ARG(q->resource), whole ? "" : "container ",
        target->average_value == NULL ? " utilization (percentage of request)" : "");
    if (whole) {
        s->status.resource = ARENA_NEW(q->arena, struct autoscaling_v2_resource_metric_status);
        *s->status.resource = (struct autoscaling_v2_resource_metric_status){r->name, current};
    } else {
        s->status.container_resource =
            ARENA_NEW(q->arena, struct autoscaling_v2_container_resource_metric_status);
        *s->status.container_resource = (struct autoscaling_v2_container_resource_metric_status){
            .name = c->name, .current = current, .container = c->container};
    }
    return 0;
}

static int by_pods(struct hpa_source *s, const struct hpa_target *t, struct hpa_question *q,
                   struct str body, struct error *err)
{
    const struct autoscaling_v2_pods_metric_source *p = s->spec->pods;
    struct hpa_metrics metrics;
    struct hpa_answer x;
    int rc = hpa_metrics_pods(q->arena, body, &metrics, err);
    if (rc != 0)
        return unable(s, t, q->arena, err);
    q->metrics = metrics.items;
    q->metric_count = metrics.count;
    if (p->target.average_value == NULL)
        return error_set(err, E_INVALID,
                         "invalid pods metric source: no average value target was set");
    rc = hpa_by_average(q, milli(p->target.average_value), &x, err);
    if (rc != 0)
        return rc;
    s->replicas = x.replicas;
    s->name = arena_printf(q->arena, "pods metric " STR_FMT, STR_ARG(p->metric.name));
    s->status.pods = ARENA_NEW(q->arena, struct autoscaling_v2_pods_metric_status);
    s->status.pods->metric = p->metric;
    s->status.pods->current.average_value = milli_quantity(q->arena, x.average);
    return 0;
}

/* A total against a target of either form. */
static int by_total(struct hpa_source *s, const struct hpa_target *t, struct hpa_question *q,
                    const struct autoscaling_v2_metric_target *target, int64_t total,
                    struct autoscaling_v2_metric_value_status *ret, struct error *err)
{
    struct hpa_answer x;
    if (target->average_value != NULL) {
        hpa_by_share(q, total, milli(target->average_value), t->status_replicas, &x);
        s->replicas = x.replicas;
        ret->average_value = milli_quantity(q->arena, x.average);
        return 0;
    }
    ret->value = milli_quantity(q->arena, total);
    return hpa_by_ratio(q, (double)total / (double)milli(target->value), &s->replicas, err);
}

static int by_object(struct hpa_source *s, const struct hpa_target *t, struct hpa_question *q,
                     struct str body, struct error *err)
{
    const struct autoscaling_v2_object_metric_source *o = s->spec->object;
    int64_t total;
    int rc = hpa_metrics_object(q->arena, body, &total, err);
    if (rc != 0)
        return unable(s, t, q->arena, err);
    if (o->target.value == NULL && o->target.average_value == NULL)
        return error_set(err, E_INVALID,
                         "invalid object metric source: neither a value target nor an average "
                         "value target was set");
    s->status.object = ARENA_NEW(q->arena, struct autoscaling_v2_object_metric_status);
    s->status.object->metric = o->metric;
    s->status.object->described_object = o->described_object;
    s->name = o->target.average_value != NULL
                  ? external_name(q->arena, &o->metric)
                  : arena_printf(q->arena, STR_FMT " metric " STR_FMT,
                                 STR_ARG(o->described_object.kind), STR_ARG(o->metric.name));
    return by_total(s, t, q, &o->target, total, &s->status.object->current, err);
}

static int by_external(struct hpa_source *s, const struct hpa_target *t, struct hpa_question *q,
                       struct str body, struct error *err)
{
    const struct autoscaling_v2_external_metric_source *e = s->spec->external;
    int64_t total;
    int rc = hpa_metrics_external(q->arena, body, &total, err);
    if (rc != 0)
        return unable(s, t, q->arena, err);
    if (e->target.value == NULL && e->target.average_value == NULL)
        return error_set(err, E_INVALID,
                         "invalid external metric source: neither a value target nor an average "
                         "value target was set");
    s->status.external = ARENA_NEW(q->arena, struct autoscaling_v2_external_metric_status);
    s->status.external->metric = e->metric;
    s->name = external_name(q->arena, &e->metric);
    return by_total(s, t, q, &e->target, total, &s->status.external->current, err);
}

/* What the API said, in client-go's words. */
static struct str failure(struct arena *a, const struct hpa_source *s,
                          const struct client_result *result)
{
    enum source_type type = type_of(s);
    const char *api = type == BY_RESOURCE || type == BY_CONTAINER ? "resource"
                      : type == BY_EXTERNAL                       ? "external"
                                                                  : "custom";
    const struct autoscaling_v2_metric_identifier *id = identifier_of(s);
    const char *message = result->message;
    if (result->http_status == 404 && result->status == NULL)
        message =
            arena_printf(a, "the server could not find the requested resource (get " STR_FMT "%s)",
                         STR_ARG(id != NULL ? id->name : STR("pods")),
                         id == NULL            ? ".metrics.k8s.io"
                         : type == BY_EXTERNAL ? ".external.metrics.k8s.io"
                                               : ".custom.metrics.k8s.io")
                .data;
    return arena_printf(a, "unable to fetch metrics from %s metrics API: %s", api, message);
}

static void wrap(struct arena *a, struct hpa_source *s, struct str why)
{
    enum source_type type = type_of(s);
    struct str what = type == BY_RESOURCE    ? s->spec->resource->name
                      : type == BY_CONTAINER ? s->spec->container_resource->name
                                             : STR_NULL;
    s->failed = true;
    s->error = type == BY_RESOURCE
                   ? arena_printf(a, "failed to get " STR_FMT " utilization: " STR_FMT,
                                  STR_ARG(what), STR_ARG(why))
               : type == BY_CONTAINER
                   ? arena_printf(a, "failed to get " STR_FMT " container metric value: " STR_FMT,
                                  STR_ARG(what), STR_ARG(why))
               : type == BY_EXTERNAL
                   ? arena_printf(a, "failed to get " STR_FMT " external metric value: " STR_FMT,
                                  STR_ARG(s->spec->external->metric.name), STR_ARG(why))
               : type == BY_OBJECT
                   ? arena_printf(a, "failed to get object metric value: " STR_FMT, STR_ARG(why))
               : type == BY_PODS
                   ? arena_printf(a, "failed to get pods metric value: " STR_FMT, STR_ARG(why))
                   : why;
}

void hpa_source_fail(struct arena *a, struct hpa_source *s, const char *why)
{
    wrap(a, s, arena_printf(a, "%s", why));
}

static int interpret(struct hpa_source *s, const struct hpa_target *t, struct hpa_question *q,
                     const struct client_result *result, struct error *err)
{
    struct str body = arena_str(q->arena, result->body);
    if (result->code != 0) {
        error_set(err, result->code, STR_FMT, STR_ARG(failure(q->arena, s, result)));
        return unable(s, t, q->arena, err);
    }
    switch (type_of(s)) {
    case BY_RESOURCE:
    case BY_CONTAINER:
        return by_resource(s, t, q, body, err);
    case BY_PODS:
        return by_pods(s, t, q, body, err);
    case BY_OBJECT:
        return by_object(s, t, q, body, err);
    case BY_EXTERNAL:
        return by_external(s, t, q, body, err);
    case BY_NOTHING:
        break;
    }
    return unable(s, t, q->arena, err);
}

void hpa_source_answer(struct hpa_source *s, const struct hpa_target *t,
                       const struct hpa_question *q, const struct client_result *result)
{
    struct hpa_question mine = *q;
    struct error err = {0};
    mine.current = t->spec_replicas;
    if (interpret(s, t, &mine, result, &err) != 0)
        wrap(q->arena, s, arena_printf(q->arena, "%s", error_message(&err)));
    else
        s->status.type = s->spec->type;
}
