/* http_h2_rules.c - see http_h2_rules.h. */
#include "lib/net/http_h2_rules.h"

#include "lib/base/base.h"

#include <nghttp2/nghttp2.h>

enum { SEEN_METHOD = 1, SEEN_SCHEME = 2, SEEN_PATH = 4, SEEN_AUTHORITY = 8 };

static const uint8_t *bytes(struct str s)
{
    return (const uint8_t *)str_c(s);
}

static bool pseudo_field(struct h2_rules *r, struct str name, struct str value)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{":method", SEEN_METHOD},
                 {":scheme", SEEN_SCHEME},
                 {":path", SEEN_PATH},
                 {":authority", SEEN_AUTHORITY}};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (!str_eqc(name, known[i].name))
            continue;
        if (r->regular || (r->seen & known[i].bit) != 0)
            return false;
        r->seen |= known[i].bit;
        switch (known[i].bit) {
        case SEEN_METHOD:
            return nghttp2_check_method(bytes(value), value.len) != 0;
        case SEEN_PATH:
            return value.len > 0 && nghttp2_check_path(bytes(value), value.len) != 0;
        case SEEN_SCHEME:
            return value.len > 0 && nghttp2_check_header_value(bytes(value), value.len) != 0;
        default:
            return nghttp2_check_header_value(bytes(value), value.len) != 0;
        }
    }
    return false;
}

/* Fields that speak of one connection have no place in HTTP/2. */
static bool is_connection_field(struct str name)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection",
                                        "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (str_eqc(name, names[i]))
            return true;
    }
    return false;
}

static bool regular_field(struct h2_rules *r, struct str name, struct str value)
{
    r->regular = true;
    if (nghttp2_check_header_name(bytes(name), name.len) == 0 ||
        nghttp2_check_header_value(bytes(value), value.len) == 0 || is_connection_field(name))
        return false;
    if (str_eq(name, STR("te")))
        return str_eq(value, STR("trailers"));
    if (!str_eq(name, STR("content-length")))
        return true;
    if (r->has_length || !str_to_u64(value, &r->length) || r->length > INT64_MAX)
        return false;
    r->has_length = true;
    return true;
}

void h2_rules_field(struct h2_rules *r, struct str name, struct str value)
{
    bool pseudo = name.len > 0 && name.data[0] == ':';
    if (!(pseudo ? pseudo_field(r, name, value) : regular_field(r, name, value)))
        r->malformed = true;
}

bool h2_rules_head(struct h2_rules *r)
{
    const unsigned needed = SEEN_METHOD | SEEN_SCHEME | SEEN_PATH;
    if ((r->seen & needed) != needed)
        r->malformed = true;
    return !r->malformed;
}

void h2_rules_trailer(struct h2_rules *r, struct str name, struct str value)
{
    if ((name.len > 0 && name.data[0] == ':') ||
        nghttp2_check_header_name(bytes(name), name.len) == 0 ||
        nghttp2_check_header_value(bytes(value), value.len) == 0 || is_connection_field(name))
        r->malformed = true;
}

bool h2_rules_data(struct h2_rules *r, size_t n)
{
    r->bytes += n;
    return !r->has_length || r->bytes <= r->length;
}

bool h2_rules_end(const struct h2_rules *r)
{
    return !r->malformed && (!r->has_length || r->bytes == r->length);
}
