/* depends.c - see depends.h. */
#include "lib/api/depends.h"

#include "lib/api/names.h"
#include "lib/api/schema.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include "api/meta_v1.h"

#include <arpa/inet.h>

#define INTERNET "internet"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* --- ports ----------------------------------------------------------------------------- */

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
    return s.len > 0;
}

static int parse_number(struct str entry, struct str s, uint16_t *ret, struct error *err)
{
    uint64_t n;
    if (!all_digits(s) || s.data[0] == '0' || !str_to_u64(s, &n) || n > UINT16_MAX)
        return error_set(err, E_INVALID,
                         "\"" STR_FMT "\": port \"" STR_FMT "\" must be a number from 1 to 65535",
                         STR_ARG(entry), STR_ARG(s));
    *ret = (uint16_t)n;
    return 0;
}

/* What follows the ":" of a range or of the internet. */
static int parse_outside_port(struct str entry, struct str s, struct dependency *d,
                              struct error *err)
{
    static const char *const protocols[] = {"tcp", "udp", "sctp"};
    struct str number, protocol;
    bool given = str_cut(s, '/', &number, &protocol);
    d->protocol = protocols[0];
    for (size_t i = 0; given; i++) {
        if (i == ARRAY_SIZE(protocols))
            return error_set(err, E_INVALID,
                             "\"" STR_FMT "\": protocol \"" STR_FMT "\" must be tcp, udp or sctp",
                             STR_ARG(entry), STR_ARG(protocol));
        if (str_eqc(protocol, protocols[i])) {
            d->protocol = protocols[i];
            break;
        }
    }
    if (given && d->protocol == protocols[0])
        d->text = str_sub(entry, 0, entry.len - sizeof("/tcp") + 1);
    return parse_number(entry, number, &d->port, err);
}

static int parse_service_port(struct str entry, struct str s, struct dependency *d,
                              struct error *err)
{
    struct str name, protocol;
    if (str_cut(s, '/', &name, &protocol))
        return error_set(err, E_INVALID,
                         "\"" STR_FMT "\": a Service's port has its protocol already: write it "
                         "without \"/" STR_FMT "\"",
                         STR_ARG(entry), STR_ARG(protocol));
    if (all_digits(s))
        return parse_number(entry, s, &d->port, err);
    if (api_check_dns_label(s).count != 0)
        return error_set(err, E_INVALID,
                         "\"" STR_FMT "\": port \"" STR_FMT "\" must be a number from 1 to 65535 "
                         "or the name of a port of the Service",
                         STR_ARG(entry), STR_ARG(s));
    d->port_name = s;
    return 0;
}

/* --- ranges ----------------------------------------------------------------------------- */

static int bad_range(struct str entry, struct error *err)
{
    return error_set(err, E_INVALID,
                     "\"" STR_FMT "\" must be a range of addresses such as 10.1.0.0/16, "
                     "10.1.2.3/32:5432 or fd00:1::/32:53/udp; a Service is named without dots: "
                     "name, namespace/name or namespace/name:port",
                     STR_ARG(entry));
}

static int parse_range(struct arena *a, struct str entry, struct str net, struct str rest,
                       struct dependency *d, struct error *err)
{
    char text[INET6_ADDRSTRLEN] = "";
    unsigned char bytes[16] = {0}, clear[16];
    struct str bits, port;
    uint64_t n;
    bool has_port = str_cut(rest, ':', &bits, &port);
    if (net.len >= sizeof(text))
        return bad_range(entry, err);
    memcpy(text, net.data, net.len);
    d->v6 = inet_pton(AF_INET, text, bytes) != 1;
    if (strlen(text) != net.len || (d->v6 && inet_pton(AF_INET6, text, bytes) != 1) ||
        !all_digits(bits) || !str_to_u64(bits, &n) || n > (d->v6 ? 128u : 32u))
        return bad_range(entry, err);
    memcpy(clear, bytes, sizeof(clear));
    for (size_t i = 0; i < sizeof(clear); i++) {
        uint64_t left = n > 8 * i ? n - 8 * i : 0;
        if (left < 8)
            clear[i] &= (unsigned char)(0xff00u >> left);
    }
    inet_ntop(d->v6 ? AF_INET6 : AF_INET, clear, text, sizeof(text));
    d->range = arena_printf(a, "%s/%u", text, (unsigned)n);
    if (memcmp(clear, bytes, sizeof(clear)) != 0)
        return error_set(err, E_INVALID,
                         "\"" STR_FMT "\": has bits beyond its prefix: write " STR_FMT
                         " for the range, or the address with /%d for itself",
                         STR_ARG(entry), STR_ARG(d->range), d->v6 ? 128 : 32);
    d->type = DEPEND_RANGE;
    return has_port ? parse_outside_port(entry, port, d, err) : 0;
}

/* --- entries ----------------------------------------------------------------------------- */

static int check_label(struct str entry, const char *what, struct str s, struct error *err)
{
    if (api_check_dns_label(s).count == 0)
        return 0;
    return error_set(err, E_INVALID,
                     "\"" STR_FMT "\": %s \"" STR_FMT "\" must be lower case letters, digits and "
                     "'-', at most 63, as in name, namespace/name or namespace/name:port",
                     STR_ARG(entry), what, STR_ARG(s));
}

static bool is_address_like(struct str s)
{
    return str_find(s, '.', 0) >= 0 || str_find(s, ':', 0) >= 0;
}

static int parse_service(struct str entry, struct dependency *d, struct error *err)
{
    struct str where, port, head, tail;
    bool has_port = str_cut(entry, ':', &where, &port);
    int rc = 0;
    d->type = DEPEND_SERVICE;
    d->name = where;
    if (str_cut(where, '/', &head, &tail)) {
        d->namespace_ = head;
        d->name = tail;
        rc = check_label(entry, "namespace", head, err);
    }
    if (rc == 0)
        rc = check_label(entry, "name", d->name, err);
    return rc == 0 && has_port ? parse_service_port(entry, port, d, err) : rc;
}

static int parse_entry(struct arena *a, struct str entry, struct dependency *d, struct error *err)
{
    struct str head, tail;
    *d = (struct dependency){.text = entry};
    bool slash = str_cut(entry, '/', &head, &tail);
    if (slash && is_address_like(head) && !str_has_prefix(head, STR(INTERNET ":"))) {
        /* "name:80/tcp" is a Service with too much, not an address. */
        struct str before, after;
        bool colon = str_cut(head, ':', &before, &after);
        bool one = colon && str_find(after, ':', 0) < 0 && str_find(head, '.', 0) < 0;
        return one ? parse_service(entry, d, err) : parse_range(a, entry, head, tail, d, err);
    }
    bool colon = str_cut(entry, ':', &head, &tail);
    if (str_eqc(head, INTERNET)) {
        d->type = DEPEND_INTERNET;
        return colon ? parse_outside_port(entry, tail, d, err) : 0;
    }
    if (str_find(head, '.', 0) >= 0 || (colon && str_find(tail, ':', 0) >= 0))
        return bad_range(entry, err);
    return parse_service(entry, d, err);
}

int depends_parse(struct arena *a, struct str text, struct dependencies *ret, struct error *err)
{
    size_t cap = 0, at = 0;
    *ret = (struct dependencies){.declared = true};
    while (at < text.len) {
        size_t from = at;
        if (is_space(text.data[at]) || text.data[at] == ',') {
            at++;
            continue;
        }
        while (at < text.len && !is_space(text.data[at]) && text.data[at] != ',')
            at++;
        struct str entry = str_sub(text, from, at - from);
        struct dependency d;
        if (ret->count == DEPENDS_MAX)
            return error_set(err, E_INVALID, "must have at most %u entries", DEPENDS_MAX);
        int rc = parse_entry(a, entry, &d, err);
        if (rc != 0)
            return rc;
        for (size_t i = 0; i < ret->count; i++)
            if (str_eq(ret->items[i].text, d.text))
                return error_set(err, E_INVALID, "\"" STR_FMT "\" stands there twice",
                                 STR_ARG(entry));
        ret->items = arena_grow(a, ret->items, ret->count, &cap, sizeof(*ret->items));
        ret->items[ret->count++] = d;
    }
    return 0;
}

int depends_parse_wait(struct str text, bool *ret, struct error *err)
{
    if (!str_eqc(text, "true") && !str_eqc(text, "false"))
        return error_set(err, E_INVALID, "must be \"true\" or \"false\"");
    *ret = str_eqc(text, "true");
    return 0;
}

int depends_of(struct arena *a, const struct meta_v1_object_meta *m, struct dependencies *ret,
               struct error *err)
{
    const struct str *on = api_str_map_get(m->annotations, m->annotations_count, STR(DEPENDS_ON));
    const struct str *wait =
        api_str_map_get(m->annotations, m->annotations_count, STR(DEPENDS_WAIT));
    bool waits = false;
    int rc = 0;
    *ret = (struct dependencies){0};
    if (wait != NULL && depends_parse_wait(*wait, &waits, err) != 0)
        rc = error_prefix(err, "annotation " DEPENDS_WAIT);
    struct error own;
    if (on != NULL && depends_parse(a, *on, ret, &own) != 0)
        rc = error_set(err, E_INVALID, "annotation " DEPENDS_ON ": %s", error_message(&own));
    ret->wait = waits && ret->declared;
    return rc;
}
