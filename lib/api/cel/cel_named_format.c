/* cel_named_format.c - format.dns1123Label() and its like: named forms of
 * strings, whose validate() gives what is wrong, or none. */
#include "lib/api/cel/cel_net.h"
#include "lib/api/cel/cel_table.h"

#include "lib/api/names.h"
#include "lib/base/encode.h"

#include "lib/base/buf.h"

typedef struct api_faults check_fn(struct str s);

static struct api_faults one(const char *text)
{
    return (struct api_faults){.items = {text}, .count = text != NULL};
}

static struct api_faults check_uuid(struct str s)
{
    bool ok = s.len == 36;
    for (size_t i = 0; i < s.len && ok; i++) {
        char c = s.data[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        ok = dash ? c == '-'
                  : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    }
    return one(ok ? NULL : "does not match the UUID format");
}

static struct api_faults check_byte(struct str s)
{
    AUTO_BUF b = BUF_INIT;
    return one(base64_decode(BASE64_STD, s, &b) == 0 ? NULL : "invalid base64");
}

static struct api_faults check_date(struct str s)
{
    char text[32];
    int64_t sec;
    int32_t ns;
    if (s.len == 10) {
        memcpy(text, s.data, 10);
        memcpy(text + 10, "T00:00:00Z", 10);
        if (cel_timestamp_parse(str_n(text, 20), &sec, &ns))
            return one(NULL);
    }
    return one("invalid date");
}

static struct api_faults check_datetime(struct str s)
{
    int64_t sec;
    int32_t ns;
    return one(cel_timestamp_parse(s, &sec, &ns) ? NULL : "invalid datetime");
}

static struct api_faults check_uri(struct str s)
{
    struct str scheme, rest;
    bool ok = s.len != 0 &&
              (s.data[0] == '/' || (str_cut(s, ':', &scheme, &rest) && cel_is_identifier(scheme)));
    for (size_t i = 0; i < s.len; i++)
        ok = ok && (unsigned char)s.data[i] > ' ';
    return one(ok ? NULL : "invalid URI");
}

/* As check, for the prefix of a generated name: without a dash at the end. */
static struct api_faults of_prefix(struct str s, check_fn *check)
{
    if (s.len > 1 && s.data[s.len - 1] == '-')
        s.len--;
    char text[256];
    if (s.len >= sizeof(text))
        return check(s);
    memcpy(text, str_c(s), s.len);
    return check(str_n(text, s.len));
}

static struct api_faults label_prefix(struct str s)
{
    return of_prefix(s, api_check_dns_label);
}

static struct api_faults subdomain_prefix(struct str s)
{
    return of_prefix(s, api_check_dns_subdomain);
}

static struct api_faults label1035_prefix(struct str s)
{
    return of_prefix(s, api_check_dns1035_label);
}

static const struct {
    const char *name;
    check_fn *check;
} formats[] = {
    {"dns1123Label", api_check_dns_label},
    {"dns1123Subdomain", api_check_dns_subdomain},
    {"dns1035Label", api_check_dns1035_label},
    {"qualifiedName", api_check_qualified_name},
    {"dns1123LabelPrefix", label_prefix},
    {"dns1123SubdomainPrefix", subdomain_prefix},
    {"dns1035LabelPrefix", label1035_prefix},
    {"labelValue", api_check_label_value},
    {"uri", check_uri},
    {"uuid", check_uuid},
    {"byte", check_byte},
    {"date", check_date},
    {"datetime", check_datetime},
};

static V of_name(const char *name)
{
    return (V){.kind = CEL_FORMAT, .string = str_of(name)};
}

static V constant(C *c, const V *a)
{
    UNUSED(a);
    return of_name(c->function->name + strlen("format."));
}

static V named(C *c, const V *a)
{
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (str_eqc(a[0].string, formats[i].name)) {
            V v = of_name(formats[i].name);
            return cel_of_optional(c->arena, &v);
        }
    return cel_of_optional(c->arena, NULL);
}

static V validate(C *c, const V *a)
{
    cel_charge_bytes(c, a[1].string.len);
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        if (!str_eqc(a[0].string, formats[i].name))
            continue;
        struct api_faults f = formats[i].check(a[1].string);
        if (f.count == 0)
            break;
        struct cel_list *l = cel_list_new(c->arena);
        for (size_t k = 0; k < f.count; k++)
            cel_list_add(c->arena, l, cel_of_str(str_of(f.items[k])));
        V v = cel_of_list(l);
        return cel_of_optional(c->arena, &v);
    }
    return cel_of_optional(c->arena, NULL);
}

#define NAMED(name)                                                                                \
    {                                                                                              \
        "format." name, false, 0, {NULL}, &cel_format, constant                                    \
    }

const struct cel_function cel_functions_format[] = {
    NAMED("dns1123Label"),
    NAMED("dns1123Subdomain"),
    NAMED("dns1035Label"),
    NAMED("qualifiedName"),
    NAMED("dns1123LabelPrefix"),
    NAMED("dns1123SubdomainPrefix"),
    NAMED("dns1035LabelPrefix"),
    NAMED("labelValue"),
    NAMED("uri"),
    NAMED("uuid"),
    NAMED("byte"),
    NAMED("date"),
    NAMED("datetime"),
    G("format.named", 1, &cel_optional_format, named, &cel_string),
    M("validate", 2, &cel_optional_list_string, validate, &cel_format, &cel_string),
    {NULL},
};
