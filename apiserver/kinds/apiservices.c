/* apiservices.c - APIService: who serves one group version. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/aggregation/apiservice.h"
#include "apiserver/kinds/rules.h"
#include "api/apiregistration_v1.h"
#include "api/meta_v1.h"
#include "lib/base/arena.h"

#include <inttypes.h>

#define GROUP_PRIORITY_MAX 20000
#define VERSION_PRIORITY_MAX 1000

typedef struct apiregistration_v1_api_service service_t;

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct apiregistration_v1_service_reference *r = ((service_t *)obj)->spec.service;
    if (r != NULL && !r->has_port) {
        r->has_port = true;
        r->port = APISERVICE_PORT;
    }
}

/* Local ones are available at once. */
static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    service_t *s = obj;
    struct apiservice_verdict local = apiservice_local();
    if (s->spec.service == NULL)
        (void)apiservice_set_available(ctx->arena, s, &local, ctx->now_ns / 1000000000);
}

static void check_name(struct field_errors *errs, const service_t *s)
{
    struct str name = s->metadata.name;
    struct str wanted = arena_printf(errs->arena, STR_FMT "." STR_FMT, STR_ARG(s->spec.version),
                                     STR_ARG(s->spec.group));
    if (str_empty(name) || api_check_path_segment(name).count != 0 || str_eq(name, wanted))
        return;
    field_invalid(errs, PATH(PATH(PATH_ROOT, "metadata"), "name"), name,
                  "must be `spec.version+\".\"+spec.group`: \"" STR_FMT "\"", STR_ARG(wanted));
}

static void check_service(struct field_errors *errs, const struct field_path *spec,
                          const struct apiregistration_v1_api_service_spec *s)
{
    const struct field_path *at = PATH(spec, "service");
    const struct apiregistration_v1_service_reference *r = s->service;
    if (str_empty(r->namespace))
        field_required(errs, PATH(at, "namespace"), NULL);
    if (str_empty(r->name))
        field_required(errs, PATH(at, "name"), NULL);
    if (r->port < 1 || r->port > 65535)
        field_invalid_int(errs, PATH(at, "port"), r->port,
                          "port is not valid: must be between 1 and 65535, inclusive");
    if (s->insecure_skip_tls_verify && s->ca_bundle.len != 0)
        field_invalid_bool(errs, PATH(spec, "insecureSkipTLSVerify"), true,
                           "may not be true if caBundle is present");
}

static void check_local(struct field_errors *errs, const struct field_path *spec,
                        const struct apiregistration_v1_api_service_spec *s)
{
    if (s->ca_bundle.len != 0)
        field_invalid(errs, PATH(spec, "caBundle"),
                      arena_printf(errs->arena, "%zu bytes", s->ca_bundle.len),
                      "local APIServices may not have a caBundle");
    if (s->insecure_skip_tls_verify)
        field_invalid_bool(errs, PATH(spec, "insecureSkipTLSVerify"), true,
                           "local APIServices may not have insecureSkipTLSVerify");
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct apiregistration_v1_api_service_spec *s = &((const service_t *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    check_name(errs, obj);
    if (str_empty(s->group) && !str_eqc(s->version, "v1"))
        field_required(errs, PATH(spec, "group"),
                       "only v1 may have an empty group and it better be legacy kube");
    if (!str_empty(s->group))
        validate_form(errs, PATH(spec, "group"), s->group, api_check_dns_subdomain);
    validate_form(errs, PATH(spec, "version"), s->version, api_check_dns1035_label);
    if (s->group_priority_minimum <= 0 || s->group_priority_minimum > GROUP_PRIORITY_MAX)
        field_invalid_int(errs, PATH(spec, "groupPriorityMinimum"), s->group_priority_minimum,
                          "must be positive and less than 20000");
    if (s->version_priority <= 0 || s->version_priority > VERSION_PRIORITY_MAX)
        field_invalid_int(errs, PATH(spec, "versionPriority"), s->version_priority,
                          "must be positive and less than 1000");
    if (s->service == NULL)
        check_local(errs, spec, s);
    else
        check_service(errs, spec, s);
}

static void prepare_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    service_t *s = obj;
    const service_t *o = old;
    s->spec = o->spec;
    s->metadata.labels = o->metadata.labels;
    s->metadata.labels_count = o->metadata.labels_count;
    s->metadata.annotations = o->metadata.annotations;
    s->metadata.annotations_count = o->metadata.annotations_count;
    s->metadata.finalizers = o->metadata.finalizers;
    s->metadata.finalizers_count = o->metadata.finalizers_count;
    s->metadata.owner_references = o->metadata.owner_references;
    s->metadata.owner_references_count = o->metadata.owner_references_count;
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    static const char *const values[] = {"True", "False", "Unknown", NULL};
    const service_t *s = obj;
    const struct field_path *at = PATH(PATH(PATH_ROOT, "status"), "conditions");
    for (size_t i = 0; i < s->status.conditions_count; i++)
        if (!is_listed(s->status.conditions[i].status, values))
            field_not_supported(errs, PATH(PATH_INDEX(at, i), "status"),
                                s->status.conditions[i].status, values);
}

static const struct kind_sub subs[] = {{"status", prepare_status, validate_status}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Service", "string", "", "The service behind which the API is served, or Local.", 0},
    {"Available", "string", "", "Whether requests can be served.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const service_t *s = obj;
    const struct apiregistration_v1_api_service_condition *found = NULL;
    for (size_t i = 0; found == NULL && i < s->status.conditions_count; i++)
        if (str_eqc(s->status.conditions[i].type, "Available"))
            found = &s->status.conditions[i];
    cell_str(r, s->metadata.name);
    if (s->spec.service != NULL)
        cell_printf(r, STR_FMT "/" STR_FMT, STR_ARG(s->spec.service->namespace),
                    STR_ARG(s->spec.service->name));
    else
        cell_strc(r, "Local");
    if (found == NULL)
        cell_strc(r, "Unknown");
    else if (str_eqc(found->status, "True") || str_empty(found->reason))
        cell_str(r, found->status);
    else
        cell_printf(r, STR_FMT " (" STR_FMT ")", STR_ARG(found->status), STR_ARG(found->reason));
    cell_age(r, &s->metadata.creation_timestamp);
}

const struct kind_ops kind_apiservices = {
    .group = "apiregistration.k8s.io",
    .version = "v1",
    .resource = "apiservices",
    .flags = KIND_STATUS | KIND_NO_UNCONDITIONAL_UPDATE,
    .validate_name = name_path_segment,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .subs = subs,
    .columns = columns,
    .row = row,
};
