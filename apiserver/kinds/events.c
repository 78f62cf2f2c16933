/* events.c - Event: what happened to an object. Stored as core/v1; written
 * through events.k8s.io/v1 it must meet that version's stricter rules. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/validate.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"

#include <ctype.h>
#include <string.h>

#define REASON_MAX 128
#define ACTION_MAX 128
#define INSTANCE_MAX 128
#define NOTE_MAX 1024

static bool is_strict(const struct kind_ctx *ctx)
{
    return ctx->request_kind != NULL && strcmp(ctx->request_kind->group, "events.k8s.io") == 0;
}

static void too_long(struct field_errors *errs, const char *field, struct str value, size_t max)
{
    if (value.len > max)
        field_invalid(errs, PATH(PATH_ROOT, field), STR(""), "can have at most %zu characters",
                      max);
}

static void required(struct field_errors *errs, const char *field, struct str value)
{
    if (str_empty(value))
        field_required(errs, PATH(PATH_ROOT, field), NULL);
}

/* An event lives beside its object; one about an object of the whole cluster in
 * "default", or in kube-system if it is of the newer form. */
static void validate_place(const struct core_v1_event *e, bool newer, struct field_errors *errs)
{
    struct str about = e->involved_object.namespace, ns = e->metadata.namespace;
    bool good = str_empty(about)
                    ? str_eqc(ns, "default") || (newer ? str_eqc(ns, "kube-system") : str_empty(ns))
                    : newer || str_eq(about, ns);
    if (!good)
        field_invalid(errs, PATH(PATH(PATH_ROOT, "involvedObject"), "namespace"), about,
                      "does not match event.namespace");
}

/* What holds through both versions. Only events of the newer form have an eventTime. */
static void validate_common(const struct kind_ctx *ctx, const struct core_v1_event *e,
                            struct field_errors *errs)
{
    const char *controller = is_strict(ctx) ? "reportingController" : "reportingComponent";
    bool newer = !micro_time_is_zero(&e->event_time);
    validate_place(e, newer, errs);
    if (newer) {
        required(errs, controller, e->reporting_component);
        validate_qualified_name(errs, PATH(PATH_ROOT, controller), e->reporting_component);
        required(errs, "reportingInstance", e->reporting_instance);
        too_long(errs, "reportingInstance", e->reporting_instance, INSTANCE_MAX);
        required(errs, "action", e->action);
        too_long(errs, "action", e->action, ACTION_MAX);
        required(errs, "reason", e->reason);
        too_long(errs, "reason", e->reason, REASON_MAX);
        too_long(errs, "message", e->message, NOTE_MAX);
    }
    field_faults(errs, PATH(PATH_ROOT, "namespace"), e->metadata.namespace,
                 api_check_dns_subdomain(e->metadata.namespace));
}

static void validate_series(const struct core_v1_event *e, struct field_errors *errs)
{
    if (e->series == NULL)
        return;
    if (e->series->count < 2)
        field_invalid(errs, PATH(PATH_ROOT, "series.count"), STR(""), "should be at least 2");
    if (micro_time_is_zero(&e->series->last_observed_time))
        field_required(errs, PATH(PATH_ROOT, "series.lastObservedTime"), NULL);
}

static void unset(struct field_errors *errs, const char *field, bool is_set)
{
    if (is_set)
        field_invalid(errs, PATH(PATH_ROOT, field), STR(""), "needs to be unset");
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct core_v1_event *e = obj;
    validate_common(ctx, e, errs);
    if (!is_strict(ctx))
        return;
    validate_series(e, errs);
    if (micro_time_is_zero(&e->event_time))
        field_required(errs, PATH(PATH_ROOT, "eventTime"), NULL);
    if (!str_eqc(e->type, "Normal") && !str_eqc(e->type, "Warning"))
        field_invalid(errs, PATH(PATH_ROOT, "type"), STR(""), "has invalid value: " STR_FMT,
                      STR_ARG(e->type));
    unset(errs, "firstTimestamp", !time_is_zero(&e->first_timestamp));
    unset(errs, "lastTimestamp", !time_is_zero(&e->last_timestamp));
    unset(errs, "count", e->count != 0);
    unset(errs, "source", !str_empty(e->source.component) || !str_empty(e->source.host));
}

/* Clients see an event again by its series; the rest of it stands. */
static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    static const char *const fixed[] = {
        "involvedObject", "reason", "message", "source", "firstTimestamp",
        "lastTimestamp",  "count",  "reason",  "type",   NULL};
    static const char *const time[] = {"eventTime", NULL};
    static const char *const rest[] = {"action", "related", NULL};
    const struct core_v1_event *e = obj, *o = old;
    const struct api_msg *m = &core_v1_event_msg;
    validate_common(ctx, e, errs);
    if (!is_strict(ctx))
        return;
    if (!api_field_equal(api_field_by_json(m, STR("series")), e, o))
        validate_series(e, errs);
    validate_immutable_members(errs, PATH_ROOT, m, e, o, fixed);
    /* Clients round to microseconds in different ways. */
    if (micro_time_to_ns(&e->event_time) / 1000 != micro_time_to_ns(&o->event_time) / 1000)
        validate_immutable_members(errs, PATH_ROOT, m, e, o, time);
    validate_immutable_members(errs, PATH_ROOT, m, e, o, rest);
    validate_immutable_str(errs, PATH(PATH_ROOT, "reportingController"), e->reporting_component,
                           o->reporting_component);
    validate_immutable_str(errs, PATH(PATH_ROOT, "reportingInstance"), e->reporting_instance,
                           o->reporting_instance);
}

/* --- selectors ------------------------------------------------------------------- */

#define GETTER(name, expression)                                                                   \
    static struct str get_##name(struct arena *a, const void *obj)                                 \
    {                                                                                              \
        UNUSED(a);                                                                                 \
        const struct core_v1_event *e = obj;                                                       \
        return expression;                                                                         \
    }
GETTER(kind, e->involved_object.kind)
GETTER(namespace, e->involved_object.namespace)
GETTER(name, e->involved_object.name)
GETTER(uid, e->involved_object.uid)
GETTER(api_version, e->involved_object.api_version)
GETTER(resource_version, e->involved_object.resource_version)
GETTER(field_path, e->involved_object.field_path)
GETTER(reason, e->reason)
GETTER(component, e->reporting_component)
GETTER(type, e->type)
GETTER(source, str_empty(e->source.component) ? e->reporting_component : e->source.component)

static const struct kind_field fields[] = {
    {"involvedObject.kind", get_kind, .wire = {2, 1}},
    {"involvedObject.namespace", get_namespace, .wire = {2, 2}},
    {"involvedObject.name", get_name, .wire = {2, 3}},
    {"involvedObject.uid", get_uid, .wire = {2, 4}},
    {"involvedObject.apiVersion", get_api_version},
    {"involvedObject.resourceVersion", get_resource_version},
    {"involvedObject.fieldPath", get_field_path},
    {"regarding.kind", get_kind, .wire = {2, 1}},
    {"regarding.namespace", get_namespace, .wire = {2, 2}},
    {"regarding.name", get_name, .wire = {2, 3}},
    {"regarding.uid", get_uid, .wire = {2, 4}},
    {"regarding.apiVersion", get_api_version},
    {"regarding.resourceVersion", get_resource_version},
    {"regarding.fieldPath", get_field_path},
    {"reason", get_reason, .wire = {3}},
    {"reportingComponent", get_component},
    {"reportingController", get_component},
    {"source", get_source},
    {"type", get_type, .wire = {9}},
    {0},
};

/* --- table -------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"Last Seen", "string", "", "When it was last seen.", 0},
    {"Type", "string", "", "Normal or Warning.", 0},
    {"Reason", "string", "", "Why it was recorded.", 0},
    {"Object", "string", "", "What it is about.", 0},
    {"Subobject", "string", "", "Which part of it.", 1},
    {"Source", "string", "", "Who recorded it.", 1},
    {"Message", "string", "", "What happened.", 0},
    {"First Seen", "string", "", "When it was first seen.", 1},
    {"Count", "string", "", "How often.", 1},
    {"Name", "string", "name", "", 1},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_event *e = obj;
    struct meta_v1_time first = e->first_timestamp, last = e->last_timestamp;
    struct meta_v1_time at = {.seconds = e->event_time.seconds};
    int32_t count = e->count;
    if (first.seconds == 0)
        first = at;
    if (e->series != NULL) {
        last = (struct meta_v1_time){.seconds = e->series->last_observed_time.seconds};
        count = e->series->count;
    } else if (last.seconds == 0) {
        last = first;
        if (count == 0)
            count = 1;
    }
    cell_age(r, &last);
    cell_str(r, e->type);
    cell_str(r, e->reason);
    char kind[64] = "";
    for (size_t i = 0; i < e->involved_object.kind.len && i + 1 < sizeof(kind); i++)
        kind[i] = (char)tolower((unsigned char)e->involved_object.kind.data[i]);
    if (str_empty(e->involved_object.name))
        cell_strc(r, kind);
    else
        cell_printf(r, "%s/" STR_FMT, kind, STR_ARG(e->involved_object.name));
    cell_str(r, e->involved_object.field_path);
    struct str component =
        str_empty(e->source.component) ? e->reporting_component : e->source.component;
    struct str host = str_empty(e->source.host) && str_empty(e->source.component)
                          ? e->reporting_instance
                          : e->source.host;
    if (str_empty(host))
        cell_str(r, component);
    else
        cell_printf(r, STR_FMT ", " STR_FMT, STR_ARG(component), STR_ARG(host));
    cell_str(r, str_trim(e->message));
    cell_age(r, &first);
    cell_int(r, count);
    cell_str(r, e->metadata.name);
}

const struct kind_ops kind_events = {
    .group = "",
    .version = "v1",
    .resource = "events",
    .flags = KIND_CREATE_ON_UPDATE | KIND_EXPIRES,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .fields = fields,
    .columns = columns,
    .row = row,
};
