/* runtime_config.c - see runtime_config.h. Versions here are of the form that api/ga means, but
 * for the beta ones that is_beta() knows, which are off unless they are asked for. */
#include "apiserver/runtime_config.h"

#include "apiserver/registry.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"

struct entry {
    struct str key, value;
    struct str parts[4];
    size_t count;
};

static struct entry entry_of(const char *text)
{
    struct entry e = {.value = STR("")};
    struct str rest, part;
    if (!str_cut(str_trim(str_of(text)), '=', &e.key, &e.value))
        e.value = STR("");
    e.key = str_trim(e.key);
    e.value = str_trim(e.value);
    rest = e.key;
    bool more = true;
    while (more && e.count < ARRAY_SIZE(e.parts)) {
        more = str_cut(rest, '/', &part, &rest);
        e.parts[e.count++] = part;
    }
    return e;
}

static bool is_matcher(struct str key)
{
    return str_eqc(key, "api/all") || str_eqc(key, "api/ga") || str_eqc(key, "api/beta") ||
           str_eqc(key, "api/alpha");
}

/* 1, 0, or -1: no boolean. */
static int bool_of(struct str v)
{
    static const char *const words[] = {"",  "1", "t", "T",     "true",  "TRUE", "True",
                                        "0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_eqc(v, words[i]))
            return i < 7;
    return -1;
}

/* Groups of which 1.36 has alpha and beta versions only. */
static bool is_group(struct str group)
{
    return registry_owns_group(group) || str_eqc(group, "internal.apiserver.k8s.io") ||
           str_eqc(group, "storagemigration.k8s.io") || str_eqc(group, "imagepolicy.k8s.io");
}

static int check_entry(const struct entry *e, struct buf *unknown, struct error *err)
{
    if (is_matcher(e->key)) {
        if (!str_eqc(e->value, "true") && !str_eqc(e->value, "false"))
            return error_set(err, E_INVALID, "invalid value " STR_FMT "=" STR_FMT, STR_ARG(e->key),
                             STR_ARG(e->value));
        return 0;
    }
    if (e->count != 2 && e->count != 3)
        return error_set(err, E_INVALID, "runtime-config invalid key " STR_FMT, STR_ARG(e->key));
    if (e->parts[0].len == 0 || !is_group(e->parts[0])) {
        buf_printf(unknown, "%s" STR_FMT "/" STR_FMT, unknown->len != 0 ? "," : "",
                   STR_ARG(e->parts[0]), STR_ARG(e->parts[1]));
        return 0;
    }
    int on = bool_of(e->value);
    if (on < 0)
        return error_set(err, E_INVALID,
                         "invalid value of " STR_FMT ": " STR_FMT
                         ", err: strconv.ParseBool: parsing \"" STR_FMT "\": invalid syntax",
                         STR_ARG(e->key), STR_ARG(e->value), STR_ARG(e->value));
    for (size_t i = 0; e->count == 3 && i < e->parts[2].len; i++)
        if (e->parts[2].data[i] >= 'A' && e->parts[2].data[i] <= 'Z')
            return error_set(err, E_INVALID,
                             "invalid key " STR_FMT ": group/version/resource and resource is "
                             "always lowercase plural, not \"" STR_FMT "\"",
                             STR_ARG(e->key), STR_ARG(e->parts[2]));
    if (on == 1 && !registry_has_version(e->parts[0], e->parts[1]))
        log_warning("--runtime-config: " STR_FMT "/" STR_FMT " is not served here",
                    STR_ARG(e->parts[0]), STR_ARG(e->parts[1]));
    return 0;
}

int runtime_config_check(const struct flag_list *given, struct error *err)
{
    AUTO_BUF unknown = BUF_INIT;
    int code = 0;
    if (given->count == 1) {
        struct entry e = entry_of(given->items[0]);
        if (str_eqc(e.key, "api/all") && str_eqc(e.value, "false"))
            return error_set(err, E_INVALID, "invalid runtime-config with only api/all=false");
    }
    for (size_t i = 0; i < given->count && code == 0; i++) {
        struct entry e = entry_of(given->items[i]);
        code = check_entry(&e, &unknown, err);
    }
    if (code == 0 && unknown.len != 0)
        code = error_set(err, E_INVALID, "unknown api groups " STR_FMT, STR_ARG(buf_str(&unknown)));
    return code;
}

/* metrics.k8s.io is another server's upstream, whose versions these switches do not reach. */
static bool is_beta(struct str group, struct str version)
{
    return str_eqc(group, "certificates.k8s.io") && str_find_str(version, STR("beta")) >= 0;
}

/* How closely an entry speaks of a resource; 0: not at all. */
static int closeness(const struct entry *e, struct str group, struct str version,
                     struct str resource)
{
    if (str_eqc(e->key, "api/all"))
        return 1;
    if (str_eqc(e->key, is_beta(group, version) ? "api/beta" : "api/ga"))
        return 2;
    if (is_matcher(e->key) || e->count < 2 || !str_eq(e->parts[0], group) ||
        !str_eq(e->parts[1], version))
        return 0;
    if (e->count == 2)
        return 3;
    return str_eq(e->parts[2], resource) ? 4 : 0;
}

bool runtime_config_serves(const struct flag_list *given, struct str group, struct str version,
                           struct str resource)
{
    bool on = !is_beta(group, version);
    int best = 0;
    for (size_t i = 0; i < given->count; i++) {
        struct entry e = entry_of(given->items[i]);
        int n = closeness(&e, group, version, resource);
        if (n == 0 || n < best) /* Of the same key the last counts. */
            continue;
        best = n;
        on = bool_of(e.value) == 1;
    }
    return on;
}
