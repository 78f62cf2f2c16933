/* http.c - header fields and status texts; see http.h. */
#include "lib/net/http.h"

#include "lib/base/arena.h"

#include <strings.h>

static const struct http_status_name {
    int status;
    const char *text;
} STATUS_NAMES[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Request Entity Too Large"},
    {414, "Request URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Requested Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Entity"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < ARRAY_SIZE(STATUS_NAMES); i++)
        if (STATUS_NAMES[i].status == status)
            return STATUS_NAMES[i].text;
    return "";
}

struct str http_header_find(const struct http_header *headers, size_t count, const char *name)
{
    struct str want = str_of(name);
    for (size_t i = 0; i < count; i++)
        if (str_eq(headers[i].name, want))
            return headers[i].value;
    return STR_NULL;
}

bool http_header_is_hop(struct str name)
{
    static const char *const HOP[] = {"connection",        "keep-alive", "proxy-connection",
                                      "transfer-encoding", "upgrade",    "content-length"};
    for (size_t i = 0; i < ARRAY_SIZE(HOP); i++)
        if (name.len == strlen(HOP[i]) && strncasecmp(name.data, HOP[i], name.len) == 0)
            return true;
    return false;
}

bool http_header_name_valid(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (c <= ' ' || c > '~' || strchr("\"(),/:;<=>?@[\\]{}", c) != NULL)
            return false;
    }
    return name.len > 0;
}

static bool http_list_has(struct str list, struct str token)
{
    while (!str_empty(list)) {
        struct str item;
        str_cut(list, ',', &item, &list);
        item = str_trim(item);
        if (item.len == token.len && item.len > 0 &&
            strncasecmp(item.data, token.data, token.len) == 0)
            return true;
    }
    return false;
}

bool http_header_has_token(const struct http_header *headers, size_t count, const char *name,
                           const char *token)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(headers[i].name, name) && http_list_has(headers[i].value, str_of(token)))
            return true;
    return false;
}

struct str http_header_join(struct arena *a, const struct http_header *headers, size_t count,
                            const char *name)
{
    struct str all = STR_NULL;
    for (size_t i = 0; i < count; i++) {
        if (!str_eqc(headers[i].name, name))
            continue;
        all = all.data == NULL
                  ? headers[i].value
                  : arena_printf(a, STR_FMT ", " STR_FMT, STR_ARG(all), STR_ARG(headers[i].value));
    }
    return all;
}
