/* test_stream_out.c - the queue in front of a socket. */
#include "lib/net/stream_out.h"

#include "lib/net/bytes.h"
#include "test/unit/unit.h"

#include <string.h>

#define BLOCK 5000

/* Takes up to n bytes out through pieces and checks that they continue the count. */
static void take_out(struct stream_out *o, size_t n, unsigned max, uint8_t *next)
{
    uv_buf_t pieces[8];
    unsigned count = stream_out_pieces(o, pieces, max);
    ck_assert_uint_le(count, max);
    ck_assert_uint_le(count, stream_out_piece_count(o));
    size_t left = n;
    for (unsigned i = 0; i < count && left > 0; i++)
        for (size_t k = 0; k < pieces[i].len && left > 0; k++, left--)
            ck_assert_uint_eq((uint8_t)pieces[i].base[k], (*next)++);
    stream_out_consume(o, n - left);
}

/* Whatever mixture of copies and references goes in, the same bytes come out, in order, in whatever
 * portions; every reference is given back. */
START_TEST(mixture_keeps_order)
{
    struct stream_out o = {0};
    struct net_bytes *blocks[256];
    uint8_t in = 0, out = 0, copy[3000];
    unsigned random = 7;
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = net_bytes_new(BLOCK);
        for (size_t k = 0; k < BLOCK; k++)
            net_bytes_edit(blocks[i])[k] = (uint8_t)(i + k);
    }
    for (int round = 0; round < 20000; round++) {
        random = random * 1103515245 + 12345;
        size_t len = (random >> 8) % (random % 7 == 0 ? 3000 : 40) + 1;
        if (random >> 31 != 0) {
            stream_out_add_ref(&o, blocks[in], blocks[in]->data, len);
            in = (uint8_t)(in + len);
        } else {
            for (size_t k = 0; k < len; k++)
                copy[k] = in++;
            stream_out_add(&o, copy, len);
        }
        if (o.len > 20000 || random % 3 == 0)
            take_out(&o, (random >> 4) % 30000, random % 8 + 1, &out);
    }
    while (o.len > 0)
        take_out(&o, o.len, 8, &out);
    ck_assert_uint_eq(in, out);
    stream_out_add_ref(&o, blocks[0], blocks[0]->data, 1);
    stream_out_done(&o);
    ck_assert_uint_eq(o.len, 0);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        ck_assert_uint_eq(atomic_load(&blocks[i]->refs), 1);
        net_bytes_unref(blocks[i]);
    }
}
END_TEST

UNIT_MAIN("stream_out", UNIT_TEST(mixture_keeps_order))
