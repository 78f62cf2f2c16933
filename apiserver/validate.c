/* validate.c - the forms of names and numbers; see validate.h. Pure.
 *
 * The texts are those of apimachinery's validation: clients match on them. */
#include "apiserver/validate.h"

#include "lib/base/arena.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/time.h"

#include <arpa/inet.h>
#include <string.h>

#define CONDITION_REASON_MAX 1024
#define CONDITION_MESSAGE_MAX (32 * 1024)

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
                  struct api_faults f)
{
    for (unsigned i = 0; i < f.count; i++)
        field_invalid(errs, path, value, "%s", f.items[i]);
}

/* A generateName prefix may end in '-', which the suffix will follow. */
static struct str without_dash(struct str name, bool generate)
{
    if (generate && name.len > 1 && name.data[name.len - 1] == '-')
        return str_sub(name, 0, name.len - 1);
    return name;
}

void name_dns_subdomain(struct field_errors *errs, const struct field_path *path, struct str name,
                        bool generate)
{
    field_faults(errs, path, name, api_check_dns_subdomain(without_dash(name, generate)));
}

void name_dns_label(struct field_errors *errs, const struct field_path *path, struct str name,
                    bool generate)
{
    field_faults(errs, path, name, api_check_dns_label(without_dash(name, generate)));
}

void name_dns1035_label(struct field_errors *errs, const struct field_path *path, struct str name,
                        bool generate)
{
    field_faults(errs, path, name, api_check_dns1035_label(without_dash(name, generate)));
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

void validate_immutable_members(struct field_errors *errs, const struct field_path *path,
                                const struct api_msg *m, const void *obj, const void *old,
                                const char *const *members)
{
    for (; *members != NULL; members++) {
        const struct api_field *f = api_field_by_json(m, str_of(*members));
        ASSERT(f != NULL);
        if (!api_field_equal(f, obj, old))
            field_invalid_raw(errs, PATH(path, *members),
                              field_member_render(errs->arena, m, obj, *members),
                              "field is immutable");
    }
}

void validate_conditions(struct field_errors *errs, const struct field_path *path,
                         const struct meta_v1_condition *c, size_t count)
{
    static const char *const statuses[] = {"False", "True", "Unknown", NULL};
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        bool known = false;
        for (size_t k = 0; k < i; k++)
            if (str_eq(c[k].type, c[i].type)) {
                field_duplicate(errs, PATH(at, "type"), c[i].type);
                break;
            }
        validate_qualified_name(errs, PATH(at, "type"), c[i].type);
        for (size_t k = 0; statuses[k] != NULL; k++)
            known = known || str_eqc(c[i].status, statuses[k]);
        if (!known)
            field_not_supported(errs, PATH(at, "status"), c[i].status, statuses);
        if (c[i].observed_generation < 0)
            field_invalid_int(errs, PATH(at, "observedGeneration"), c[i].observed_generation,
                              "must be greater than or equal to zero");
        if (time_is_zero(&c[i].last_transition_time))
            field_required(errs, PATH(at, "lastTransitionTime"), NULL);
        if (str_empty(c[i].reason))
            field_required(errs, PATH(at, "reason"), NULL);
        else
            field_faults(errs, PATH(at, "reason"), c[i].reason,
                         api_check_condition_reason(c[i].reason));
        if (c[i].reason.len > CONDITION_REASON_MAX)
            field_too_long(errs, PATH(at, "reason"), CONDITION_REASON_MAX);
        if (c[i].message.len > CONDITION_MESSAGE_MAX)
            field_too_long(errs, PATH(at, "message"), CONDITION_MESSAGE_MAX);
    }
}
