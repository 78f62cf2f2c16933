/* test_url.c - escaping, queries, addresses, gzip. */
#include "lib/net/url.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/bytes.h"
#include "lib/net/http.h"
#include "test/unit/unit.h"

#include <string.h>

START_TEST(escapes)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct str s;
    ck_assert_int_eq(url_unescape_path(a, STR("a%2Fb+c"), &s), 0);
    ck_assert(str_eqc(s, "a/b+c"));
    ck_assert_int_eq(url_unescape_query(a, STR("a%3db+c"), &s), 0);
    ck_assert(str_eqc(s, "a=b c"));
    ck_assert_int_eq(url_unescape_query(a, STR("a%3"), &s), E_INVALID);
    ck_assert_int_eq(url_unescape_query(a, STR("a%zz"), &s), E_INVALID);
    url_escape_query(&b, STR("a b=c/\xc3\xa9"));
    ck_assert(str_eqc(buf_str(&b), "a+b%3Dc%2F%C3%A9"));
    buf_clear(&b);
    url_escape_path_segment(&b, STR("a b/c:d"));
    ck_assert(str_eqc(buf_str(&b), "a%20b%2Fc:d"));
}
END_TEST

START_TEST(queries)
{
    AUTO_ARENA *a = arena_new(0);
    struct str q = STR("watch=1&&labelSelector=a%3Db%2Cc&empty&x=1&x=2"), s;
    ck_assert_int_eq(url_query_get(a, q, "labelSelector", &s), 0);
    ck_assert(str_eqc(s, "a=b,c"));
    ck_assert_int_eq(url_query_get(a, q, "empty", &s), 0);
    ck_assert(str_empty(s));
    ck_assert_int_eq(url_query_get(a, q, "x", &s), 0);
    ck_assert(str_eqc(s, "1"));
    ck_assert_int_eq(url_query_get(a, q, "y", &s), E_NOT_FOUND);
}
END_TEST

START_TEST(addresses)
{
    struct str host;
    uint16_t port;
    struct error err;
    ck_assert_int_eq(url_split_host_port(STR("a.b:80"), 0, &host, &port, &err), 0);
    ck_assert(str_eqc(host, "a.b") && port == 80);
    ck_assert_int_eq(url_split_host_port(STR("[::1]:6443"), 0, &host, &port, &err), 0);
    ck_assert(str_eqc(host, "::1") && port == 6443);
    ck_assert_int_eq(url_split_host_port(STR("[::1]"), 443, &host, &port, &err), 0);
    ck_assert(str_eqc(host, "::1") && port == 443);
    ck_assert_int_eq(url_split_host_port(STR(":0"), 0, &host, &port, &err), 0);
    ck_assert(str_empty(host) && port == 0);
    static const char *const BAD[] = {"a",      "a:",      "::1",  "[::1",
                                      "[::1]x", "a:65536", "a:-1", "a:1x"};
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
        ck_assert_msg(url_split_host_port(str_of(BAD[i]), 0, &host, &port, &err) == E_INVALID, "%s",
                      BAD[i]);
    struct url u;
    ck_assert_int_eq(url_parse(STR("https://[::1]:6443/api?x=1#f"), &u, &err), 0);
    ck_assert(str_eqc(u.host, "::1") && u.port == 6443 && str_eqc(u.path, "/api"));
    ck_assert(str_eqc(u.query, "x=1") && str_eqc(u.authority, "[::1]:6443"));
    ck_assert_int_eq(url_parse(STR("http://a"), &u, &err), 0);
    ck_assert(u.port == 80 && str_eqc(u.path, "/"));
    ck_assert_int_eq(url_parse(STR("http://u:p@a/"), &u, &err), E_INVALID);
    ck_assert_int_eq(url_parse(STR("a/b"), &u, &err), E_INVALID);
    ck_assert_int_eq(url_parse(STR("http:///b"), &u, &err), E_INVALID);
}
END_TEST

START_TEST(header_lists)
{
    struct http_header h[] = {{STR("accept"), STR("a, b;q=1")},
                              {STR("connection"), STR("keep-alive, Upgrade")},
                              {STR("accept"), STR("c")}};
    AUTO_ARENA *a = arena_new(0);
    ck_assert(str_eqc(http_header_find(h, 3, "accept"), "a, b;q=1"));
    ck_assert(str_eqc(http_header_join(a, h, 3, "accept"), "a, b;q=1, c"));
    ck_assert(http_header_has_token(h, 3, "connection", "upgrade"));
    ck_assert(!http_header_has_token(h, 3, "connection", "up"));
    ck_assert(http_header_find(h, 3, "nope").data == NULL);
}
END_TEST

/* What is compressed, at once or in pieces, comes back; a bomb does not. */
START_TEST(gzip)
{
    ck_assert(http_accepts_gzip(STR("deflate, GZIP;q=0.5")));
    ck_assert(!http_accepts_gzip(STR("gzip;q=0.0")));
    ck_assert(!http_accepts_gzip(STR("br, xgzip")));
    size_t len = 300000;
    char *text = xmalloc(len);
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + i % 7);
    struct net_bytes *packed = http_gzip(text, len, 1), *back = NULL;
    ck_assert_uint_lt(packed->len, len / 10);
    ck_assert_int_eq(http_gunzip(packed->data, packed->len, len, &back), 0);
    ck_assert(str_eq(net_bytes_str(back), str_n(text, len)));
    net_bytes_unref(back);
    ck_assert_int_eq(http_gunzip(packed->data, packed->len, len - 1, &back), E_TOO_LARGE);
    ck_assert_int_eq(http_gunzip(packed->data, packed->len - 1, len, &back), E_INVALID);
    net_bytes_unref(packed);

    struct http_gzip_stream *g = http_gzip_stream_new(1);
    AUTO_BUF all = BUF_INIT;
    for (int i = 0; i < 3; i++) {
        struct net_bytes *piece = http_gzip_stream_push(g, text, 1000, i < 2, i == 2);
        ck_assert_ptr_nonnull(piece);
        buf_append(&all, piece->data, piece->len);
        net_bytes_unref(piece);
    }
    ck_assert_int_eq(http_gunzip(all.data, all.len, len, &back), 0);
    ck_assert_uint_eq(back->len, 3000);
    net_bytes_unref(back);
    http_gzip_stream_free(g);
    free(text);
}
END_TEST

UNIT_MAIN("url", UNIT_TEST(escapes); UNIT_TEST(queries); UNIT_TEST(addresses);
          UNIT_TEST(header_lists); UNIT_TEST(gzip))
