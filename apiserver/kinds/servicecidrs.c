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

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct networking_v1_service_cidr_spec *s =
        &((const struct networking_v1_service_cidr *)obj)->spec;
    const struct field_path *list = PATH(PATH(PATH_ROOT, "spec"), "cidrs");
    bool first_v4 = false;
    if (s->cidrs_count == 0)
        field_required(errs, list, "at least one CIDR required");
    if (s->cidrs_count > 2) {
        field_invalid_raw(errs, list, shown(errs->arena, s), "may only hold up to 2 values");
        return;
    }
    for (size_t i = 0; i < s->cidrs_count; i++) {
        size_t before = errs->count;
        struct ip_text net;
        validate_cidr_canonical(errs, PATH_INDEX(list, i), s->cidrs[i]);
        if (errs->count != before)
            continue;
        ip_text_parse_cidr(s->cidrs[i], &net);
        if (i == 1 && net.v4 == first_v4)
            field_invalid_raw(errs, list, shown(errs->arena, s),
                              "may specify no more than one IP for each IP family, i.e "
                              "192.168.0.0/24 and 2001:db8::/96");
        first_v4 = net.v4;
    }
}

/* A second family may be added; nothing else changes. */
static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct networking_v1_service_cidr_spec *s =
        &((const struct networking_v1_service_cidr *)obj)->spec;
    const struct networking_v1_service_cidr_spec *o =
        &((const struct networking_v1_service_cidr *)old)->spec;
    const struct field_path *list = PATH(PATH(PATH_ROOT, "spec"), "cidrs");
    if (s->cidrs_count > o->cidrs_count)
        validate_create(ctx, obj, errs);
    for (size_t i = 0; i < o->cidrs_count; i++)
        if (i >= s->cidrs_count || !str_eq(s->cidrs[i], o->cidrs[i])) {
            field_invalid(errs, PATH_INDEX(list, i), i < s->cidrs_count ? s->cidrs[i] : STR(""),
                          "field is immutable");
            return;
        }
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
    .flags = KIND_STATUS,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
