/* validate.c - the forms of names and numbers; see validate.h. Pure.
 *
 * The texts are those of apimachinery's validation: clients match on them. */
#include "apiserver/validate.h"

#include "lib/base/arena.h"
#include "lib/api/codec.h"

#include <arpa/inet.h>
#include <string.h>

#define DNS_LABEL_MAX 63u
#define DNS_SUBDOMAIN_MAX 253u
#define QUALIFIED_NAME_MAX 63u
#define LABEL_VALUE_MAX 63u

static const char dns_label_text[] =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
static const char dns_subdomain_text[] =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
static const char dns1035_text[] = "a DNS-1035 label must consist of lower case alphanumeric "
                                   "characters or '-', start with an alphabetic character, "
                                   "and end with an alphanumeric character (e.g. 'my-name',  or "
                                   "'abc-123', regex used for validation is "
                                   "'[a-z]([-a-z0-9]*[a-z0-9])?')";
static const char wildcard_text[] =
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
    "must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
    "'*.example.com', "
    "regex used for validation is "
    "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
#define NAME_FORM                                                                                  \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "    \
    "alphanumeric "                                                                                \
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "        \
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
static const char name_part_text[] = "name part " NAME_FORM;
static const char qualified_text[] =
    "a valid label key " NAME_FORM
    " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
static const char label_value_text[] = "a valid label must be an empty string or consist of "
                                       "alphanumeric characters, '-', '_' or '.', and must start "
                                       "and end with an alphanumeric character (e.g. 'MyValue',  "
                                       "or 'my_value',  or '12345', regex used for validation "
                                       "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
static const char config_key_text[] =
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name', "
    " or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static void fault(struct faults *f, const char *msg)
{
    if (f->count < ARRAY_SIZE(f->msgs))
        f->msgs[f->count++] = msg;
}

/* [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool label_form(struct str s)
{
    if (s.len == 0 || !is_lower_alnum(s.data[0]) || !is_lower_alnum(s.data[s.len - 1]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_lower_alnum(s.data[i]) && s.data[i] != '-')
            return false;
    return true;
}

static bool subdomain_form(struct str s)
{
    struct str rest = s, part;
    bool more = true;
    while (more) {
        more = str_cut(rest, '.', &part, &rest);
        if (!label_form(part))
            return false;
    }
    return true;
}

/* ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9] */
static bool name_form(struct str s)
{
    if (s.len == 0 || !is_alnum(s.data[0]) || !is_alnum(s.data[s.len - 1]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.data[i]) && strchr("-_.", s.data[i]) == NULL)
            return false;
    return true;
}

struct faults check_dns_label(struct str s)
{
    struct faults f = {0};
    if (s.len > DNS_LABEL_MAX)
        fault(&f, "must be no more than 63 characters");
    if (!label_form(s))
        fault(&f, s.len <= DNS_LABEL_MAX && subdomain_form(s) ? "must not contain dots"
                                                              : dns_label_text);
    return f;
}

struct faults check_dns_subdomain(struct str s)
{
    struct faults f = {0};
    if (s.len > DNS_SUBDOMAIN_MAX)
        fault(&f, "must be no more than 253 characters");
    if (!subdomain_form(s))
        fault(&f, dns_subdomain_text);
    return f;
}

struct faults check_dns1035_label(struct str s)
{
    struct faults f = {0};
    if (s.len > DNS_LABEL_MAX)
        fault(&f, "must be no more than 63 characters");
    if (!label_form(s) || (s.data[0] >= '0' && s.data[0] <= '9'))
        fault(&f, dns1035_text);
    return f;
}

struct faults check_wildcard_subdomain(struct str s)
{
    struct faults f = {0};
    if (s.len > DNS_SUBDOMAIN_MAX)
        fault(&f, "must be no more than 253 characters");
    if (!str_has_prefix(s, STR("*.")) || !subdomain_form(str_sub(s, 2, s.len)))
        fault(&f, wildcard_text);
    return f;
}

struct faults check_qualified_name(struct str s, struct arena *a)
{
    struct faults f = {0};
    struct str prefix = STR_NULL, name = s;
    ptrdiff_t slash = str_find(s, '/', 0);
    if (slash >= 0) {
        if (str_find(s, '/', (size_t)slash + 1) >= 0) {
            fault(&f, qualified_text);
            return f;
        }
        prefix = str_sub(s, 0, (size_t)slash);
        name = str_sub(s, (size_t)slash + 1, s.len);
        if (prefix.len == 0) {
            fault(&f, "prefix part must be non-empty");
        } else {
            struct faults p = check_dns_subdomain(prefix);
            for (unsigned i = 0; i < p.count; i++)
                fault(&f, str_c(arena_printf(a, "prefix part %s", p.msgs[i])));
        }
    }
    if (name.len == 0)
        fault(&f, "name part must be non-empty");
    else if (name.len > QUALIFIED_NAME_MAX)
        fault(&f, "name part must be no more than 63 bytes");
    if (!name_form(name))
        fault(&f, name_part_text);
    return f;
}

struct faults check_label_value(struct str s)
{
    struct faults f = {0};
    if (s.len > LABEL_VALUE_MAX)
        fault(&f, "must be no more than 63 bytes");
    if (s.len != 0 && !name_form(s))
        fault(&f, label_value_text);
    return f;
}

/* Since 1.34 names may hold any printable ASCII character but '='. */
struct faults check_env_var_name(struct str s)
{
    struct faults f = {0};
    bool good = s.len != 0;
    for (size_t i = 0; i < s.len; i++)
        good = good && s.data[i] >= ' ' && s.data[i] <= '~' && s.data[i] != '=';
    if (!good)
        fault(&f, "a valid environment variable name must consist only of printable ASCII "
                  "characters other than '='");
    return f;
}

struct faults check_config_map_key(struct str s)
{
    struct faults f = {0};
    if (s.len > DNS_SUBDOMAIN_MAX)
        fault(&f, "must be no more than 253 characters");
    bool good = s.len != 0;
    for (size_t i = 0; i < s.len; i++)
        good = good && (is_alnum(s.data[i]) || strchr("-_.", s.data[i]) != NULL);
    if (!good)
        fault(&f, config_key_text);
    if (str_eqc(s, "."))
        fault(&f, "must not be '.'");
    else if (str_eqc(s, ".."))
        fault(&f, "must not be '..'");
    else if (str_has_prefix(s, STR("..")))
        fault(&f, "must not start with '..'");
    return f;
}

struct faults check_port_name(struct str s, const char *ret_msgs[5], unsigned *ret_count)
{
    unsigned n = 0;
    bool chars = true, letter = false, doubled = false;
    for (size_t i = 0; i < s.len; i++) {
        chars = chars && (is_lower_alnum(s.data[i]) || s.data[i] == '-');
        letter = letter || (s.data[i] >= 'a' && s.data[i] <= 'z');
        doubled = doubled || (i > 0 && s.data[i] == '-' && s.data[i - 1] == '-');
    }
    if (s.len > 15)
        ret_msgs[n++] = "must be no more than 15 characters";
    if (!chars || s.len == 0)
        ret_msgs[n++] = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
    if (!letter)
        ret_msgs[n++] = "must contain at least one letter (a-z)";
    if (doubled)
        ret_msgs[n++] = "must not contain consecutive hyphens";
    if (s.len > 0 && (s.data[0] == '-' || s.data[s.len - 1] == '-'))
        ret_msgs[n++] = "must not begin or end with a hyphen";
    *ret_count = n;
    struct faults f = {0};
    for (unsigned i = 0; i < n; i++)
        fault(&f, ret_msgs[i]);
    return f;
}

struct faults check_c_identifier(struct str s)
{
    struct faults f = {0};
    bool good = s.len != 0 && !(s.data[0] >= '0' && s.data[0] <= '9');
    for (size_t i = 0; i < s.len; i++)
        good = good && (is_alnum(s.data[i]) || s.data[i] == '_');
    if (!good)
        fault(&f, "a valid C identifier must start with alphabetic character or '_', followed by a "
                  "string of "
                  "alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', "
                  "regex used for "
                  "validation is '[A-Za-z_][A-Za-z0-9_]*')");
    return f;
}

bool ip_parse(struct str s, uint8_t ret[16], bool *ret_v4)
{
    char text[INET6_ADDRSTRLEN];
    if (s.len == 0 || s.len >= sizeof(text))
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    uint8_t addr[16] = {0};
    bool v4 = inet_pton(AF_INET, text, addr) == 1;
    if (!v4 && inet_pton(AF_INET6, text, addr) != 1)
        return false;
    memcpy(ret, addr, sizeof(addr));
    *ret_v4 = v4;
    return true;
}

bool cidr_parse(struct str s, uint8_t ret[16], bool *ret_v4, unsigned *ret_prefix)
{
    struct str ip, bits;
    uint64_t n = 0;
    if (!str_cut(s, '/', &ip, &bits) || !ip_parse(ip, ret, ret_v4) || bits.len > 3 ||
        !str_to_u64(bits, &n) || n > (*ret_v4 ? 32u : 128u) ||
        (bits.len > 1 && bits.data[0] == '0'))
        return false;
    *ret_prefix = (unsigned)n;
    return true;
}

void field_faults(struct field_errors *errs, const struct field_path *path, struct str value,
                  struct faults f)
{
    for (unsigned i = 0; i < f.count; i++)
        field_invalid(errs, path, value, "%s", f.msgs[i]);
}

/* A generateName prefix may end in '-', which the suffix will follow. */
static struct str without_dash(struct str name, bool generate)
{
    if (generate && name.len > 1 && name.data[name.len - 1] == '-')
        return str_sub(name, 0, name.len - 1);
    return name;
}

static void report(struct field_errors *errs, const struct field_path *path, struct str name,
                   struct faults f)
{
    field_faults(errs, path, name, f);
}

void name_dns_subdomain(struct field_errors *errs, const struct field_path *path, struct str name,
                        bool generate)
{
    report(errs, path, name, check_dns_subdomain(without_dash(name, generate)));
}

void name_dns_label(struct field_errors *errs, const struct field_path *path, struct str name,
                    bool generate)
{
    report(errs, path, name, check_dns_label(without_dash(name, generate)));
}

void name_dns1035_label(struct field_errors *errs, const struct field_path *path, struct str name,
                        bool generate)
{
    report(errs, path, name, check_dns1035_label(without_dash(name, generate)));
}

void name_path_segment(struct field_errors *errs, const struct field_path *path, struct str name,
                       bool generate)
{
    if (!generate && str_eqc(name, "."))
        field_invalid(errs, path, name, "may not be '.'");
    else if (!generate && str_eqc(name, ".."))
        field_invalid(errs, path, name, "may not be '..'");
    if (str_find(name, '/', 0) >= 0)
        field_invalid(errs, path, name, "may not contain '/'");
    if (str_find(name, '%', 0) >= 0)
        field_invalid(errs, path, name, "may not contain '%%'");
}

void validate_non_negative(struct field_errors *errs, const struct field_path *path, int64_t v)
{
    if (v < 0)
        field_invalid_int(errs, path, v, "must be greater than or equal to 0");
}

void validate_port(struct field_errors *errs, const struct field_path *path, int64_t v)
{
    if (v < 1 || v > 65535)
        field_invalid_int(errs, path, v, "must be between 1 and 65535, inclusive");
}

void validate_immutable(struct field_errors *errs, const struct field_path *path,
                        const struct api_msg *m, const void *obj, const void *old)
{
    if (!api_msg_equal(m, obj, old))
        field_invalid_msg(errs, path, m, obj, "field is immutable");
}

void validate_immutable_str(struct field_errors *errs, const struct field_path *path,
                            struct str obj, struct str old)
{
    if (!str_eq(obj, old))
        field_invalid(errs, path, obj, "field is immutable");
}
