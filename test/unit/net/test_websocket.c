/* test_websocket.c - frames in any pieces, what is refused, the handshake. */
#include "lib/net/websocket.h"

#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <string.h>

/* What came, as text: "[a+b]" is a message in two pieces, "P(x)" a ping, "C1000" a close. */
static void on_data(void *arg, const uint8_t *data, size_t len, bool first, bool last)
{
    struct buf *b = arg;
    if (first)
        buf_putc(b, '[');
    buf_append(b, data, len);
    if (last)
        buf_putc(b, ']');
}

static void on_ping(void *arg, const uint8_t *data, size_t len)
{
    buf_printf(arg, "P(%.*s)", (int)len, (const char *)data);
}

static void on_close(void *arg, int code)
{
    buf_printf(arg, "C%d", code);
}

static const struct ws_events EVENTS = {
    .on_data = on_data, .on_ping = on_ping, .on_close = on_close};

/* A client's frame; bits: FIN and opcode. */
static void frame(struct buf *b, unsigned bits, const char *text, size_t len)
{
    static const uint8_t mask[4] = {0x12, 0xf3, 0, 0x77};
    uint8_t head[WS_HEADER_MAX];
    size_t n = ws_head(WS_BINARY, len, head);
    head[0] = (uint8_t)bits;
    head[1] |= 0x80;
    buf_append(b, head, n);
    buf_append(b, mask, 4);
    for (size_t i = 0; i < len; i++)
        buf_putc(b, (char)((uint8_t)text[i] ^ mask[i & 3]));
}

static int feed(const struct buf *in, size_t step, struct buf *out)
{
    struct ws_parser p = {0};
    struct error err;
    int rc = 0;
    for (size_t at = 0; at < in->len && rc == 0; at += step)
        rc = ws_parser_feed(&p, in->data + at, MIN_OF(step, in->len - at), &EVENTS, out, &err);
    return rc;
}

/* Fragments, a ping between them, an empty message and a close, however the bytes are cut. */
START_TEST(any_pieces)
{
    AUTO_BUF in = BUF_INIT;
    static const size_t steps[] = {1, 2, 3, 7, 1000};
    frame(&in, 0x82, "one", 3);
    frame(&in, 0x01, "tw", 2);
    frame(&in, 0x89, "p", 1);
    frame(&in, 0x00, "", 0);
    frame(&in, 0x80, "o", 1);
    frame(&in, 0x82, "", 0);
    frame(&in, 0x8a, "unasked", 7);
    frame(&in, 0x88, "\x03\xe8why", 5);
    frame(&in, 0x82, "late", 4);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        AUTO_BUF out = BUF_INIT;
        ck_assert_int_eq(feed(&in, steps[i], &out), 0);
        ck_assert(str_eqc(buf_str(&out), "[one][twP(p)o][]C1000"));
    }
}
END_TEST

/* Lengths in each of their three forms. */
START_TEST(lengths)
{
    static const size_t lens[] = {0, 1, 125, 126, 65535, 65536, 200000};
    for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
        AUTO_BUF in = BUF_INIT;
        AUTO_BUF out = BUF_INIT;
        char *text = xmalloc(lens[i] + 1);
        memset(text, 'x', lens[i]);
        frame(&in, 0x82, text, lens[i]);
        ck_assert_int_eq(feed(&in, 4000, &out), 0);
        ck_assert_uint_eq(out.len, lens[i] + 2);
        free(text);
    }
}
END_TEST

START_TEST(refused)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x82\x01xyzab", 7},                                 /* not masked */
        {"\xc2\x81xyzab", 7},                                 /* a reserved bit */
        {"\x83\x81xyzab", 7},                                 /* an opcode that is none */
        {"\x09\x81xyzab", 7},                                 /* a split ping */
        {"\x89\xfe\x00\x7exyzab", 9},                         /* a ping of 126 bytes */
        {"\x80\x81xyzab", 7},                                 /* a continuation of nothing */
        {"\x02\x81xyzab\x82\x81xyzab", 14},                   /* a message within another */
        {"\x82\xff\xff\x00\x00\x00\x00\x00\x00\x00xyza", 14}, /* a length beyond all */
        {"\x88\x81xyzab", 7},                                 /* half a close code */
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        AUTO_BUF in = BUF_INIT;
        AUTO_BUF out = BUF_INIT;
        buf_append(&in, bad[i].bytes, bad[i].len);
        ck_assert_msg(feed(&in, 1, &out) == E_INVALID, "case %zu was taken", i);
    }
}
END_TEST

/* The example of RFC 6455, 1.3. */
START_TEST(handshake)
{
    char accept[WS_ACCEPT_LEN + 1];
    ws_accept(STR("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    ck_assert_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
END_TEST

UNIT_MAIN("websocket", UNIT_TEST(any_pieces); UNIT_TEST(lengths); UNIT_TEST(refused);
          UNIT_TEST(handshake))
