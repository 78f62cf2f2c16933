/* ingressclasses.c - IngressClass: a controller that serves Ingresses. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/networking_v1.h"
#include "lib/base/arena.h"

#define CONTROLLER_BYTES_MAX 250u

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct networking_v1_ingress_class_parameters_reference *p =
        ((struct networking_v1_ingress_class *)obj)->spec.parameters;
    if (p != NULL && !p->has_scope) {
        p->has_scope = true;
        p->scope = STR("Cluster");
    }
}

static void check_parameters(struct field_errors *errs, const struct field_path *path,
                             const struct networking_v1_ingress_class_parameters_reference *p)
{
    static const char *const scopes[] = {"Cluster", "Namespace", NULL};
    if (p->has_api_group && !str_empty(p->api_group))
        validate_form(errs, PATH(path, "apiGroup"), p->api_group, api_check_dns_subdomain);
    if (str_empty(p->kind))
        field_required(errs, PATH(path, "kind"), "kind is required");
    else
        name_path_segment(errs, PATH(path, "kind"), p->kind, false);
    if (str_empty(p->name))
        field_required(errs, PATH(path, "name"), "name is required");
    else
        name_path_segment(errs, PATH(path, "name"), p->name, false);
    if (!p->has_scope)
        field_required(errs, PATH(path, "scope"), NULL);
    else
        validate_listed(errs, PATH(path, "scope"), p->scope, scopes);
    if (str_eqc(p->scope, "Namespace")) {
        if (!p->has_namespace || str_empty(p->namespace))
            field_required(errs, PATH(path, "namespace"),
                           "`parameters.scope` is set to 'Namespace'");
        else
            validate_form(errs, PATH(path, "namespace"), p->namespace, api_check_dns_label);
    } else if (p->has_namespace) {
        field_forbidden(errs, PATH(path, "namespace"), "`parameters.scope` is set to 'Cluster'");
    }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct networking_v1_ingress_class_spec *s =
        &((const struct networking_v1_ingress_class *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    if (s->controller.len > CONTROLLER_BYTES_MAX)
        field_too_long(errs, PATH(spec, "controller"), CONTROLLER_BYTES_MAX);
    validate_domain_prefixed_path(errs, PATH(spec, "controller"), s->controller);
    if (s->parameters != NULL)
        check_parameters(errs, PATH(spec, "parameters"), s->parameters);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct networking_v1_ingress_class *c = obj, *o = old;
    validate_create(ctx, obj, errs);
    validate_immutable_str(errs, PATH(PATH(PATH_ROOT, "spec"), "controller"), c->spec.controller,
                           o->spec.controller);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Controller", "string", "", "Who serves the class.", 0},
    {"Parameters", "string", "", "Object with further settings.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct networking_v1_ingress_class *c = obj;
    const struct networking_v1_ingress_class_parameters_reference *p = c->spec.parameters;
    cell_str(r, c->metadata.name);
    cell_str(r, c->spec.controller);
    if (p == NULL)
        cell_strc(r, "<none>");
    else
        cell_printf(r, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(p->kind),
                    p->has_api_group ? "." : "", STR_ARG(p->api_group), STR_ARG(p->name));
    cell_age(r, &c->metadata.creation_timestamp);
}

const struct kind_ops kind_ingressclasses = {
    .group = "networking.k8s.io",
    .version = "v1",
    .resource = "ingressclasses",
    .flags = KIND_GENERATION,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
