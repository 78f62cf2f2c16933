/* ipaddresses.c - IPAddress: a claim of one address; its name is the address. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/meta_v1.h"
#include "api/networking_v1.h"
#include "lib/api/codec.h"

static void validate_name(struct field_errors *errs, const struct field_path *path, struct str name,
                          bool generate)
{
    UNUSED(generate);
    validate_ip_canonical(errs, path, name);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct networking_v1_parent_reference *p =
        ((const struct networking_v1_ip_address *)obj)->spec.parent_ref;
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "parentRef");
    if (p == NULL) {
        field_required(errs, path, NULL);
        return;
    }
    if (!str_empty(p->group))
        validate_form(errs, PATH(path, "group"), p->group, api_check_dns_subdomain);
    if (str_empty(p->resource))
        field_required(errs, PATH(path, "resource"), NULL);
    else
        name_path_segment(errs, PATH(path, "resource"), p->resource, false);
    if (str_empty(p->name))
        field_required(errs, PATH(path, "name"), NULL);
    else
        name_path_segment(errs, PATH(path, "name"), p->name, false);
    if (!str_empty(p->namespace))
        name_path_segment(errs, PATH(path, "namespace"), p->namespace, false);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct networking_v1_ip_address_spec
        *s = &((const struct networking_v1_ip_address *)obj)->spec,
        *o = &((const struct networking_v1_ip_address *)old)->spec;
    validate_create(ctx, obj, errs);
    if (!api_msg_equal(&networking_v1_ip_address_spec_msg, s, o))
        field_invalid_msg(errs, PATH(PATH(PATH_ROOT, "spec"), "parentRef"),
                          &networking_v1_parent_reference_msg, s->parent_ref, "field is immutable");
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"ParentRef", "string", "", "Whose it is.", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct networking_v1_ip_address *i = obj;
    const struct networking_v1_parent_reference *p = i->spec.parent_ref;
    cell_str(r, i->metadata.name);
    if (p == NULL)
        cell_strc(r, "<none>");
    else
        cell_printf(r, STR_FMT "%s" STR_FMT "/" STR_FMT "%s" STR_FMT, STR_ARG(p->resource),
                    str_empty(p->group) ? "" : ".", STR_ARG(p->group), STR_ARG(p->namespace),
                    str_empty(p->namespace) ? "" : "/", STR_ARG(p->name));
    cell_age(r,
             &i->metadata.creation_timestamp); /* Upstream has the cell, though no column for it. */
}

const struct kind_ops kind_ipaddresses = {
    .group = "networking.k8s.io",
    .version = "v1",
    .resource = "ipaddresses",
    .flags = KIND_CHECKED_AS_NEW,
    .validate_name = validate_name,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
