/* url.c - see url.h. */
#include "lib/net/url.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdio.h>
#include <string.h>

static int url_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int url_unescape(struct arena *a, struct str s, bool plus_is_space, struct str *ret)
{
    size_t i = 0;
    while (i < s.len && s.data[i] != '%' && !(plus_is_space && s.data[i] == '+'))
        i++;
    if (i == s.len) {
        *ret = s;
        return 0;
    }
    char *out = arena_alloc(a, s.len + 1);
    size_t len = 0;
    for (i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < s.len ? url_hex(s.data[i + 1]) : -1;
            int low = i + 2 < s.len ? url_hex(s.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return E_INVALID;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[len++] = c;
    }
    out[len] = '\0';
    *ret = str_n(out, len);
    return 0;
}

int url_unescape_path(struct arena *a, struct str s, struct str *ret)
{
    return url_unescape(a, s, false, ret);
}

int url_unescape_query(struct arena *a, struct str s, struct str *ret)
{
    return url_unescape(a, s, true, ret);
}

/* RFC 3986's unreserved characters, and for path segments those that Go's
 * PathEscape leaves alone. */
static bool url_is_plain(char c, bool in_path)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    if (c == '-' || c == '_' || c == '.' || c == '~')
        return true;
    return in_path && (c == '$' || c == '&' || c == '+' || c == '=' || c == ':' || c == '@');
}

static void url_escape(struct buf *b, struct str s, bool in_path)
{
    static const char HEX[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (url_is_plain(c, in_path)) {
            buf_putc(b, c);
        } else if (c == ' ' && !in_path) {
            buf_putc(b, '+');
        } else {
            buf_putc(b, '%');
            buf_putc(b, HEX[(uint8_t)c >> 4]);
            buf_putc(b, HEX[(uint8_t)c & 15]);
        }
    }
}

void url_escape_path_segment(struct buf *b, struct str s)
{
    url_escape(b, s, true);
}

void url_escape_query(struct buf *b, struct str s)
{
    url_escape(b, s, false);
}

bool url_query_next(struct str *rest, struct str *ret_key, struct str *ret_value)
{
    while (!str_empty(*rest)) {
        struct str pair;
        str_cut(*rest, '&', &pair, rest);
        if (str_empty(pair))
            continue;
        if (!str_cut(pair, '=', ret_key, ret_value))
            *ret_value = STR("");
        return true;
    }
    return false;
}

int url_query_get(struct arena *a, struct str query, const char *key, struct str *ret)
{
    struct str name, value;
    while (url_query_next(&query, &name, &value)) {
        if (url_unescape_query(a, name, &name) < 0)
            return E_INVALID;
        if (str_eqc(name, key))
            return url_unescape_query(a, value, ret);
    }
    return E_NOT_FOUND;
}

static bool url_parse_port(struct str s, uint16_t *ret)
{
    uint64_t port;
    if (s.len > 5 || !str_to_u64(s, &port) || port > UINT16_MAX)
        return false;
    *ret = (uint16_t)port;
    return true;
}

int url_split_host_port(struct str s, uint16_t default_port, struct str *ret_host,
                        uint16_t *ret_port, struct error *err)
{
    struct str host = s, port = STR_NULL;
    if (s.len > 0 && s.data[0] == '[') {
        ptrdiff_t end = str_find(s, ']', 0);
        if (end < 0)
            return error_set(err, E_INVALID, "missing ']' in address \"" STR_FMT "\"", STR_ARG(s));
        host = str_sub(s, 1, (size_t)end - 1);
        port = str_sub(s, (size_t)end + 1, s.len);
        if (port.len > 0 && port.data[0] != ':')
            return error_set(err, E_INVALID, "text behind ']' in address \"" STR_FMT "\"",
                             STR_ARG(s));
        port = str_sub(port, 1, port.len);
    } else if (str_cut(s, ':', &host, &port) && str_find(port, ':', 0) >= 0) {
        return error_set(err, E_INVALID, "too many colons in address \"" STR_FMT "\"", STR_ARG(s));
    }
    uint16_t number = default_port;
    if (str_empty(port) && default_port == 0)
        return error_set(err, E_INVALID, "missing port in address \"" STR_FMT "\"", STR_ARG(s));
    if (!str_empty(port) && !url_parse_port(port, &number))
        return error_set(err, E_INVALID, "invalid port in address \"" STR_FMT "\"", STR_ARG(s));
    *ret_host = host;
    *ret_port = number;
    return 0;
}

struct str url_host_port(struct arena *a, struct str host, int port)
{
    bool v6 = str_find(host, ':', 0) >= 0;
    return arena_printf(a, "%s" STR_FMT "%s:%d", v6 ? "[" : "", STR_ARG(host), v6 ? "]" : "", port);
}

void url_host_port_text(char *ret, size_t size, const char *host, int port)
{
    bool v6 = strchr(host, ':') != NULL;
    snprintf(ret, size, "%s%s%s:%d", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

int url_parse(struct str s, struct url *ret, struct error *err)
{
    struct url u = {0};
    ptrdiff_t mark = str_find_str(s, STR("://"));
    if (mark <= 0)
        return error_set(err, E_INVALID, "no scheme in URL \"" STR_FMT "\"", STR_ARG(s));
    u.scheme = str_sub(s, 0, (size_t)mark);
    struct str rest = str_sub(s, (size_t)mark + 3, s.len);
    size_t end = 0;
    while (end < rest.len && rest.data[end] != '/' && rest.data[end] != '?' &&
           rest.data[end] != '#')
        end++;
    u.authority = str_sub(rest, 0, end);
    if (str_find(u.authority, '@', 0) >= 0)
        return error_set(err, E_INVALID, "user information in URL \"" STR_FMT "\" is not supported",
                         STR_ARG(s));
    uint16_t standard = str_eq(u.scheme, STR("http")) ? 80 : 443;
    int code = url_split_host_port(u.authority, standard, &u.host, &u.port, err);
    if (code < 0)
        return code;
    if (str_empty(u.host))
        return error_set(err, E_INVALID, "no host in URL \"" STR_FMT "\"", STR_ARG(s));
    str_cut(str_sub(rest, end, rest.len), '#', &rest, &(struct str){NULL, 0});
    str_cut(rest, '?', &u.path, &u.query);
    if (str_empty(u.path))
        u.path = STR("/");
    *ret = u;
    return 0;
}
