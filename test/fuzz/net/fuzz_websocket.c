/* fuzz_websocket.c - WebSocket and SPDY frames: however the bytes are cut, the
 * events are the same, and nothing is read beyond them. */
#include "lib/base/buf.h"
#include "lib/net/spdy.h"
#include "lib/net/websocket.h"

#include <string.h>

/* What was heard: bytes of all messages, and how often anything happened. */
struct heard {
    uint64_t hash;
    size_t bytes, events;
};

static void hear(struct heard *h, unsigned what, const uint8_t *data, size_t len)
{
    h->bytes += len;
    for (size_t i = 0; i < len; i++)
        h->hash = (h->hash ^ data[i] ^ what) * 0x100000001b3u;
}

static void ws_data(void *arg, const uint8_t *data, size_t len, bool first, bool last)
{
    struct heard *h = arg;
    hear(h, 1, data, len);
    h->events += first + last;
}

static void ws_ping(void *arg, const uint8_t *data, size_t len)
{
    ASSERT(len <= WS_CONTROL_MAX);
    hear(arg, 2, data, len);
    ((struct heard *)arg)->events++;
}

static void ws_close(void *arg, int code)
{
    ASSERT(code >= 0 && code <= 0xffff);
    ((struct heard *)arg)->events++;
}

static void spdy_data(void *arg, uint32_t id, const uint8_t *data, size_t len, bool fin)
{
    struct heard *h = arg;
    ASSERT(id != 0 && id < 0x80000000u);
    hear(h, id, data, len);
    h->events += fin;
}

static void spdy_reply(void *arg, uint32_t id, bool fin)
{
    ((struct heard *)arg)->events += 1 + fin;
    hear(arg, id, (const uint8_t *)"r", 1);
}

static void spdy_number(void *arg, uint32_t number)
{
    ((struct heard *)arg)->events++;
    hear(arg, number, (const uint8_t *)"n", 1);
}

static void spdy_reset(void *arg, uint32_t id, uint32_t status)
{
    spdy_number(arg, id);
    spdy_number(arg, status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ws_events ws = {
        .on_data = ws_data, .on_ping = ws_ping, .on_close = ws_close};
    static const struct spdy_events spdy = {.on_data = spdy_data,
                                            .on_reply = spdy_reply,
                                            .on_reset = spdy_reset,
                                            .on_ping = spdy_number,
                                            .on_goaway = spdy_number};
    static const size_t steps[] = {1, 3, 1000, SIZE_MAX / 2};
    struct heard heard[2][ARRAY_SIZE(steps)] = {0};
    int codes[2][ARRAY_SIZE(steps)] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct ws_parser w = {0};
        struct spdy_parser s = {0};
        for (size_t at = 0; at < size;) {
            size_t n = MIN_OF(steps[i], size - at);
            /* A block of its own, so that reading beyond it shows. */
            AUTO_FREE uint8_t *piece = xmalloc(n);
            memcpy(piece, data + at, n);
            if (codes[0][i] == 0)
                codes[0][i] = ws_parser_feed(&w, piece, n, &ws, &heard[0][i], NULL);
            if (codes[1][i] == 0)
                codes[1][i] = spdy_parser_feed(&s, piece, n, &spdy, &heard[1][i], NULL);
            at += n;
        }
        for (int k = 0; k < 2; k++) {
            ASSERT_CMP(codes[k][i], ==, codes[k][0]);
            ASSERT_CMP(heard[k][i].hash, ==, heard[k][0].hash);
            ASSERT_CMP(heard[k][i].bytes, ==, heard[k][0].bytes);
            ASSERT_CMP(heard[k][i].events, ==, heard[k][0].events);
            ASSERT(heard[k][i].bytes <= 2 * size + 2);
        }
    }
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
#define SEED(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
    static const struct {
        const char *bytes;
        size_t len;
    } seeds[] = {
        SEED("\x82\x83xyzaone\x01\x81xyzat\x89\x81xyzap\x80\x80xyza\x88\x82xyza\x7b\x91"),
        SEED("\x82\xfe\x00\x80xyza............................................................"
             "................................................................"),
        SEED("\x80\x03\x00\x02\x00\x00\x00\x06\x00\x00\x00\x01hh\x00\x00\x00\x01\x01\x00\x00\x02"
             "ab\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02"),
        SEED("\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x05"
             "\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00"),
    };
#undef SEED
    if (i >= ARRAY_SIZE(seeds) || seeds[i].len > cap)
        return 0;
    memcpy(p, seeds[i].bytes, seeds[i].len);
    return seeds[i].len;
}
