/* leases.c - Lease: who holds something, and since when. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/coordination_v1.h"

/* Coordinated leader election is a gate that is off unless one opens it: what it is
 * told by is not taken, though what stands there stays. */
static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct coordination_v1_lease_spec *s = &((struct coordination_v1_lease *)obj)->spec;
    s->has_strategy = s->has_preferred_holder = false;
    s->strategy = s->preferred_holder = STR_NULL;
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct coordination_v1_lease_spec *s = &((struct coordination_v1_lease *)obj)->spec;
    const struct coordination_v1_lease_spec *o = &((const struct coordination_v1_lease *)old)->spec;
    if (!o->has_strategy) {
        s->has_strategy = false;
        s->strategy = STR_NULL;
    }
    if (!o->has_preferred_holder) {
        s->has_preferred_holder = false;
        s->preferred_holder = STR_NULL;
    }
}

/* One of the system's names, or somebody's own with a prefix. */
static void check_strategy(struct field_errors *errs, const struct field_path *path, struct str s)
{
    static const char *const known[] = {"OldestEmulationVersion", NULL};
    if (str_find(s, '/', 0) < 0)
        validate_listed(errs, path, s, known);
    else
        validate_form(errs, path, s, api_check_qualified_name);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct coordination_v1_lease_spec *s = &((const struct coordination_v1_lease *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    if (s->has_lease_duration_seconds && s->lease_duration_seconds <= 0)
        field_invalid_int(errs, PATH(spec, "leaseDurationSeconds"), s->lease_duration_seconds,
                          "must be greater than 0");
    if (s->has_lease_transitions && s->lease_transitions < 0)
        field_invalid_int(errs, PATH(spec, "leaseTransitions"), s->lease_transitions,
                          "must be greater than or equal to 0");
    if (s->has_strategy) /* Upstream names the field twice. */
        check_strategy(errs, PATH(PATH(spec, "strategy"), "strategy"), s->strategy);
    if (s->has_preferred_holder && !str_empty(s->preferred_holder) &&
        (!s->has_strategy || str_empty(s->strategy)))
        field_forbidden(errs, PATH(spec, "preferredHolder"),
                        "may only be specified if `strategy` is defined");
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Holder", "string", "", "Who holds the lease.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct coordination_v1_lease *l = obj;
    cell_str(r, l->metadata.name);
    cell_str(r, l->spec.has_holder_identity ? l->spec.holder_identity : STR_NULL);
    cell_age(r, &l->metadata.creation_timestamp);
}

const struct kind_ops kind_leases = {
    .group = "coordination.k8s.io",
    .version = "v1",
    .resource = "leases",
    .flags = KIND_CREATE_ON_UPDATE | KIND_NO_UNCONDITIONAL_UPDATE,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .columns = columns,
    .row = row,
};
