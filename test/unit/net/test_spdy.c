/* test_spdy.c - frames in any pieces, what is refused, header blocks. */
#include "lib/net/spdy.h"

#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <string.h>
#include <zlib.h>

static void on_data(void *arg, uint32_t id, const uint8_t *data, size_t len, bool fin)
{
    struct buf *b = arg;
    for (size_t i = 0; i < len; i++)
        buf_printf(b, "%u%c", id, data[i]);
    if (fin)
        buf_printf(b, "%u.", id);
}

static void on_reply(void *arg, uint32_t id, bool fin)
{
    buf_printf(arg, "R%u%s", id, fin ? "." : "");
}

static void on_reset(void *arg, uint32_t id, uint32_t status)
{
    buf_printf(arg, "X%u:%u", id, status);
}

static void on_ping(void *arg, uint32_t id)
{
    buf_printf(arg, "P%u", id);
}

static void on_goaway(void *arg, uint32_t status)
{
    buf_printf(arg, "G%u", status);
}

static const struct spdy_events EVENTS = {.on_data = on_data,
                                          .on_reply = on_reply,
                                          .on_reset = on_reset,
                                          .on_ping = on_ping,
                                          .on_goaway = on_goaway};

static int feed(const struct buf *in, size_t step, struct buf *out)
{
    struct spdy_parser p = {0};
    struct error err;
    int rc = 0;
    for (size_t at = 0; at < in->len && rc == 0; at += step)
        rc = spdy_parser_feed(&p, in->data + at, MIN_OF(step, in->len - at), &EVENTS, out, &err);
    return rc;
}

/* A control frame with `len` bytes behind the ids. */
static void control(struct buf *b, unsigned type, unsigned flags, uint32_t first, uint32_t second,
                    size_t len)
{
    buf_put_be32(b, 0x80030000u | type);
    buf_put_be32(b, flags << 24 | (uint32_t)(8 + len));
    buf_put_be32(b, first);
    buf_put_be32(b, second);
    for (size_t i = 0; i < len; i++)
        buf_putc(b, 'h');
}

START_TEST(any_pieces)
{
    AUTO_BUF in = BUF_INIT;
    static const size_t steps[] = {1, 2, 5, 11, 100000};
    control(&in, 4, 0, 7, 7, 100); /* settings: of no interest */
    control(&in, 2, 0, 1, 0x68656c70, 50);
    control(&in, 2, 1, 3, 0, 0);
    spdy_data_head(&in, 1, 2, false);
    buf_puts(&in, "ab");
    spdy_data_head(&in, 3, 0, true);
    spdy_data_head(&in, 5, 0, false); /* nothing at all */
    spdy_data_head(&in, 1, 1, true);
    buf_puts(&in, "c");
    spdy_ping(&in, 2);
    control(&in, 3, 0, 5, 8, 0);
    control(&in, 1, 0, 2, 0, 70000); /* a stream that nobody asked for */
    spdy_goaway(&in);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        AUTO_BUF out = BUF_INIT;
        ck_assert_int_eq(feed(&in, steps[i], &out), 0);
        ck_assert_str_eq((buf_putc(&out, '\0'), (const char *)out.data), "R1R3.1a1b3.1c1.P2X5:8G0");
    }
}
END_TEST

START_TEST(refused)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x80\x02\x00\x02\x00\x00\x00\x04\x00\x00\x00\x01", 12}, /* SPDY/2 */
        {"\x00\x00\x00\x00\x00\x00\x00\x01x", 9},                 /* data of stream 0 */
        {"\x80\x03\x00\x03\x00\x00\x00\x04\x00\x00\x00\x01", 12}, /* half a reset */
        {"\x80\x03\x00\x06\x00\x00\x00\x00", 8},                  /* an empty ping */
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        AUTO_BUF in = BUF_INIT;
        AUTO_BUF out = BUF_INIT;
        buf_append(&in, bad[i].bytes, bad[i].len);
        ck_assert_msg(feed(&in, 1, &out) == E_INVALID, "case %zu was taken", i);
    }
}
END_TEST

/* The checksum by which every SPDY/3 peer names the dictionary. */
START_TEST(dictionary)
{
    uint8_t d[SPDY_DICTIONARY_LEN];
    spdy_dictionary(d);
    ck_assert_uint_eq(adler32(adler32(0, NULL, 0), d, sizeof(d)), 0xe3c6a7c2u);
}
END_TEST

/* A peer that keeps one decompressor reads one block after the other. */
START_TEST(header_blocks)
{
    uint8_t d[SPDY_DICTIONARY_LEN];
    struct spdy_writer *w = spdy_writer_new();
    struct http_header h[] = {{STR("streamtype"), STR("error")}, {STR("port"), STR("8080")}};
    z_stream z = {0};
    spdy_dictionary(d);
    ck_assert_int_eq(inflateInit(&z), Z_OK);
    for (unsigned i = 0; i < 3; i++) {
        AUTO_BUF b = BUF_INIT;
        uint8_t plain[256];
        spdy_syn_stream(w, &b, 2 * i + 1, h, 2);
        ck_assert_int_eq(memcmp(b.data, "\x80\x03\x00\x01\x00", 5), 0);
        ck_assert_uint_eq(b.data[11], 2 * i + 1);
        z.next_in = b.data + 18;
        z.avail_in = (uInt)b.len - 18;
        z.next_out = plain;
        z.avail_out = sizeof(plain);
        int rc = inflate(&z, Z_SYNC_FLUSH);
        if (rc == Z_NEED_DICT) {
            ck_assert_int_eq(inflateSetDictionary(&z, d, sizeof(d)), Z_OK);
            rc = inflate(&z, Z_SYNC_FLUSH);
        }
        ck_assert_int_eq(rc, Z_OK);
        struct str got = str_n((const char *)plain, sizeof(plain) - z.avail_out);
        ck_assert(str_eq(got, STR("\0\0\0\2\0\0\0\12streamtype\0\0\0\5error\0\0\0\4port\0\0\0\4"
                                  "8080")));
    }
    inflateEnd(&z);
    spdy_writer_free(w);
}
END_TEST

UNIT_MAIN("spdy", UNIT_TEST(any_pieces); UNIT_TEST(refused); UNIT_TEST(dictionary);
          UNIT_TEST(header_blocks))
