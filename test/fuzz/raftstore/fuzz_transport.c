/* fuzz_transport.c - frames and greetings from a peer that sends anything.
 *
 * First byte: how the stream is cut into reads. Every frame is tried as a hello
 * and as a welcome; what decodes must encode to something that decodes alike. */
#include "lib/base/error.h"
#include "raftstore/transport_frame.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

static void try_hello(struct str frame)
{
    struct transport_hello h, again;
    AUTO_BUF b = BUF_INIT;
    if (transport_hello_decode(frame, &h, NULL) < 0)
        return;
    transport_hello_encode(&h, &b);
    ASSERT(transport_hello_decode(buf_str(&b), &again, NULL) == 0);
    ASSERT(str_eq(h.name, again.name) && str_eq(h.address, again.address) && h.from == again.from &&
           h.to == again.to && h.instance == again.instance && h.cluster_id == again.cluster_id);
}

static void try_welcome(struct str frame)
{
    struct transport_welcome w, again;
    AUTO_BUF b = BUF_INIT;
    if (transport_welcome_decode(frame, &w, NULL) < 0)
        return;
    transport_welcome_encode(&w, &b);
    ASSERT(transport_welcome_decode(buf_str(&b), &again, NULL) == 0);
    ASSERT(str_eq(w.name, again.name) && w.id == again.id && w.status == again.status);
}

static bool on_frame(void *arg, struct str frame)
{
    size_t *total = arg;
    ASSERT(frame.len > 0 && frame.len <= TRANSPORT_GREETING_MAX);
    *total += frame.len + FRAME_HEADER_BYTES;
    try_hello(frame);
    try_welcome(frame);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t step = data[0] + 1u, total = 0;
    struct framer f;
    framer_init(&f, TRANSPORT_GREETING_MAX);
    bool ok = true;
    for (size_t at = 1; ok && at < size; at += step)
        ok = framer_feed(&f, data + at, MIN_OF(step, size - at), on_frame, &total);
    ASSERT(total + f.partial.len <= size);
    framer_done(&f);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    AUTO_BUF b = BUF_INIT, frame = BUF_INIT;
    struct transport_hello h = {1, 1, 0, 2, 3, 4, 5, STR("m1"), STR("10.0.0.1:6444")};
    struct transport_welcome w = {1, 0, 2, 3, 4, STR("m2")};
    uint8_t header[FRAME_HEADER_BYTES];
    if (i >= 3)
        return 0;
    buf_putc(&b, (char)(i * 7));
    for (unsigned k = 0; k <= i; k++) {
        buf_clear(&frame);
        if (k % 2 == 0)
            transport_hello_encode(&h, &frame);
        else
            transport_welcome_encode(&w, &frame);
        frame_header(header, frame.len);
        buf_append(&b, header, sizeof(header));
        buf_append_str(&b, buf_str(&frame));
    }
    if (b.len > cap)
        return 0;
    memcpy(p, b.data, b.len);
    return b.len;
}
