/* slice_devices.c - see slice_devices.h. Pure.
 *
 * Lists of attributes and mappings to resources of nodes are alpha in 1.36 and
 * off: they are cleared before (see resourceslices.c). */
#include "apiserver/kinds/slice_devices.h"

#include "apiserver/kinds/device_rules.h"
#include "apiserver/kinds/node_selector.h"
#include "api/core_v1.h"
#include "api/resource.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <inttypes.h>

#define DEVICES_MAX 128u
#define ADVANCED_DEVICES_MAX 64u
#define ATTRIBUTES_MAX 32u
#define KEY_BYTES_MAX 96u /* A domain, a slash and a name. */
#define VALUE_BYTES_MAX 64
#define TAINTS_MAX 16
#define CONSUMPTIONS_MAX 2
#define COUNTER_SETS_MAX 8
#define COUNTERS_MAX 32
#define OPTIONS_MAX 10

#define device_v1 struct resource_v1_device
#define device_policy struct resource_v1_capacity_request_policy

/* Keys as paths show them: long ones lose their middle. */
static struct str shown_key(struct arena *a, struct str key, size_t max)
{
    if (key.len <= max)
        return key;
    size_t rest = max - 3, head = (rest + 1) / 2, tail = rest / 2;
    return arena_printf(a, STR_FMT "..." STR_FMT, STR_ARG(str_sub(key, 0, head)),
                        STR_ARG(str_sub(key, key.len - tail, tail)));
}

/* --- attributes ------------------------------------------------------------------------------ */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Numbers have no leading zeros. */
static bool is_number(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_digit(s.data[i]))
            return false;
    return s.len != 0 && (s.len == 1 || s.data[0] != '0');
}

/* Identifiers with dots between; plain: numbers may have leading zeros. */
static bool are_identifiers(struct str s, bool plain)
{
    struct str part, rest = s;
    bool more = true;
    while (more) {
        bool digits = true;
        more = str_cut(rest, '.', &part, &rest);
        for (size_t i = 0; i < part.len; i++) {
            char c = part.data[i];
            if (!is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-')
                return false;
            digits = digits && is_digit(c);
        }
        if (part.len == 0 || (!plain && digits && !is_number(part)))
            return false;
    }
    return true;
}

static bool is_semver(struct str s)
{
    struct str version, build, core, pre, major, minor, patch, rest;
    bool has_build = str_cut(s, '+', &version, &build);
    if (!has_build)
        version = s;
    bool has_pre = str_cut(version, '-', &core, &pre);
    if (!has_pre)
        core = version;
    return (!has_build || are_identifiers(build, true)) &&
           (!has_pre || are_identifiers(pre, false)) && str_cut(core, '.', &major, &rest) &&
           str_cut(rest, '.', &minor, &patch) && is_number(major) && is_number(minor) &&
           is_number(patch);
}

/* Upstream's internal struct has names of its own. */
static struct str shown_attribute(struct arena *a, const struct resource_v1_device_attribute *v)
{
    static const struct {
        const char *member, *name;
    } parts[] = {{"int", "IntValue"},         {"bool", "BoolValue"},
                 {"string", "StringValue"},   {"version", "VersionValue"},
                 {"ints", "IntValues"},       {"bools", "BoolValues"},
                 {"strings", "StringValues"}, {"versions", "VersionValues"}};
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        buf_printf(
            &b, "%c\"%s\":" STR_FMT, i == 0 ? '{' : ',', parts[i].name,
            STR_ARG(field_member_render(a, &resource_v1_device_attribute_msg, v, parts[i].member)));
    buf_putc(&b, '}');
    return arena_str(a, buf_str(&b));
}

static void check_attribute(struct field_errors *errs, const struct field_path *at,
                            const struct resource_v1_device_attribute *a)
{
    int given = a->has_bool + a->has_int + a->has_string + a->has_version;
    if (a->has_string && a->string.len > VALUE_BYTES_MAX)
        field_too_long(errs, PATH(at, "string"), VALUE_BYTES_MAX);
    if (a->has_version && !is_semver(a->version))
        field_invalid(errs, PATH(at, "version"), a->version,
                      "must be a string compatible with semver.org spec 2.0.0");
    if (a->has_version && a->version.len > VALUE_BYTES_MAX)
        field_too_long(errs, PATH(at, "version"), VALUE_BYTES_MAX);
    if (given == 0)
        field_invalid(errs, at, STR(""), "exactly one value must be specified");
    else if (given > 1)
        field_invalid_raw(errs, at, shown_attribute(errs->arena, a),
                          "exactly one value must be specified");
}

/* --- capacity ----------------------------------------------------------------------------------
 */

static bool above(const struct resource_quantity *x, const struct resource_quantity *y)
{
    struct quantity a = quantity_of(x), b = quantity_of(y);
    return quantity_cmp(&a, &b) > 0;
}

static void check_options(struct field_errors *errs, const struct field_path *path,
                          const struct resource_quantity *most, const device_policy *p)
{
    bool found = false;
    for (size_t i = 0; i + 1 < p->valid_values_count; i++)
        if (above(&p->valid_values[i], &p->valid_values[i + 1]))
            field_invalid(errs, PATH_INDEX(path, i + 1), quantity_shown(&p->valid_values[i + 1]),
                          "values must be sorted in ascending order");
    if (check_device_count(errs, path, p->valid_values_count, OPTIONS_MAX)) {
        struct str *keys = ARENA_ARRAY(errs->arena, struct str, p->valid_values_count);
        for (size_t i = 0; i < p->valid_values_count; i++) {
            const struct resource_quantity *v = &p->valid_values[i];
            struct quantity q = quantity_of(v);
            keys[i] = arena_printf(errs->arena, "%" PRId64, quantity_value(&q));
            if (above(v, most))
                field_invalid(errs, PATH_INDEX(path, i), quantity_shown(v),
                              "option is larger than capacity value: " STR_FMT,
                              STR_ARG(quantity_shown(most)));
            found = found || (!above(v, p->default_) && !above(p->default_, v));
        }
        check_device_doubles(errs, path, keys, p->valid_values_count);
    }
    if (!found)
        field_invalid(errs, path, quantity_shown(p->default_),
                      "default value is not valid according to the requestPolicy");
}

static void check_step(struct field_errors *errs, const struct field_path *path,
                       const struct resource_quantity *value,
                       const struct resource_v1_capacity_request_policy_range *r)
{
    struct quantity v = quantity_of(value), min = quantity_of(r->min), step = quantity_of(r->step);
    int64_t by = quantity_value(&step);
    if (by != 0 && (quantity_value(&v) - quantity_value(&min)) % by != 0)
        field_invalid(errs, path, quantity_shown(value),
                      "value is not a multiple of a given step (" STR_FMT ") from (" STR_FMT ")",
                      STR_ARG(quantity_shown(r->step)), STR_ARG(quantity_shown(r->min)));
}

static void check_range_max(struct field_errors *errs, const struct field_path *path,
                            const struct resource_quantity *most, const device_policy *p)
{
    const struct resource_v1_capacity_request_policy_range *r = p->valid_range;
    if (above(r->min, r->max))
        field_invalid(errs, path, quantity_shown(r->min), "min is larger than max: " STR_FMT,
                      STR_ARG(quantity_shown(r->max)));
    if (above(r->max, most))
        field_invalid(errs, path, quantity_shown(r->max),
                      "max is larger than capacity value: " STR_FMT, STR_ARG(quantity_shown(most)));
    if (above(p->default_, r->max))
        field_invalid(errs, path, quantity_shown(p->default_), "default is more than max: " STR_FMT,
                      STR_ARG(quantity_shown(r->max)));
}

static void check_range(struct field_errors *errs, const struct field_path *path,
                        const struct resource_quantity *most, const device_policy *p)
{
    const struct resource_v1_capacity_request_policy_range *r = p->valid_range;
    const struct field_path *min = PATH(path, "min"), *step = PATH(path, "step");
    if (r->min == NULL) {
        field_required(errs, min, "required when validRange is defined");
        return;
    }
    if (above(r->min, most))
        field_invalid(errs, min, quantity_shown(r->min),
                      "min is larger than capacity value: " STR_FMT, STR_ARG(quantity_shown(most)));
    if (above(r->min, p->default_))
        field_invalid(errs, min, quantity_shown(p->default_), "default is less than min: " STR_FMT,
                      STR_ARG(quantity_shown(r->min)));
    if (r->max != NULL)
        check_range_max(errs, PATH(path, "max"), most, p);
    if (r->step == NULL)
        return;
    struct quantity one = quantity_of(r->min), by = quantity_of(r->step), all = quantity_of(most);
    quantity_add(&one, &by);
    if (quantity_cmp(&one, &all) > 0) {
        field_invalid(errs, step, quantity_shown(r->step),
                      "one step " STR_FMT " is larger than capacity value: " STR_FMT,
                      STR_ARG(quantity_str(errs->arena, &one)), STR_ARG(quantity_shown(most)));
    }
    check_step(errs, step, p->default_, r);
    if (r->max != NULL)
        check_step(errs, step, r->max, r);
}

static void check_capacity(struct field_errors *errs, const struct field_path *at,
                           const struct resource_v1_device_capacity *c, bool shared)
{
    const struct field_path *policy = PATH(at, "requestPolicy");
    const device_policy *p = c->request_policy;
    if (p == NULL)
        return;
    if (!shared) {
        field_forbidden(errs, policy, "allowMultipleAllocations must be true");
    } else if (p->valid_values_count != 0 && p->valid_range != NULL) {
        field_forbidden(errs, policy,
                        "exactly one policy can be specified, cannot specify \"validValues\" and "
                        "\"validRange\" at the same time");
    } else if (p->valid_values_count != 0) {
        if (p->default_ == NULL)
            field_required(errs, PATH(policy, "default"), "required when validValues is defined");
        else
            check_options(errs, PATH(policy, "validValues"), &c->value, p);
    } else if (p->valid_range != NULL) {
        if (p->default_ == NULL)
            field_required(errs, PATH(policy, "default"), "required when validRange is defined");
        else
            check_range(errs, PATH(policy, "validRange"), &c->value, p);
    }
}

/* --- counters
 * ------------------------------------------------------------------------------------- */

static void check_counters(struct field_errors *errs, const struct field_path *path,
                           const struct resource_v1_counter_entry *c, size_t count)
{
    if (count == 0)
        field_required(errs, path, NULL);
    if (!check_device_count(errs, path, count, COUNTERS_MAX))
        return;
    for (size_t i = 0; i < count; i++)
        validate_form(errs, path, c[i].key, api_check_dns_label);
}

static void check_consumption(struct field_errors *errs, const struct field_path *path,
                              const device_v1 *d)
{
    if (!check_device_count(errs, path, d->consumes_counters_count, CONSUMPTIONS_MAX))
        return;
    struct str *names = ARENA_ARRAY(errs->arena, struct str, d->consumes_counters_count);
    for (size_t i = 0; i < d->consumes_counters_count; i++) {
        const struct resource_v1_device_counter_consumption *c = &d->consumes_counters[i];
        names[i] = c->counter_set;
        require_form(errs, PATH(PATH_INDEX(path, i), "counterSet"), c->counter_set,
                     api_check_dns_label);
        check_counters(errs, PATH(PATH_INDEX(path, i), "counters"), c->counters, c->counters_count);
    }
    check_device_doubles(errs, path, names, d->consumes_counters_count);
}

void validate_slice_counters(struct field_errors *errs, const struct field_path *path,
                             const struct resource_v1_resource_slice_spec *s)
{
    if (!check_device_count(errs, path, s->shared_counters_count, COUNTER_SETS_MAX))
        return;
    struct str *names = ARENA_ARRAY(errs->arena, struct str, s->shared_counters_count);
    for (size_t i = 0; i < s->shared_counters_count; i++) {
        const struct resource_v1_counter_set *c = &s->shared_counters[i];
        names[i] = c->name;
        require_form(errs, PATH(PATH_INDEX(path, i), "name"), c->name, api_check_dns_label);
        check_counters(errs, PATH(PATH_INDEX(path, i), "counters"), c->counters, c->counters_count);
    }
    check_device_doubles(errs, path, names, s->shared_counters_count);
}

/* --- devices
 * ---------------------------------------------------------------------------------------- */

static void check_place(struct field_errors *errs, const struct field_path *at, const device_v1 *d)
{
    static const char one[] =
        "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when "
        "`perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    AUTO_BUF b = BUF_INIT;
    unsigned given = 0;
    if (d->has_node_name && str_empty(d->node_name)) {
        field_invalid(errs, PATH(at, "nodeName"), d->node_name, "must not be empty");
    } else if (d->has_node_name) {
        given++;
        buf_puts(&b, "`nodeName`");
        validate_form(errs, PATH(at, "nodeName"), d->node_name, api_check_dns_subdomain);
    }
    if (d->node_selector != NULL) {
        buf_printf(&b, "%s`nodeSelector`", given++ == 0 ? "" : ", ");
        validate_node_selector(errs, PATH(at, "nodeSelector"), d->node_selector);
    }
    if (d->has_all_nodes && d->all_nodes)
        buf_printf(&b, "%s`allNodes`", given++ == 0 ? "" : ", ");
    else if (d->has_all_nodes)
        field_invalid_bool(errs, PATH(at, "allNodes"), false,
                           "must be either unset or set to true");
    if (given == 0)
        field_required(errs, at, "%s", one);
    else if (given > 1)
        field_invalid(errs, at, arena_printf(errs->arena, "{" STR_FMT "}", STR_ARG(buf_str(&b))),
                      "%s", one);
}

static const device_v1 *find_device(const struct resource_v1_resource_slice_spec *s,
                                    struct str name)
{
    for (size_t i = 0; s != NULL && i < s->devices_count; i++)
        if (str_eq(s->devices[i].name, name))
            return &s->devices[i];
    return NULL;
}

static void check_taints(struct field_errors *errs, const struct field_path *path,
                         const device_v1 *d, const device_v1 *old)
{
    if (old != NULL &&
        api_field_equal(api_field_by_json(&resource_v1_device_msg, STR("taints")), d, old))
        return;
    if (check_device_count(errs, path, d->taints_count, TAINTS_MAX))
        for (size_t i = 0; i < d->taints_count; i++)
            check_device_taint(errs, PATH_INDEX(path, i), &d->taints[i]);
}

static void check_device(struct field_errors *errs, const struct field_path *at, const device_v1 *d,
                         const device_v1 *old, bool placed)
{
    bool shared = d->has_allow_multiple_allocations && d->allow_multiple_allocations;
    const struct field_path *attributes = PATH(at, "attributes"), *capacity = PATH(at, "capacity");
    size_t entries = d->attributes_count + d->capacity_count;
    validate_form(errs, PATH(at, "name"), d->name, api_check_dns_label);
    if (entries > ATTRIBUTES_MAX)
        field_invalid_int(errs, at, (int64_t)entries,
                          "the total number of attributes and capacities must not exceed %u",
                          ATTRIBUTES_MAX);
    for (size_t i = 0; i < d->attributes_count; i++) {
        struct str key = d->attributes[i].key;
        check_device_attribute_name(errs, attributes, key);
        check_attribute(errs, PATH_KEY(attributes, shown_key(errs->arena, key, KEY_BYTES_MAX)),
                        &d->attributes[i].value);
    }
    for (size_t i = 0; i < d->capacity_count; i++) {
        struct str key = d->capacity[i].key;
        check_device_attribute_name(errs, capacity, key);
        check_capacity(errs, PATH_KEY(capacity, shown_key(errs->arena, key, KEY_BYTES_MAX)),
                       &d->capacity[i].value, shared);
    }
    check_taints(errs, PATH(at, "taints"), d, old);
    check_consumption(errs, PATH(at, "consumesCounters"), d);
    if (placed)
        check_place(errs, at, d);
    else if (d->has_node_name || d->node_selector != NULL || d->has_all_nodes)
        field_invalid_raw(errs, at, STR("null"),
                          "`nodeName`, `nodeSelector` and `allNodes` can only be set if "
                          "`perDeviceNodeSelection` is set to true in the ResourceSlice spec");
    check_binding_conditions(errs, at, d->binding_conditions, d->binding_conditions_count,
                             d->binding_failure_conditions, d->binding_failure_conditions_count);
}

void validate_slice_devices(struct field_errors *errs, const struct field_path *path,
                            const struct resource_v1_resource_slice_spec *s,
                            const struct resource_v1_resource_slice_spec *old, bool placed)
{
    bool advanced = false;
    for (size_t i = 0; i < s->devices_count; i++)
        advanced = advanced || s->devices[i].taints_count != 0 ||
                   s->devices[i].consumes_counters_count != 0;
    if (!check_device_count(errs, path, s->devices_count,
                            advanced ? ADVANCED_DEVICES_MAX : DEVICES_MAX))
        return;
    struct str *names = ARENA_ARRAY(errs->arena, struct str, s->devices_count);
    for (size_t i = 0; i < s->devices_count; i++) {
        names[i] = s->devices[i].name;
        check_device(errs, PATH_INDEX(path, i), &s->devices[i], find_device(old, names[i]), placed);
    }
    check_device_doubles(errs, path, names, s->devices_count);
}
