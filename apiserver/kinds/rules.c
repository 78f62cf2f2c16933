/* rules.c - see rules.h. Pure. */
#include "apiserver/kinds/rules.h"

#include "api/intstr.h"
#include "api/resource.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

#include <inttypes.h>

bool is_listed(struct str s, const char *const *list)
{
    for (; *list != NULL; list++)
        if (str_eqc(s, *list))
            return true;
    return false;
}

bool list_has(const struct str *list, size_t count, const char *s)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(list[i], s))
            return true;
    return false;
}

void require_listed(struct field_errors *errs, const struct field_path *path, struct str s,
                    const char *const *list)
{
    if (str_empty(s))
        field_required(errs, path, NULL);
    else
        validate_listed(errs, path, s, list);
}

void validate_listed(struct field_errors *errs, const struct field_path *path, struct str s,
                     const char *const *list)
{
    if (!is_listed(s, list))
        field_not_supported(errs, path, s, list);
}

void validate_range(struct field_errors *errs, const struct field_path *path, int64_t v,
                    int64_t min, int64_t max)
{
    if (v < min || v > max)
        field_invalid_int(errs, path, v, "must be between %" PRId64 " and %" PRId64 ", inclusive",
                          min, max);
}

void require_form(struct field_errors *errs, const struct field_path *path, struct str s,
                  struct api_faults (*check)(struct str))
{
    if (str_empty(s))
        field_required(errs, path, NULL);
    else
        field_faults(errs, path, s, check(s));
}

void validate_form(struct field_errors *errs, const struct field_path *path, struct str s,
                   struct api_faults (*check)(struct str))
{
    field_faults(errs, path, s, check(s));
}

/* What stands behind the domain: path segments of URL characters. */
static bool is_url_path(struct str s)
{
    bool good = s.len != 0 && s.data[s.len - 1] != '/';
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        good = good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || strchr("/:@-._~%!$&'()*+,;=", c) != NULL);
    }
    return good;
}

void validate_domain_prefixed_path(struct field_errors *errs, const struct field_path *path,
                                   struct str s)
{
    struct str domain, rest;
    if (str_empty(s)) {
        field_required(errs, path, NULL);
        return;
    }
    if (!str_cut(s, '/', &domain, &rest) || str_empty(domain) || str_empty(rest)) {
        field_invalid(errs, path, s, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    }
    field_faults(errs, path, domain, api_check_dns_subdomain(domain));
    if (!is_url_path(rest))
        field_invalid(errs, path, rest, "Invalid path (regex used for validation is '%s')",
                      "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+");
}

void validate_domain_prefixed_key(struct field_errors *errs, const struct field_path *path,
                                  struct str key)
{
    struct str domain, name, lower = arena_str(errs->arena, key);
    for (size_t i = 0; i < lower.len; i++)
        if (lower.data[i] >= 'A' && lower.data[i] <= 'Z')
            ((char *)(uintptr_t)lower.data)[i] = (char)(lower.data[i] - 'A' + 'a');
    if (!str_cut(lower, '/', &domain, &name) || str_empty(domain) || str_empty(name)) {
        field_invalid(errs, path, key, "must be a domain-prefixed key (such as \"acme.io/foo\")");
        return;
    }
    field_faults(errs, path, domain, api_check_dns_subdomain(domain));
    field_faults(errs, path, name, api_check_qualified_name(name));
}

void validate_port_name(struct field_errors *errs, const struct field_path *path, struct str name)
{
    field_faults(errs, path, name, api_check_port_name(name));
}

void validate_port_or_name(struct field_errors *errs, const struct field_path *path,
                           const struct intstr_int_or_string *p)
{
    if (p->type == 0)
        validate_port(errs, path, p->int_val);
    else
        validate_port_name(errs, path, p->str_val);
}

void validate_file_mode(struct field_errors *errs, const struct field_path *path, int32_t mode)
{
    if (mode < 0 || mode > 0777)
        field_invalid_int(errs, path, mode,
                          "must be a number between 0 and 0777 (octal), both inclusive");
}

static struct str type_at(const void *conditions, size_t i, size_t size, size_t offset)
{
    return *(const struct str *)(const void *)((const char *)conditions + i * size + offset);
}

void validate_condition_types(struct field_errors *errs, const struct field_path *list,
                              const void *conditions, size_t count, size_t size, size_t offset)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *path = PATH(PATH_INDEX(list, i), "type");
        struct str type = type_at(conditions, i, size, offset);
        for (size_t k = 0; k < i; k++)
            if (str_eq(type_at(conditions, k, size, offset), type)) {
                field_duplicate(errs, path, type);
                break;
            }
        if (str_empty(type))
            field_required(errs, path, NULL);
    }
}

/* --- paths and addresses ----------------------------------------------------------- */

bool path_has_backsteps(struct str path)
{
    struct str rest = path, part;
    bool more = true;
    while (more) {
        more = str_cut(rest, '/', &part, &rest);
        if (str_eqc(part, ".."))
            return true;
    }
    return false;
}

void validate_no_backsteps(struct field_errors *errs, const struct field_path *path,
                           struct str value)
{
    if (path_has_backsteps(value))
        field_invalid(errs, path, value, "must not contain '..'");
}

void validate_descending_path(struct field_errors *errs, const struct field_path *path,
                              struct str value)
{
    if (str_has_prefix(value, STR("/")))
        field_invalid(errs, path, value, "must be a relative path");
    validate_no_backsteps(errs, path, value);
}

void validate_non_reserved_path(struct field_errors *errs, const struct field_path *path,
                                struct str value)
{
    validate_descending_path(errs, path, value);
    if (str_has_prefix(value, STR("..")) && !str_has_prefix(value, STR("../")))
        field_invalid(errs, path, value, "must not start with '..'");
}

void validate_non_special_ip(struct field_errors *errs, const struct field_path *path,
                             struct str value)
{
    uint8_t ip[16];
    bool v4 = false;
    if (!ip_parse(value, ip, &v4)) {
        field_invalid(errs, path, value, "must be a valid IP address");
        return;
    }
    static const uint8_t loopback6[16] = {[15] = 1}, none[16];
    bool unspecified = memcmp(ip, none, v4 ? 4 : 16) == 0;
    bool loopback = v4 ? ip[0] == 127 : memcmp(ip, loopback6, 16) == 0;
    bool link_local = v4 ? ip[0] == 169 && ip[1] == 254 : ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
    bool multicast =
        v4 ? ip[0] == 224 && ip[1] == 0 && ip[2] == 0 : ip[0] == 0xff && (ip[1] & 0x0f) == 2;
    if (unspecified)
        field_invalid(errs, path, value, "may not be unspecified (0.0.0.0 or ::)");
    if (loopback)
        field_invalid(errs, path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    if (link_local)
        field_invalid(errs, path, value,
                      "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    if (multicast)
        field_invalid(errs, path, value,
                      "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

/* --- resources ------------------------------------------------------------------------ */

const struct api_quantity_entry *find_quantity(const struct api_quantity_entry *e, size_t count,
                                               struct str key)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(e[i].key, key))
            return &e[i];
    return NULL;
}

bool is_hugepages(struct str name)
{
    return str_has_prefix(name, STR("hugepages-"));
}

bool is_native_resource(struct str name)
{
    return str_find(name, '/', 0) < 0 || str_find_str(name, STR("kubernetes.io/")) >= 0;
}

bool is_extended_resource(struct str name)
{
    if (is_native_resource(name) || str_has_prefix(name, STR("requests.")))
        return false;
    /* It must still be a name with quota's prefix before it. */
    char text[512];
    if (name.len + 9 > sizeof(text))
        return false;
    memcpy(text, "requests.", 9);
    memcpy(text + 9, name.data, name.len);
    struct str slash_name = str_n(text, name.len + 9), prefix, rest;
    return str_cut(slash_name, '/', &prefix, &rest) && api_check_dns_subdomain(prefix).count == 0 &&
           str_find(rest, '/', 0) < 0 && !str_empty(rest) && rest.len <= 63;
}

bool is_standard_resource(struct str name)
{
    static const char *const names[] = {"cpu",
                                        "memory",
                                        "ephemeral-storage",
                                        "requests.cpu",
                                        "requests.memory",
                                        "requests.ephemeral-storage",
                                        "limits.cpu",
                                        "limits.memory",
                                        "limits.ephemeral-storage",
                                        "pods",
                                        "resourcequotas",
                                        "services",
                                        "replicationcontrollers",
                                        "secrets",
                                        "persistentvolumeclaims",
                                        "configmaps",
                                        "services.nodeports",
                                        "services.loadbalancers",
                                        "storage",
                                        "requests.storage",
                                        NULL};
    return is_listed(name, names) || is_hugepages(name) ||
           str_has_prefix(name, STR("requests.hugepages-"));
}

bool is_standard_container_resource(struct str name)
{
    static const char *const names[] = {"cpu", "memory", "ephemeral-storage", NULL};
    return is_listed(name, names) || is_hugepages(name);
}

bool is_integer_resource(struct str name)
{
    static const char *const names[] = {"pods",
                                        "resourcequotas",
                                        "services",
                                        "replicationcontrollers",
                                        "secrets",
                                        "configmaps",
                                        "persistentvolumeclaims",
                                        "services.nodeports",
                                        "services.loadbalancers",
                                        NULL};
    return is_listed(name, names) || is_extended_resource(name);
}

void validate_resource_name(struct field_errors *errs, const struct field_path *path,
                            struct str name)
{
    struct api_faults f = api_check_qualified_name(name);
    field_faults(errs, path, name, f);
    if (f.count == 0 && str_find(name, '/', 0) < 0 && !is_standard_resource(name))
        field_invalid(errs, path, name, "must be a standard resource type or fully qualified");
}

void validate_container_resource_name(struct field_errors *errs, const struct field_path *path,
                                      struct str name)
{
    validate_resource_name(errs, path, name);
    if (str_find(name, '/', 0) < 0) {
        if (!is_standard_container_resource(name))
            field_invalid(errs, path, name, "must be a standard resource for containers");
    } else if (!is_native_resource(name) && !is_extended_resource(name)) {
        field_invalid(errs, path, name, "doesn't follow extended resource name standard");
    }
}

struct str quantity_shown(const struct resource_quantity *q)
{
    return str_empty(q->string) ? STR("0") : q->string;
}

void validate_non_negative_quantity(struct field_errors *errs, const struct field_path *path,
                                    const struct resource_quantity *value)
{
    struct quantity q = quantity_of(value);
    if (quantity_sign(&q) < 0)
        field_invalid(errs, path, quantity_shown(value), "must be greater than or equal to 0");
}

void validate_positive_quantity(struct field_errors *errs, const struct field_path *path,
                                const struct resource_quantity *value)
{
    struct quantity q = quantity_of(value);
    if (quantity_sign(&q) <= 0)
        field_invalid(errs, path, quantity_shown(value), "must be greater than zero");
}

void validate_quantity_value(struct field_errors *errs, const struct field_path *path,
                             struct str name, const struct resource_quantity *value)
{
    struct quantity q = quantity_of(value);
    validate_non_negative_quantity(errs, path, value);
    if (is_integer_resource(name) && quantity_milli_value(&q) % 1000 != 0)
        field_invalid(errs, path, quantity_shown(value), "must be an integer");
}
