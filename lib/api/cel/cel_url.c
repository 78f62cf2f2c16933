/* cel_url.c - URLs as values: what Go's url.Parse takes apart. */
#include "lib/api/cel/cel_table.h"

#include "lib/base/buf.h"
#include "lib/net/url.h"

/* Pieces borrowed from the text, still escaped. */
struct parts {
    struct str scheme, host, path, query;
    bool absolute_path;
};

static bool is_scheme(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || strchr("0123456789+-.", c) == NULL || c == '\0'))
            return false;
    }
    return s.len != 0;
}

static bool is_host(struct str host)
{
    struct str port = STR_NULL;
    if (host.len != 0 && host.data[0] == '[') {
        ptrdiff_t end = str_find(host, ']', 0);
        if (end < 0)
            return false;
        port = str_sub(host, (size_t)end + 1, host.len - (size_t)end - 1);
        if (port.len != 0 && port.data[0] != ':')
            return false;
        port = str_sub(port, 1, port.len != 0 ? port.len - 1 : 0);
    } else {
        struct str name;
        str_cut(host, ':', &name, &port);
        for (size_t i = 0; i < name.len; i++)
            if ((unsigned char)name.data[i] <= ' ' || strchr("<>\"\\^`{|}", name.data[i]) != NULL)
                return false;
    }
    for (size_t i = 0; i < port.len; i++)
        if (port.data[i] < '0' || port.data[i] > '9')
            return false;
    return true;
}

/* Kubernetes takes absolute URLs and absolute paths alone. */
static bool parse(C *c, struct str s, struct parts *ret)
{
    struct str fragment, rest = s, head, tail;
    *ret = (struct parts){.scheme = STR("")};
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < ' ' || s.data[i] == 0x7f)
            return false;
    str_cut(rest, '#', &rest, &fragment);
    if (rest.len != 0 && rest.data[0] != '/') {
        if (!str_cut(rest, ':', &head, &tail) || !is_scheme(head))
            return false;
        ret->scheme = head;
        rest = tail;
    }
    str_cut(rest, '?', &rest, &ret->query);
    if (str_has_prefix(rest, STR("//"))) {
        rest = str_sub(rest, 2, rest.len - 2);
        ptrdiff_t slash = str_find(rest, '/', 0);
        size_t n = slash < 0 ? rest.len : (size_t)slash;
        ret->host = str_sub(rest, 0, n);
        rest = str_sub(rest, n, rest.len - n);
        struct str user, host;
        if (str_cut(ret->host, '@', &user, &host))
            ret->host = host;
        if (!is_host(ret->host))
            return false;
    }
    ret->path = rest;
    struct str unescaped;
    return url_unescape_path(c->arena, rest, &unescaped) == 0 && (s.len != 0);
}

static V url_of(C *c, const V *a)
{
    struct parts p;
    cel_charge_bytes(c, a[0].string.len);
    if (!parse(c, a[0].string, &p))
        return cel_error(c->arena,
                         "URL parse error during conversion from string: parse \"" STR_FMT
                         "\": invalid URI for request",
                         STR_ARG(a[0].string));
    return (V){.kind = CEL_URL, .string = a[0].string};
}

static V is_url(C *c, const V *a)
{
    struct parts p;
    cel_charge_bytes(c, a[0].string.len);
    return cel_of_bool(parse(c, a[0].string, &p));
}

/* Host without its port and brackets, or the port. */
static struct str host_part(struct str host, bool port)
{
    ptrdiff_t end = str_find(host, ']', 0), colon = str_find(host, ':', end < 0 ? 0 : (size_t)end);
    if (port)
        return colon < 0 ? STR("") : str_sub(host, (size_t)colon + 1, host.len);
    if (end >= 0)
        return str_sub(host, 1, (size_t)end - 1);
    return colon < 0 ? host : str_sub(host, 0, (size_t)colon);
}

static V part(C *c, const V *a)
{
    struct parts p;
    const char *f = c->function->name + 3;
    parse(c, a[0].string, &p);
    if (strcmp(f, "Scheme") == 0)
        return cel_of_str(p.scheme);
    if (strcmp(f, "Host") == 0)
        return cel_of_str(p.host);
    if (strcmp(f, "Hostname") == 0)
        return cel_of_str(host_part(p.host, false));
    if (strcmp(f, "Port") == 0)
        return cel_of_str(host_part(p.host, true));
    struct str path;
    AUTO_BUF b = BUF_INIT;
    if (url_unescape_path(c->arena, p.path, &path) != 0)
        return cel_error(c->arena, "invalid URL escape");
    while (path.len != 0) {
        struct str head, tail;
        bool more = str_cut(path, '/', &head, &tail);
        url_escape_path_segment(&b, head);
        if (more)
            buf_putc(&b, '/');
        path = tail;
    }
    return cel_of_str(arena_str(c->arena, buf_str(&b)));
}

/* map(string, list(string)) */
static V query(C *c, const V *a)
{
    struct parts p;
    struct str key, value;
    struct cel_map *m = cel_map_new(c->arena);
    parse(c, a[0].string, &p);
    while (url_query_next(&p.query, &key, &value)) {
        if (url_unescape_query(c->arena, key, &key) != 0 ||
            url_unescape_query(c->arena, value, &value) != 0)
            continue;
        V k = cel_of_str(key);
        const V *held = cel_map_get(m, &k);
        struct cel_list *l =
            held != NULL ? (struct cel_list *)(uintptr_t)held->list : cel_list_new(c->arena);
        cel_list_add(c->arena, l, cel_of_str(value));
        if (held == NULL)
            cel_map_add(c->arena, m, k, cel_of_list(l));
        if (!cel_charge(c, 1))
            break;
    }
    return cel_of_map(m);
}

static const struct cel_type map_lists = {
    .kind = CEL_MAP, .key = &cel_string, .elem = &cel_list_string};

#define URL &cel_url
#define S &cel_string

const struct cel_function cel_functions_url[] = {
    G("url", 1, URL, url_of, S),
    G("isURL", 1, &cel_bool, is_url, S),
    M("getScheme", 1, S, part, URL),
    M("getHost", 1, S, part, URL),
    M("getHostname", 1, S, part, URL),
    M("getPort", 1, S, part, URL),
    M("getEscapedPath", 1, S, part, URL),
    M("getQuery", 1, &map_lists, query, URL),
    {NULL},
};
