/* events.c - Event: what happened to an object. Stored as core/v1; written
 * through events.k8s.io/v1 it must meet that version's stricter rules. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/validate.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
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

/* An event about a cluster-scoped object lives in "default" (or kube-system
 * for those that say so); others live beside their object. */
static void validate_namespace(const struct core_v1_event *e, struct field_errors *errs)
{
    struct str about = e->involved_object.namespace;
    const struct field_path *path = PATH(PATH(PATH_ROOT, "involvedObject"), "namespace");
    if (str_empty(about)) {
        if (!str_eqc(e->metadata.namespace, "default") &&
            !str_eqc(e->metadata.namespace, "kube-system"))
            field_invalid(errs, path, about, "does not match event.namespace");
    } else if (!str_eq(about, e->metadata.namespace)) {
        field_invalid(errs, path, about, "does not match event.namespace");
    }
}

static void too_long(struct field_errors *errs, const char *field, struct str value, size_t max)
{
    if (value.len > max)
        field_invalid(errs, PATH(PATH_ROOT, field), STR(""), "can have at most %zu characters",
                      max);
}

static void validate_strict(const struct core_v1_event *e, struct field_errors *errs)
{
    if (e->event_time.seconds == 0 && e->event_time.nanos == 0)
        field_required(errs, PATH(PATH_ROOT, "eventTime"), NULL);
    if (e->first_timestamp.seconds != 0)
        field_invalid(errs, PATH(PATH_ROOT, "firstTimestamp"), STR(""), "needs to be unset");
    if (e->last_timestamp.seconds != 0)
        field_invalid(errs, PATH(PATH_ROOT, "lastTimestamp"), STR(""), "needs to be unset");
    if (e->count != 0)
        field_invalid(errs, PATH(PATH_ROOT, "count"), STR(""), "needs to be unset");
    if (str_empty(e->reporting_component))
        field_required(errs, PATH(PATH_ROOT, "reportingController"), NULL);
    field_faults(errs, PATH(PATH_ROOT, "reportingController"), e->reporting_component,
                 api_check_qualified_name(e->reporting_component));
    if (str_empty(e->reporting_instance))
        field_required(errs, PATH(PATH_ROOT, "reportingInstance"), NULL);
    too_long(errs, "reportingInstance", e->reporting_instance, INSTANCE_MAX);
    if (str_empty(e->action))
        field_required(errs, PATH(PATH_ROOT, "action"), NULL);
    too_long(errs, "action", e->action, ACTION_MAX);
    if (str_empty(e->reason))
        field_required(errs, PATH(PATH_ROOT, "reason"), NULL);
    too_long(errs, "reason", e->reason, REASON_MAX);
    too_long(errs, "message", e->message, NOTE_MAX);
    if (!str_eqc(e->type, "Normal") && !str_eqc(e->type, "Warning"))
        field_invalid(errs, PATH(PATH_ROOT, "type"), STR(""), "has invalid value: " STR_FMT,
                      STR_ARG(e->type));
    if (e->series != NULL) {
        if (e->series->count < 2)
            field_invalid(errs, PATH(PATH(PATH_ROOT, "series"), "count"), STR(""),
                          "should be at least 2");
        if (e->series->last_observed_time.seconds == 0)
            field_required(errs, PATH(PATH(PATH_ROOT, "series"), "lastObservedTime"), NULL);
    }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    validate_namespace(obj, errs);
    if (is_strict(ctx))
        validate_strict(obj, errs);
}

static void immutable(struct field_errors *errs, const char *field, struct str now,
                      struct str before)
{
    validate_immutable_str(errs, PATH(PATH_ROOT, field), now, before);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct core_v1_event *e = obj, *o = old;
    validate_namespace(e, errs);
    if (!is_strict(ctx))
        return;
    validate_immutable(errs, PATH(PATH_ROOT, "involvedObject"), &core_v1_object_reference_msg,
                       &e->involved_object, &o->involved_object);
    immutable(errs, "reason", e->reason, o->reason);
    immutable(errs, "message", e->message, o->message);
    immutable(errs, "type", e->type, o->type);
    immutable(errs, "action", e->action, o->action);
    immutable(errs, "reportingController", e->reporting_component, o->reporting_component);
    immutable(errs, "reportingInstance", e->reporting_instance, o->reporting_instance);
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
    {"involvedObject.kind", get_kind},
    {"involvedObject.namespace", get_namespace},
    {"involvedObject.name", get_name},
    {"involvedObject.uid", get_uid},
    {"involvedObject.apiVersion", get_api_version},
    {"involvedObject.resourceVersion", get_resource_version},
    {"involvedObject.fieldPath", get_field_path},
    {"regarding.kind", get_kind},
    {"regarding.namespace", get_namespace},
    {"regarding.name", get_name},
    {"regarding.uid", get_uid},
    {"regarding.apiVersion", get_api_version},
    {"regarding.resourceVersion", get_resource_version},
    {"regarding.fieldPath", get_field_path},
    {"reason", get_reason},
    {"reportingComponent", get_component},
    {"reportingController", get_component},
    {"source", get_source},
    {"type", get_type},
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
