/* fuzz_text.c - small decoders: URLs, queries, addresses, gRPC framing and
 * texts, gzip, base64, hex, durations. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/flags.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc_internal.h"
#include "lib/net/http.h"
#include "lib/net/url.h"

#include <string.h>

static void try_urls(struct arena *a, struct str s)
{
    struct url u;
    struct str key, value, out, rest = s;
    uint16_t port;
    AUTO_BUF b = BUF_INIT;
    if (url_parse(s, &u, NULL) == 0)
        ASSERT(u.host.len > 0);
    url_split_host_port(s, 80, &out, &port, NULL);
    while (url_query_next(&rest, &key, &value))
        ;
    url_query_get(a, s, "k", &out);
    if (url_unescape_query(a, s, &out) == 0) {
        struct str again;
        url_escape_query(&b, out);
        ASSERT(url_unescape_query(a, buf_str(&b), &again) == 0 && str_eq(again, out));
    }
    http_accepts_gzip(s);
}

/* However the bytes are cut, the messages are the same. */
static void try_framing(struct str s)
{
    size_t counts[2] = {0, 0}, steps[2] = {7, s.len + 1};
    for (int i = 0; i < 2; i++) {
        struct grpc_reader r;
        enum grpc_read_result result = GRPC_READ_MORE;
        grpc_reader_init(&r, 100);
        for (size_t at = 0; at < s.len && result == GRPC_READ_MORE; at += steps[i]) {
            struct str data = str_sub(s, at, steps[i]), message;
            while ((result = grpc_reader_next(&r, &data, &message)) == GRPC_READ_MESSAGE)
                counts[i]++;
        }
        grpc_reader_done(&r);
    }
    ASSERT_CMP(counts[0], ==, counts[1]);
}

static void try_encodings(struct arena *a, struct str s)
{
    AUTO_BUF b = BUF_INIT;
    AUTO_BUF text = BUF_INIT;
    int64_t ns, again;
    for (int form = BASE64_STD; form <= BASE64_RAW_URL; form++)
        base64_decode((enum base64_form)form, s, &b);
    hex_decode(s, &b);
    grpc_message_decode(a, s);
    grpc_timeout_parse(s);
    if (duration_parse(s, &ns) == 0) {
        duration_print(ns, &text);
        ASSERT(duration_parse(buf_str(&text), &again) == 0 && again == ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    struct str s = str_n((const char *)data, size);
    struct net_bytes *plain;
    try_urls(a, s);
    try_framing(s);
    try_encodings(a, s);
    if (http_gunzip(data, size, 10000, &plain) == 0)
        net_bytes_unref(plain);
    return 0;
}

/* The lengths count NULs inside, but not the one behind. */
#define FUZZ_STR(text)                                                                             \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const struct str SEEDS[] = {
        FUZZ_STR("https://[::1]:6443/api?x=1&k=a%20b"),
        FUZZ_STR("10.0.0.1:80"),
        FUZZ_STR("k=v+w&x=%2f"),
        FUZZ_STR("\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\1x"),
        FUZZ_STR("1h2m3.5s"),
        FUZZ_STR("Zm9vYmFy"),
        FUZZ_STR("\x1f\x8b\x08\0\0\0\0\0\0\3\x4b\x4c\x4a\x06\0\xc2\x41\x24\x35\3\0\0\0"),
        FUZZ_STR("100m"),
    };
    if (i >= ARRAY_SIZE(SEEDS))
        return 0;
    memcpy(p, SEEDS[i].data, MIN_OF(SEEDS[i].len, cap));
    return MIN_OF(SEEDS[i].len, cap);
}
