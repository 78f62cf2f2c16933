/* device_rules.c - see device_rules.h. Pure. */
#include "apiserver/kinds/device_rules.h"

#include "apiserver/kinds/volume_sources.h"
#include "api/resource_v1.h"
#include "api/runtime.h"
#include "lib/api/cel/cel_device.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#define SELECTORS_MAX 32
#define PARAMETER_BYTES_MAX ((size_t)10 * 1024)
#define POOL_BYTES_MAX 253
#define NAME_BYTES_MAX 32
#define UID_BYTES 36
#define CONDITIONS_MAX 4

bool check_device_count(struct field_errors *errs, const struct field_path *path, size_t count,
                        size_t max)
{
    if (count > max)
        field_too_many(errs, path, (int64_t)count, (int64_t)max);
    return count <= max;
}

void check_device_doubles(struct field_errors *errs, const struct field_path *path,
                          const struct str *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(names[k], names[i])) {
                field_duplicate(errs, PATH_INDEX(path, i), names[i]);
                break;
            }
}

void check_pool_name(struct field_errors *errs, const struct field_path *path, struct str name)
{
    struct str part, rest = name;
    bool more = true;
    if (str_empty(name)) {
        field_required(errs, path, NULL);
        return;
    }
    if (name.len > POOL_BYTES_MAX)
        field_too_long(errs, path, POOL_BYTES_MAX);
    while (more) {
        more = str_cut(rest, '/', &part, &rest);
        validate_form(errs, path, part, api_check_dns_subdomain);
    }
}

void check_share_id(struct field_errors *errs, const struct field_path *path, struct str uid)
{
    bool dashed = uid.len == UID_BYTES;
    for (size_t i = 0; i < uid.len && dashed; i++) {
        char c = uid.data[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        dashed = dash ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    }
    if (!dashed && uid.len == UID_BYTES)
        field_invalid(errs, path, uid,
                      "uid must be in RFC 4122 normalized form, "
                      "`xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal "
                      "characters");
    else if (!dashed)
        field_invalid(errs, path, uid, "error validating uid: invalid UUID length: %zu", uid.len);
}

static void check_identifier(struct field_errors *errs, const struct field_path *path,
                             struct str name)
{
    if (name.len > NAME_BYTES_MAX)
        field_too_long(errs, path, NAME_BYTES_MAX);
    validate_form(errs, path, name, api_check_c_identifier);
}

void check_device_attribute_name(struct field_errors *errs, const struct field_path *path,
                                 struct str name)
{
    struct str domain, rest;
    if (!str_cut(name, '/', &domain, &rest)) {
        check_identifier(errs, path, name);
        return;
    }
    if (str_find(rest, '/', 0) >= 0)
        return; /* Upstream lets these pass. */
    if (str_empty(domain))
        field_invalid(errs, path, STR(""), "the domain must not be empty");
    else
        check_csi_driver_name(errs, path, domain);
    if (str_empty(rest))
        field_invalid(errs, path, STR(""), "the name must not be empty");
    else
        check_identifier(errs, path, rest);
}

/* --- selectors --------------------------------------------------------------------------- */

static void check_expression(struct field_errors *errs, const struct field_path *path,
                             struct str text)
{
    struct cel_program *program;
    struct str why;
    if (text.len > CEL_DEVICE_TEXT_MAX)
        field_too_long(errs, path, CEL_DEVICE_TEXT_MAX);
    else if (cel_device_compile(errs->arena, text, &program, &why) != 0)
        field_invalid(errs, path, text, STR_FMT, STR_ARG(why));
    else if (cel_device_cost(program) > CEL_DEVICE_COST_MAX)
        field_forbidden(errs, path, "too complex, exceeds cost limit");
}

void check_device_selectors(struct field_errors *errs, const struct field_path *path,
                            const struct resource_v1_device_selector *s, size_t count)
{
    if (!check_device_count(errs, path, count, SELECTORS_MAX))
        return;
    for (size_t i = 0; i < count; i++) {
        const struct field_path *cel = PATH(PATH_INDEX(path, i), "cel");
        if (s[i].cel == NULL)
            field_required(errs, cel, NULL);
        else
            check_expression(errs, PATH(cel, "expression"), s[i].cel->expression);
    }
}

/* --- configuration ------------------------------------------------------------------------- */

void check_raw_object(struct field_errors *errs, const struct field_path *path,
                      const struct runtime_raw_extension *r, size_t max)
{
    struct json *j;
    struct error err = {0};
    if (str_empty(r->raw))
        field_required(errs, path, NULL);
    else if (r->raw.len > max)
        field_too_long(errs, path, (int64_t)max);
    else if (json_parse(errs->arena, r->raw, &j, &err) != 0)
        field_invalid(errs, path, STR("<value omitted>"), "error parsing data as JSON: %s",
                      error_message(&err));
    else if (j->type == JSON_NULL)
        field_required(errs, path, NULL);
    else if (j->type != JSON_OBJECT)
        field_invalid(errs, path, STR("<value omitted>"), "must be a valid JSON object");
}

void check_device_configuration(struct field_errors *errs, const struct field_path *path,
                                const struct resource_v1_device_configuration *c)
{
    const struct field_path *opaque = PATH(path, "opaque");
    if (c->opaque == NULL) {
        field_required(errs, opaque, NULL);
        return;
    }
    check_csi_driver_name(errs, PATH(opaque, "driver"), c->opaque->driver);
    check_raw_object(errs, PATH(opaque, "parameters"), &c->opaque->parameters, PARAMETER_BYTES_MAX);
}

/* --- taints ---------------------------------------------------------------------------------- */

static const char *const effects[] = {"NoExecute", "NoSchedule", "None", NULL};

void check_device_taint(struct field_errors *errs, const struct field_path *at,
                        const struct resource_v1_device_taint *t)
{
    validate_qualified_name(errs, PATH(at, "key"), t->key);
    if (!str_empty(t->value))
        validate_form(errs, PATH(at, "value"), t->value, api_check_label_value);
    require_listed(errs, PATH(at, "effect"), t->effect, effects);
}

void check_device_toleration(struct field_errors *errs, const struct field_path *at,
                             const struct resource_v1_device_toleration *t)
{
    static const char *const operators[] = {"Equal", "Exists", NULL};
    if (!str_empty(t->key))
        validate_qualified_name(errs, PATH(at, "key"), t->key);
    if (str_eqc(t->operator, "Exists")) {
        if (!str_empty(t->value))
            field_invalid(errs, PATH(at, "value"), t->value, "must be empty for operator `Exists`");
    } else if (str_eqc(t->operator, "Equal")) {
        validate_form(errs, PATH(at, "value"), t->value, api_check_label_value);
    } else {
        require_listed(errs, PATH(at, "operator"), t->operator, operators);
    }
    if (!str_empty(t->effect))
        validate_listed(errs, PATH(at, "effect"), t->effect, effects);
}

/* --- conditions of binding ---------------------------------------------------------------------
 */

static void check_condition_names(struct field_errors *errs, const struct field_path *path,
                                  const struct str *names, size_t count)
{
    if (!check_device_count(errs, path, count, CONDITIONS_MAX))
        return;
    for (size_t i = 0; i < count; i++)
        validate_qualified_name(errs, PATH_INDEX(path, i), names[i]);
}

void check_binding_conditions(struct field_errors *errs, const struct field_path *at,
                              const struct str *conditions, size_t count,
                              const struct str *failures, size_t failures_count)
{
    const struct field_path *good = PATH(at, "bindingConditions"),
                            *bad = PATH(at, "bindingFailureConditions");
    check_condition_names(errs, good, conditions, count);
    check_condition_names(errs, bad, failures, failures_count);
    check_device_doubles(errs, good, conditions, count);
    for (size_t i = 0; i < failures_count; i++) {
        bool doubled = false, overlaps = false;
        for (size_t k = 0; k < i; k++)
            doubled = doubled || str_eq(failures[k], failures[i]);
        for (size_t k = 0; k < count; k++)
            overlaps = overlaps || str_eq(conditions[k], failures[i]);
        if (doubled)
            field_duplicate(errs, PATH_INDEX(bad, i), failures[i]);
        if (overlaps)
            field_invalid(errs, PATH_INDEX(bad, i), failures[i],
                          "bindingFailureConditions must not overlap with bindingConditions");
    }
    if (count == 0 && failures_count != 0)
        field_invalid_raw(errs, good, STR("null"),
                          "bindingConditions are required to use bindingFailureConditions");
    if (failures_count == 0 && count != 0)
        field_invalid_raw(errs, bad, STR("null"),
                          "bindingFailureConditions are required to use bindingConditions");
}
