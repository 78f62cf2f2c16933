/* request_info.c - see request_info.h. The rules are upstream's RequestInfo:
 *
 *   /api/V/...            /apis/G/V/...
 *   .../namespaces/NS/RESOURCE[/NAME[/SUB[/REST]]]
 *   .../RESOURCE[/NAME[/SUB[/REST]]]
 *   .../watch/...         the old form of ?watch=true */
#include "apiserver/request_info.h"

#include "lib/base/arena.h"
#include "lib/base/flags.h"
#include "lib/net/url.h"

#define PARTS_MAX 16

/* The verb of what is no resource. */
static const char *lower_method(struct arena *a, struct str method)
{
    char *lower = arena_alloc(a, method.len + 1);
    for (size_t i = 0; i < method.len; i++)
        lower[i] = (char)(method.data[i] >= 'A' && method.data[i] <= 'Z' ? method.data[i] + 32
                                                                         : method.data[i]);
    lower[method.len] = '\0';
    return lower;
}

static const char *verb_of_method(struct arena *a, struct str method)
{
    static const struct {
        const char *method, *verb;
    } verbs[] = {{"POST", "create"}, {"GET", "get"},     {"HEAD", "get"},
                 {"PUT", "update"},  {"PATCH", "patch"}, {"DELETE", "delete"}};
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (str_eqc(method, verbs[i].method))
            return verbs[i].verb;
    return lower_method(a, method);
}

static bool query_true(struct arena *a, struct str query, const char *key)
{
    struct str v;
    if (url_query_get(a, query, key, &v) != 0)
        return false;
    return !(str_eqc(v, "false") || str_eqc(v, "0") || str_eqc(v, "f") || str_eqc(v, "False") ||
             str_eqc(v, "FALSE"));
}

/* metadata.name=x in the field selector names the object for authorisation. */
static struct str name_of_selector(struct str v)
{
    struct str part;
    bool more = v.len != 0;
    while (more) {
        more = str_cut(v, ',', &part, &v);
        struct str key, value;
        if (!str_cut(part, '=', &key, &value) || !str_eqc(key, "metadata.name"))
            continue;
        if (value.len != 0 && value.data[0] == '=')
            value = str_sub(value, 1, value.len);
        return value;
    }
    return STR_NULL;
}

static void resource_parts(struct request_info *r, const struct str *parts, size_t count)
{
    if (count > 0 && str_eqc(parts[0], "namespaces")) {
        if (count > 1) {
            r->ns = parts[1];
            /* status and finalize belong to the namespace itself. */
            if (count > 2 && !str_eqc(parts[2], "status") && !str_eqc(parts[2], "finalize")) {
                parts += 2;
                count -= 2;
            }
        }
    }
    r->part_count = count;
    if (count >= 1)
        r->resource = parts[0];
    if (count >= 2)
        r->name = parts[1];
    if (count >= 3)
        r->subresource = parts[2];
    if (count >= 4)
        r->rest = str_n(parts[3].data, (size_t)(r->path.data + r->path.len - parts[3].data));
    r->is_resource = r->resource.len != 0;
}

int request_info_parse(struct arena *a, struct str method, struct str escaped_path,
                       struct str query, struct request_info *ret)
{
    struct request_info r = {.verb = verb_of_method(a, method)};
    if (url_unescape_path(a, escaped_path, &r.path) != 0)
        return -1;
    struct str parts[PARTS_MAX];
    size_t count = 0;
    struct str rest = r.path, part;
    while (rest.len != 0 && rest.data[0] == '/')
        rest = str_sub(rest, 1, rest.len);
    bool more = rest.len != 0;
    while (more && count < PARTS_MAX) {
        more = str_cut(rest, '/', &part, &rest);
        if (part.len != 0 || more)
            parts[count++] = part;
    }
    size_t used = 0;
    if (count >= 2 && str_eqc(parts[0], "api")) {
        r.version = parts[1];
        used = 2;
    } else if (count >= 3 && str_eqc(parts[0], "apis")) {
        r.group = parts[1];
        r.version = parts[2];
        used = 3;
    } else {
        r.verb = lower_method(a, method);
        *ret = r;
        return 0;
    }
    r.has_group_version = true;
    if (used == count) { /* Discovery. */
        r.verb = lower_method(a, method);
        *ret = r;
        return 0;
    }
    if (used < count && str_eqc(parts[used], "watch")) {
        r.verb = "watch";
        used++;
    }
    resource_parts(&r, parts + used, count - used);
    if (r.name.len == 0 && strcmp(r.verb, "get") == 0)
        r.verb = query_true(a, query, "watch") ? "watch" : "list";
    if (r.name.len == 0 && strcmp(r.verb, "delete") == 0)
        r.verb = "deletecollection";
    bool reads = strcmp(r.verb, "list") == 0 || strcmp(r.verb, "watch") == 0;
    bool selects = r.name.len == 0 && (reads || strcmp(r.verb, "deletecollection") == 0);
    if (!selects || url_query_get(a, query, "fieldSelector", &r.field_selector) != 0)
        r.field_selector = STR_NULL;
    if (!selects || url_query_get(a, query, "labelSelector", &r.label_selector) != 0)
        r.label_selector = STR_NULL;
    if (reads)
        r.selected_name = name_of_selector(r.field_selector);
    *ret = r;
    return 0;
}

/* --- durations ----------------------------------------------------------------------- */
static size_t span(struct str s, size_t at, bool numbers)
{
    while (at < s.len && ((s.data[at] >= '0' && s.data[at] <= '9') || s.data[at] == '.') == numbers)
        at++;
    return at;
}

const char *request_duration_error(struct arena *a, struct str text)
{
    static const char *const units[] = {"ns", "us", "\xc2\xb5s", "\xce\xbcs", "ms", "s", "m", "h"};
    int64_t ns;
    bool known = true;
    size_t at = text.len != 0 && (text.data[0] == '-' || text.data[0] == '+');
    if (duration_parse(text, &ns) == 0)
        return NULL;
    while (at < text.len && known) {
        size_t number = span(text, at, true), end = span(text, number, false), dots = 0;
        for (size_t i = at; i < number; i++)
            dots += text.data[i] == '.';
        if (number == at || dots > 1 || dots == number - at)
            break;
        struct str unit = str_sub(text, number, end - number);
        if (unit.len == 0)
            return arena_printf(a, "time: missing unit in duration \"" STR_FMT "\"", STR_ARG(text))
                .data;
        known = false;
        for (size_t i = 0; i < ARRAY_SIZE(units); i++)
            known |= str_eqc(unit, units[i]);
        if (!known)
            return arena_printf(a, "time: unknown unit \"" STR_FMT "\" in duration \"" STR_FMT "\"",
                                STR_ARG(unit), STR_ARG(text))
                .data;
        at = end;
    }
    return arena_printf(a, "time: invalid duration \"" STR_FMT "\"", STR_ARG(text)).data;
}
