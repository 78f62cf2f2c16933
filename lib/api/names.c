/* names.c - see names.h. The forms are upstream's regular expressions, checked
 * by hand; the texts quote them. */
#include "lib/api/names.h"

#include "lib/base/base.h"

enum { LABEL_MAX = 63, SUBDOMAIN_MAX = 253, PORT_NAME_MAX = 15 };

#define LABEL_RE "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define SUBDOMAIN_RE LABEL_RE "(\\." LABEL_RE ")*"
#define NAME_RE "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define USED "regex used for validation is "

#define SUBDOMAIN_FORM                                                                             \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "   \
    "'.', and "                                                                                    \
    "must start and end with an alphanumeric character (e.g. 'example.com', " USED                 \
    "'" SUBDOMAIN_RE "')"
#define NAME_FORM                                                                                  \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "    \
    "alphanumeric "                                                                                \
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', " USED "'" NAME_RE "')"

static void fault(struct api_faults *f, const char *text)
{
    if (f->count < ARRAY_SIZE(f->items))
        f->items[f->count++] = text;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_lower_alnum(char c)
{
    return is_lower(c) || is_digit(c);
}
static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_label(struct str s)
{
    if (s.len == 0 || !is_lower_alnum(s.data[0]) || !is_lower_alnum(s.data[s.len - 1]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_lower_alnum(s.data[i]) && s.data[i] != '-')
            return false;
    return true;
}

static bool is_subdomain(struct str s)
{
    struct str part, rest = s;
    bool more = true;
    while (more) {
        more = str_cut(rest, '.', &part, &rest);
        if (!is_label(part))
            return false;
    }
    return true;
}

static bool is_name(struct str s)
{
    if (s.len == 0 || !is_alnum(s.data[0]) || !is_alnum(s.data[s.len - 1]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.data[i]) && s.data[i] != '-' && s.data[i] != '_' && s.data[i] != '.')
            return false;
    return true;
}

struct api_faults api_check_dns_label(struct str s)
{
    struct api_faults f = {.count = 0};
    if (s.len > LABEL_MAX)
        fault(&f, "must be no more than 63 characters");
    if (!is_label(s))
        fault(
            &f,
            is_subdomain(s)
                ? "must not contain dots"
                : "a lowercase RFC 1123 label must consist of lower case alphanumeric characters "
                  "or "
                  "'-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
                  "'123-abc', " USED "'" LABEL_RE "')");
    return f;
}

struct api_faults api_check_dns_subdomain(struct str s)
{
    struct api_faults f = {.count = 0};
    if (s.len > SUBDOMAIN_MAX)
        fault(&f, "must be no more than 253 characters");
    if (!is_subdomain(s))
        fault(&f, SUBDOMAIN_FORM);
    return f;
}

struct api_faults api_check_dns1035_label(struct str s)
{
    struct api_faults f = {.count = 0};
    if (s.len > LABEL_MAX)
        fault(&f, "must be no more than 63 characters");
    if (!is_label(s) || !is_lower(s.data[0]))
        fault(&f, "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
                  "start with an "
                  "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  "
                  "or 'abc-123', " USED "'[a-z]([-a-z0-9]*[a-z0-9])?')");
    return f;
}

struct api_faults api_check_wildcard_subdomain(struct str s)
{
    struct api_faults f = {.count = 0};
    if (s.len > SUBDOMAIN_MAX)
        fault(&f, "must be no more than 253 characters");
    if (!str_has_prefix(s, STR("*.")) || !is_subdomain(str_sub(s, 2, s.len)))
        fault(&f, "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
                  "subdomain, which must "
                  "consist of lower case alphanumeric characters, '-' or '.' and end with an "
                  "alphanumeric character "
                  "(e.g. '*.example.com', " USED "'\\*\\." SUBDOMAIN_RE "')");
    return f;
}

struct api_faults api_check_qualified_name(struct str s)
{
    struct api_faults f = {.count = 0};
    struct str prefix, name;
    if (!str_cut(s, '/', &prefix, &name)) {
        name = s;
    } else if (str_find(name, '/', 0) >= 0) {
        fault(&f, "a valid label key " NAME_FORM
                  " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
        return f;
    } else if (prefix.len == 0) {
        fault(&f, "prefix part must be non-empty");
    } else {
        if (prefix.len > SUBDOMAIN_MAX)
            fault(&f, "prefix part must be no more than 253 bytes");
        if (!is_subdomain(prefix))
            fault(&f, "prefix part " SUBDOMAIN_FORM);
    }
    if (name.len == 0)
        fault(&f, "name part must be non-empty");
    else if (name.len > LABEL_MAX)
        fault(&f, "name part must be no more than 63 bytes");
    if (!is_name(name))
        fault(&f, "name part " NAME_FORM);
    return f;
}

struct api_faults api_check_label_value(struct str s)
{
    struct api_faults f = {.count = 0};
    if (s.len > LABEL_MAX)
        fault(&f, "must be no more than 63 bytes");
    if (s.len > 0 && !is_name(s))
        fault(&f, "a valid label must be an empty string or consist of alphanumeric characters, "
                  "'-', '_' or '.', and "
                  "must start and end with an alphanumeric character (e.g. 'MyValue',  or "
                  "'my_value',  or '12345', " USED "'(" NAME_RE ")?')");
    return f;
}

/* Names that end up as files must not lead elsewhere. */
static void check_parent_folder(struct api_faults *f, struct str s)
{
    if (str_eqc(s, "."))
        fault(f, "must not be '.'");
    else if (str_eqc(s, ".."))
        fault(f, "must not be '..'");
    else if (str_has_prefix(s, STR("..")))
        fault(f, "must not start with '..'");
}

struct api_faults api_check_config_key(struct str s)
{
    struct api_faults f = {.count = 0};
    bool good = s.len > 0;
    for (size_t i = 0; i < s.len; i++)
        good = good &&
               (is_alnum(s.data[i]) || s.data[i] == '-' || s.data[i] == '.' || s.data[i] == '_');
    if (s.len > SUBDOMAIN_MAX)
        fault(&f, "must be no more than 253 characters");
    if (!good)
        fault(&f, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
                  "(e.g. 'key.name',  or "
                  "'KEY_NAME',  or 'key-name', " USED "'[-._a-zA-Z0-9]+')");
    check_parent_folder(&f, s);
    return f;
}

struct api_faults api_check_env_name(struct str s)
{
    struct api_faults f = {.count = 0};
    if (s.len == 0)
        fault(&f, "environment variable name must be non-empty");
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < ' ' || s.data[i] > '~' || s.data[i] == '=') {
            fault(&f, "a valid environment variable name must consist only of printable ASCII "
                      "characters other than "
                      "'='");
            break;
        }
    }
    return f;
}

struct api_faults api_check_port_name(struct str s)
{
    struct api_faults f = {.count = 0};
    bool charset = s.len > 0, letter = false;
    for (size_t i = 0; i < s.len; i++) {
        charset = charset && (is_lower_alnum(s.data[i]) || s.data[i] == '-');
        letter = letter || is_lower(s.data[i]);
    }
    if (s.len > PORT_NAME_MAX)
        fault(&f, "must be no more than 15 characters");
    if (!charset)
        fault(&f, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    if (!letter)
        fault(&f, "must contain at least one letter (a-z)");
    if (str_find_str(s, STR("--")) >= 0)
        fault(&f, "must not contain consecutive hyphens");
    if (s.len > 0 && (s.data[0] == '-' || s.data[s.len - 1] == '-'))
        fault(&f, "must not begin or end with a hyphen");
    return f;
}

struct api_faults api_check_condition_reason(struct str s)
{
    struct api_faults f = {.count = 0};
    bool good = s.len != 0 && is_alnum(s.data[0]) && !is_digit(s.data[0]);
    for (size_t i = 1; i < s.len; i++)
        good = good && (is_alnum(s.data[i]) || s.data[i] == '_' ||
                        (i + 1 < s.len && (s.data[i] == ',' || s.data[i] == ':')));
    if (!good)
        fault(&f, "a condition reason must start with alphabetic character, optionally followed by "
                  "a string of alphanumeric characters or '_,:', and must end with an alphanumeric "
                  "character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or "
                  "'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
                  "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
    return f;
}

struct api_faults api_check_c_identifier(struct str s)
{
    struct api_faults f = {.count = 0};
    bool good = s.len != 0 && !is_digit(s.data[0]);
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

struct api_faults api_check_percent(struct str s)
{
    struct api_faults f = {.count = 0};
    bool good = s.len >= 2 && s.data[s.len - 1] == '%';
    for (size_t i = 0; i + 1 < s.len; i++)
        good = good && is_digit(s.data[i]);
    if (!good)
        fault(&f, "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
                  "'1%',  or '93%', " USED "'[0-9]+%')");
    return f;
}

struct api_faults api_check_path_segment(struct str s)
{
    struct api_faults f = {.count = 0};
    if (str_eqc(s, "."))
        fault(&f, "may not be '.'");
    else if (str_eqc(s, ".."))
        fault(&f, "may not be '..'");
    if (str_find(s, '/', 0) >= 0)
        fault(&f, "may not contain '/'");
    if (str_find(s, '%', 0) >= 0)
        fault(&f, "may not contain '%'");
    return f;
}
