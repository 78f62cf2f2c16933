/* test_proxy.c - what proxies rewrite, and whom they may reach. */
#include "apiserver/proxy_rewrite.h"
#include "apiserver/proxy_target.h"
#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <string.h>

static const struct proxy_view VIEW = {STR("/api/v1/namespaces/n/pods/p/proxy"),
                                       STR("10.0.0.1:8080"), STR("localhost:8001")};
#define PREFIX "/api/v1/namespaces/n/pods/p/proxy"

START_TEST(urls)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"/x/?a=b#c", PREFIX "/x/?a=b#c"},
        {"/", PREFIX "/"},
        {"x/y", "x/y"},
        {"?q", "?q"},
        {"", ""},
        {"#top", "#top"},
        {PREFIX "/x", PREFIX "/x"},
        {"http://10.0.0.1:8080/x", PREFIX "/x"},
        {"//10.0.0.1:8080/x", PREFIX "/x"},
        {"http://localhost:8001/x", "http://localhost:8001" PREFIX "/x"},
        {"http://localhost:8001" PREFIX "/x", "http://localhost:8001" PREFIX "/x"},
        {"https://example.org/x", "https://example.org/x"},
        {"//example.org/x", "//example.org/x"},
        {"http://10.0.0.1:8080", "http://10.0.0.1:8080"},
        {"mailto:a@b", "mailto:a@b"},
        {"javascript:/x/.test(y)", "javascript:/x/.test(y)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_BUF b = BUF_INIT;
        proxy_rewrite_url(&VIEW, str_of(cases[i].from), &b);
        ck_assert_msg(str_eqc(buf_str(&b), cases[i].to), "%s became %.*s", cases[i].from,
                      (int)b.len, (const char *)b.data);
    }
}
END_TEST

static void rewrite(const char *from, size_t step, struct buf *b)
{
    struct html_rewriter *h = html_rewriter_new(&VIEW);
    size_t len = strlen(from);
    for (size_t at = 0; at < len; at += step)
        html_rewriter_push(h, from + at, MIN_OF(step, len - at), b);
    html_rewriter_end(h, b);
    html_rewriter_free(h);
}

/* The same whatever the pieces. */
START_TEST(html)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"<a href=\"/x\">/x</a>", "<a href=\"" PREFIX "/x\">/x</a>"},
        {"<A class=a HREF = '/x' id=b>", "<A class=a HREF = '" PREFIX "/x' id=b>"},
        {"<img src=/i.png alt=/i.png>", "<img src=" PREFIX "/i.png alt=/i.png>"},
        {"<link rel=x href=/s.css/>", "<link rel=x href=" PREFIX "/s.css/>"},
        {"<form action=\"/f\" method=post>", "<form action=\"" PREFIX "/f\" method=post>"},
        {"<a href=x title='<a href=\"/no\">'>", "<a href=x title='<a href=\"/no\">'>"},
        {"<a title=\"a>b\" href=/x>", "<a title=\"a>b\" href=" PREFIX "/x>"},
        {"<!-- <a href=\"/x\"> --><a href=\"/y\">",
         "<!-- <a href=\"/x\"> --><a href=\"" PREFIX "/y\">"},
        {"<!DOCTYPE html><p>1 < 2 &lt; <3</p>", "<!DOCTYPE html><p>1 < 2 &lt; <3</p>"},
        {"<script src=\"/s.js\">x = '<a href=\"/n\">';</script ><a href=/y>",
         "<script src=\"" PREFIX "/s.js\">x = '<a href=\"/n\">';</script ><a href=" PREFIX "/y>"},
        {"<script>if (a</b) '</scrip'</script><a href=/y>",
         "<script>if (a</b) '</scrip'</script><a href=" PREFIX "/y>"},
        {"<a =\"/x\" href=\"/y\" checked>", "<a =\"/x\" href=\"" PREFIX "/y\" checked>"},
        {"<div data-x='\"' href=/no><a href='/y'>",
         "<div data-x='\"' href=/no><a href='" PREFIX "/y'>"},
        {"<p don't><a href=/y>", "<p don't><a href=" PREFIX "/y>"},
        {"<!--><a href=/y>", "<!--><a href=" PREFIX "/y>"},
        {"cut <a href=\"/x", "cut <a href=\"/x"},
        {"cut <", "cut <"},
        {"<a href>x<a href=>", "<a href>x<a href=>"},
    };
    static const size_t steps[] = {1, 2, 3, 7, 1000};
    for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(steps); i++) {
        AUTO_BUF b = BUF_INIT;
        size_t k = i / ARRAY_SIZE(steps);
        rewrite(cases[k].from, steps[i % ARRAY_SIZE(steps)], &b);
        ck_assert_msg(str_eqc(buf_str(&b), cases[k].to), "%s became %.*s", cases[k].from,
                      (int)b.len, (const char *)b.data);
    }
}
END_TEST

/* Nothing is gathered without bound. */
START_TEST(overlong_tag)
{
    AUTO_BUF in = BUF_INIT;
    AUTO_BUF out = BUF_INIT;
    buf_puts(&in, "<a title='");
    for (int i = 0; i < 100000; i++)
        buf_putc(&in, 'x');
    buf_puts(&in, "' href=/x><a href=/y>");
    buf_putc(&in, '\0');
    rewrite((const char *)in.data, 1000, &out);
    ck_assert(str_has_suffix(buf_str(&out), STR("' href=/x><a href=" PREFIX "/y>")));
}
END_TEST

START_TEST(names)
{
    static const struct {
        const char *id, *scheme, *name, *port; /* name NULL: malformed */
    } cases[] = {{"p", "", "p", ""},         {"p:80", "", "p", "80"},
                 {"p:", "", "p", ""},        {"https:p:web", "https", "p", "web"},
                 {":p:80", "", "p", "80"},   {"http:p:", "http", "p", ""},
                 {"ftp:p:80", "", NULL, ""}, {":80", "", NULL, ""},
                 {"a:b:c:d", "", NULL, ""},  {"a:b:c:d:e:f", "", NULL, ""},
                 {"", "", NULL, ""}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str scheme, name, port;
        bool ok = proxy_target_split(str_of(cases[i].id), &scheme, &name, &port);
        ck_assert_msg(ok == (cases[i].name != NULL), "%s", cases[i].id);
        if (ok)
            ck_assert(str_eqc(scheme, cases[i].scheme) && str_eqc(name, cases[i].name) &&
                      str_eqc(port, cases[i].port));
    }
}
END_TEST

/* Not the API server's own host, nor what only its link knows. */
START_TEST(addresses)
{
    static const char *const good[] = {"10.0.0.1", "192.168.1.1", "8.8.8.8",
                                       "fd00::1",  "2001:db8::1", "::ffff:10.0.0.1"};
    static const char *const bad[] = {
        "",        "127.0.0.1", "127.9.9.9", "169.254.169.254",  "224.0.0.1", "::1",
        "fe80::1", "ff02::1",   "ff01::1",   "::ffff:127.0.0.1", "name",      "1.2.3"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        ck_assert_msg(proxy_target_allowed(str_of(good[i])), "%s", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(!proxy_target_allowed(str_of(bad[i])), "%s", bad[i]);
}
END_TEST

UNIT_MAIN("proxy", UNIT_TEST(urls); UNIT_TEST(html); UNIT_TEST(overlong_tag); UNIT_TEST(names);
          UNIT_TEST(addresses))
