/* test_http_h2_rules.c - which HTTP/2 requests are malformed. */
#include "lib/net/http_h2_rules.h"

#include "lib/base/base.h"
#include "test/unit/unit.h"

#define HEAD_MAX 8

struct head {
    const char *fields[2 * HEAD_MAX]; /* name, value, ... */
};

static bool takes(const struct head *h, struct h2_rules *r)
{
    *r = (struct h2_rules){0};
    for (size_t i = 0; i < 2 * HEAD_MAX && h->fields[i] != NULL; i += 2)
        h2_rules_field(r, str_of(h->fields[i]), str_of(h->fields[i + 1]));
    return h2_rules_head(r);
}

#define GET ":method", "GET", ":scheme", "http", ":path", "/"

/* grpc-go names the server as its user did, in whatever form. */
START_TEST(good)
{
    static const struct head heads[] = {
        {{GET}},
        {{GET, ":authority", "localhost:2379"}},
        {{GET, ":authority", "http://127.0.0.1:2379"}},
        {{GET, ":authority", "", "te", "trailers", "x-any", "\"\xc3\xa9\""}},
        {{":path", "*", ":method", "OPTIONS", ":scheme", "https", "content-length", "0"}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        struct h2_rules r;
        ck_assert_msg(takes(&heads[i], &r), "%zu", i);
    }
}
END_TEST

START_TEST(bad)
{
    static const struct head heads[] = {
        {{":method", "GET", ":scheme", "http"}},
        {{":method", "GET", ":path", "/"}},
        {{":scheme", "http", ":path", "/"}},
        {{GET, ":path", "/"}},
        {{GET, ":status", "200"}},
        {{GET, "x", "y", ":authority", "late"}},
        {{":method", "G T", ":scheme", "http", ":path", "/"}},
        {{":method", "GET", ":scheme", "http", ":path", ""}},
        {{":method", "GET", ":scheme", "http", ":path", "/a b"}},
        {{GET, "Upper", "x"}},
        {{GET, "a b", "x"}},
        {{GET, "", "x"}},
        {{GET, "x", "a\nb"}},
        {{GET, ":authority", "a\rb"}},
        {{GET, "connection", "close"}},
        {{GET, "transfer-encoding", "chunked"}},
        {{GET, "te", "gzip"}},
        {{GET, "content-length", "x"}},
        {{GET, "content-length", "-1"}},
        {{GET, "content-length", "1", "content-length", "1"}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        struct h2_rules r;
        ck_assert_msg(!takes(&heads[i], &r), "%zu", i);
    }
}
END_TEST

/* The body is as long as it was said to be. */
START_TEST(lengths)
{
    static const struct head three = {{GET, "content-length", "3"}}, open = {{GET}};
    struct h2_rules r;
    ck_assert(takes(&three, &r));
    ck_assert(h2_rules_data(&r, 2) && !h2_rules_end(&r));
    ck_assert(h2_rules_data(&r, 1) && h2_rules_end(&r));
    ck_assert(!h2_rules_data(&r, 1));
    ck_assert(takes(&open, &r));
    ck_assert(h2_rules_data(&r, 1000000) && h2_rules_end(&r));
}
END_TEST

START_TEST(trailers)
{
    static const struct head get = {{GET}};
    struct h2_rules r;
    ck_assert(takes(&get, &r));
    h2_rules_trailer(&r, STR("grpc-status"), STR("0"));
    ck_assert(h2_rules_end(&r));
    h2_rules_trailer(&r, STR(":path"), STR("/"));
    ck_assert(!h2_rules_end(&r));
}
END_TEST

UNIT_MAIN("HTTP/2 rules", {
    UNIT_TEST(good);
    UNIT_TEST(bad);
    UNIT_TEST(lengths);
    UNIT_TEST(trailers);
})
