/* cel_device.c - see cel_device.h. */
#include "lib/api/cel/cel_device.h"

#include "api/resource_v1.h"
#include "lib/api/cel/cel_internal.h"
#include "lib/api/quantity.h"
#include "lib/base/error.h"

/* Sizes bound what an expression may cost: cel_program_cost(). */
#define DOMAIN_BYTES_MAX 63
#define VALUE_BYTES_MAX 64
#define ENTRIES_MAX 32

static const struct cel_type value_type = {.kind = CEL_DYN, .size_max = VALUE_BYTES_MAX};
static const struct cel_type amount_type = {.kind = CEL_QUANTITY};
static const struct cel_type driver_type = {.kind = CEL_STRING, .size_max = DOMAIN_BYTES_MAX};
static const struct cel_type flag_type = {.kind = CEL_BOOL, .size_max = 1};
#define MAP_TYPE(var, of)                                                                          \
    static const struct cel_type var = {                                                           \
        .kind = CEL_MAP, .key = &cel_string, .elem = &(of), .size_max = ENTRIES_MAX}
MAP_TYPE(values_type, value_type);
MAP_TYPE(amounts_type, amount_type);
MAP_TYPE(attributes_type, values_type);
MAP_TYPE(capacity_type, amounts_type);

enum { FIELD_MULTIPLE, FIELD_ATTRIBUTES, FIELD_CAPACITY, FIELD_DRIVER };
static const struct cel_field fields[] = {
    [FIELD_MULTIPLE] = CEL_FIELD("allowMultipleAllocations", &flag_type),
    [FIELD_ATTRIBUTES] = CEL_FIELD("attributes", &attributes_type),
    [FIELD_CAPACITY] = CEL_FIELD("capacity", &capacity_type),
    [FIELD_DRIVER] = CEL_FIELD("driver", &driver_type)};
static CEL_OBJECT_TYPE(device_type, "kubernetes.DRADevice", fields);
static const struct cel_var vars[] = {{"device", &device_type}};
static const struct cel_env env = {.vars = vars, .var_count = ARRAY_SIZE(vars)};

int cel_device_compile(struct arena *a, struct str text, struct cel_program **ret,
                       struct str *ret_error)
{
    struct cel_program *p;
    struct str why;
    int rc = cel_compile(a, &env, text, &p, &why);
    if (rc != 0) {
        *ret_error = arena_printf(a, "compilation failed: " STR_FMT, STR_ARG(why));
        return rc;
    }
    const struct cel_type *t = cel_program_type(p);
    if (t->kind != CEL_BOOL && t->kind != CEL_DYN) {
        *ret_error = arena_printf(a, "must evaluate to bool or the unknown type, not " STR_FMT,
                                  STR_ARG(cel_type_text(a, t)));
        return E_INVALID;
    }
    *ret = p;
    return 0;
}

uint64_t cel_device_cost(const struct cel_program *p)
{
    return cel_program_cost(p, &device_type);
}

/* --- values ----------------------------------------------------------------------------------- */

struct subject {
    struct cel_lazy lazy;
    struct str driver;
    const struct resource_v1_device *device;
    struct cel_value attributes; /* Made beforehand: a wrong one is an error in any case. */
};

/* A map of maps; each domain's is made when it is first seen. */
static void put(struct arena *a, struct cel_map *domains, struct str driver, struct str name,
                struct cel_value v)
{
    struct str domain, id;
    if (!str_cut(name, '/', &domain, &id)) {
        domain = driver;
        id = name;
    }
    struct cel_value key = cel_of_str(domain), id_value = cel_of_str(id);
    const struct cel_value *found = cel_map_get(domains, &key);
    struct cel_map *ids = NULL;
    if (found != NULL) {
        ids = (struct cel_map *)found->map; /* Of our making, below. */
    } else {
        ids = cel_map_new(a);
        cel_map_add(a, domains, key, cel_of_map(ids));
    }
    cel_map_add(a, ids, id_value, v);
}

static struct cel_map *domains_new(struct arena *a)
{
    struct cel_map *m = cel_map_new(a);
    struct cel_value *empty = ARENA_NEW(a, struct cel_value);
    *empty = cel_of_map(cel_map_new(a));
    m->fallback = empty;
    return m;
}

static bool attribute_value(const struct resource_v1_device_attribute *x, struct cel_value *ret,
                            const char **why)
{
    if (x->has_int)
        *ret = cel_of_int(x->int_);
    else if (x->has_bool)
        *ret = cel_of_bool(x->bool_);
    else if (x->has_string)
        *ret = cel_of_str(x->string);
    else if (x->has_version && cel_semver_is(x->version))
        *ret = (struct cel_value){.kind = CEL_SEMVER, .string = x->version};
    else {
        *why = x->has_version ? "parse semantic version: invalid version"
                              : "unsupported attribute value";
        return false;
    }
    return true;
}

static struct cel_value capacity_of(struct arena *a, const struct subject *s)
{
    struct cel_map *m = domains_new(a);
    for (size_t i = 0; i < s->device->capacity_count; i++) {
        const struct resource_v1_device_capacity_entry *e = &s->device->capacity[i];
        struct quantity q = quantity_of(&e->value.value);
        put(a, m, s->driver, e->key,
            (struct cel_value){.kind = CEL_QUANTITY, .opaque = arena_memdup(a, &q, sizeof(q))});
    }
    return cel_of_map(m);
}

static void device_field(struct cel_lazy *l, struct arena *a, size_t index, struct cel_value *ret)
{
    const struct subject *s = (const struct subject *)l;
    switch (index) {
    case FIELD_MULTIPLE:
        *ret = cel_of_bool(s->device->has_allow_multiple_allocations &&
                           s->device->allow_multiple_allocations);
        return;
    case FIELD_ATTRIBUTES:
        *ret = s->attributes;
        return;
    case FIELD_CAPACITY:
        *ret = capacity_of(a, s);
        return;
    case FIELD_DRIVER:
        *ret = cel_of_str(s->driver);
        return;
    default:
        return;
    }
}

static bool as_bool(struct arena *a, const struct cel_value *v, bool *ret, struct str *ret_error)
{
    if (v->kind == CEL_BOOL) {
        *ret = v->boolean;
        return true;
    }
    struct str name = cel_value_type_name(v);
    *ret_error = v->kind == CEL_ERROR
                     ? v->string
                     : arena_printf(a,
                                    "CEL result of type " STR_FMT
                                    " could not be converted to bool: type conversion error from "
                                    "'" STR_FMT "' to 'bool'",
                                    STR_ARG(name), STR_ARG(name));
    return false;
}

bool cel_device_matches(const struct cel_program *p, struct arena *a, struct str driver,
                        const struct resource_v1_device *d, bool *ret, struct str *ret_error)
{
    struct subject *s = ARENA_NEW(a, struct subject);
    struct cel_map *attributes = domains_new(a);
    *s = (struct subject){.lazy = {device_field}, .driver = driver, .device = d};
    for (size_t i = 0; i < d->attributes_count; i++) {
        struct cel_value v;
        const char *why;
        if (!attribute_value(&d->attributes[i].value, &v, &why)) {
            *ret_error =
                arena_printf(a, "attribute " STR_FMT ": %s", STR_ARG(d->attributes[i].key), why);
            return false;
        }
        put(a, attributes, driver, d->attributes[i].key, v);
    }
    s->attributes = cel_of_map(attributes);
    struct cel_value device = {.kind = CEL_OBJECT, .type = &device_type, .lazy = &s->lazy};
    int64_t cost = CEL_DEVICE_COST_MAX;
    struct cel_value v = cel_eval(p, a, &device, &cost);
    return as_bool(a, &v, ret, ret_error);
}
