/* fuzz_proxy.c - what proxied servers answer: Location and HTML. However a
 * document is cut, what comes out is the same; and it only ever grows. */
#include "apiserver/proxy_rewrite.h"
#include "apiserver/proxy_target.h"
#include "lib/base/buf.h"

#include <string.h>

static const struct proxy_view view = {STR("/p/proxy"), STR("10.0.0.1:80"), STR("h:1")};

static void rewrite(const uint8_t *data, size_t size, size_t step, struct buf *b)
{
    struct html_rewriter *h = html_rewriter_new(&view);
    for (size_t at = 0; at < size; at += step) {
        size_t n = MIN_OF(step, size - at);
        AUTO_FREE uint8_t *piece = xmalloc(n);
        memcpy(piece, data + at, n);
        html_rewriter_push(h, piece, n, b);
    }
    html_rewriter_end(h, b);
    html_rewriter_free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_BUF whole = BUF_INIT;
    AUTO_BUF bytes = BUF_INIT;
    AUTO_BUF url = BUF_INIT;
    struct str s = str_n((const char *)data, size), scheme, name, port;
    rewrite(data, size, size + 1, &whole);
    rewrite(data, size, 1, &bytes);
    ASSERT(str_eq(buf_str(&whole), buf_str(&bytes)));
    proxy_rewrite_url(&view, s, &url);
    if (proxy_target_split(s, &scheme, &name, &port))
        ASSERT(name.len > 0 && scheme.len + name.len + port.len <= size);
    proxy_target_allowed(s);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char *const seeds[] = {
        "<a href=\"/x\">y</a><img src='/i' alt=/i><!-- <a href=/n> -->",
        "<script>'<a href=/n>'</script><form action=/f><title><p></title >",
        "http://10.0.0.1:80/x?y#z",
        "//h:1/p/proxy/x",
        "https:name:port",
        "::ffff:127.0.0.1",
        "<title><a href='/x'></title ><p \"'=><a title='>' href=/x/>",
    };
    if (i >= ARRAY_SIZE(seeds))
        return 0;
    size_t n = MIN_OF(strlen(seeds[i]), cap);
    memcpy(p, seeds[i], n);
    return n;
}
