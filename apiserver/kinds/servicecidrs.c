/* servicecidrs.c - ServiceCIDR: a range that Services get addresses from. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/meta_v1.h"
#include "api/networking_v1.h"
#include "lib/base/arena.h"

/* Upstream shows its own struct, whose members have no other names. */
static struct str shown(struct arena *a, const struct networking_v1_service_cidr_spec *s)
{
    return arena_printf(a, "{\"CIDRs\":" STR_FMT "}",
                        STR_ARG(field_strings_render(a, s->cidrs, s->cidrs_count)));
}

static void check_spec(struct field_errors *errs, const struct networking_v1_service_cidr_spec *s)
{
    const struct field_path *list = PATH(PATH(PATH_ROOT, "spec"), "cidrs");
    struct ip_text first, second;
    if (s->cidrs_count == 0) {
        field_required(errs, list, "at least one CIDR required");
        return;
    }
    if (s->cidrs_count > 2) {
        field_invalid_raw(errs, list, shown(errs->arena, s), "may only hold up to 2 values");
        return;
    }
    for (size_t i = 0; i < s->cidrs_count; i++)
        validate_cidr_canonical(errs, PATH_INDEX(list, i), s->cidrs[i]);
    if (s->cidrs_count == 2 && ip_text_parse_cidr(s->cidrs[0], &first) &&
        ip_text_parse_cidr(s->cidrs[1], &second) && first.v4 == second.v4)
        field_invalid_raw(errs, list, field_strings_render(errs->arena, s->cidrs, s->cidrs_count),
                          "may specify no more than one IP for each IP family, i.e "
                          "192.168.0.0/24 and 2001:db8::/64");
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    check_spec(errs, &((const struct networking_v1_service_cidr *)obj)->spec);
}

/* A second family may be added; nothing else changes. */
static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct networking_v1_service_cidr_spec
        *s = &((const struct networking_v1_service_cidr *)obj)->spec,
        *o = &((const struct networking_v1_service_cidr *)old)->spec;
    const struct field_path *list = PATH(PATH(PATH_ROOT, "spec"), "cidrs");
    bool grows = o->cidrs_count == 1 && s->cidrs_count == 2;
    UNUSED(ctx);
    if (o->cidrs_count != s->cidrs_count && !grows) {
        field_invalid_raw(errs, list,
                          s->cidrs_count == 0
                              ? STR("null")
                              : field_strings_render(errs->arena, s->cidrs, s->cidrs_count),
                          "field is immutable");
        return;
    }
    for (size_t i = 0; i < o->cidrs_count; i++)
        validate_immutable_str(errs, PATH_INDEX(list, i), s->cidrs[i], o->cidrs[i]);
    if (grows)
        check_spec(errs, s);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"CIDRs", "string", "", "", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct networking_v1_service_cidr *c = obj;
    cell_str(r, c->metadata.name);
    cell_join(r, c->spec.cidrs, c->spec.cidrs_count);
    cell_age(r, &c->metadata.creation_timestamp);
}

const struct kind_ops kind_servicecidrs = {
    .group = "networking.k8s.io",
    .version = "v1",
    .resource = "servicecidrs",
    .flags = KIND_STATUS | KIND_STATUS_ALONE,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
