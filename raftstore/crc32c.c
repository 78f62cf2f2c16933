/* crc32c.c - see crc32c.h. Polynomial 0x1EDC6F41, reflected: RFC 3720 B.4. */
#include "raftstore/crc32c.h"

#include <pthread.h>
#include <string.h>

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c & 1) != 0 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
        table[0][i] = c;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t i = 0; i < 256; i++)
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xff];
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    pthread_once(&table_once, table_fill);
    const uint8_t *at = p;
    uint32_t c = ~crc;
    for (; n >= 8; n -= 8, at += 8) {
        uint64_t v = load64(at) ^ c;
        c = 0;
        for (unsigned k = 0; k < 8; k++)
            c ^= table[7 - k][(v >> (8 * k)) & 0xff];
    }
    for (; n > 0; n--, at++)
        c = (c >> 8) ^ table[0][(c ^ *at) & 0xff];
    return ~c;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_hw(uint32_t crc, const void *p, size_t n)
{
    const uint8_t *at = p;
    uint64_t c = (uint32_t)~crc;
    for (; n >= 8; n -= 8, at += 8)
        c = _mm_crc32_u64(c, load64(at));
    uint32_t tail = (uint32_t)c;
    for (; n > 0; n--, at++)
        tail = _mm_crc32_u8(tail, *at);
    return ~tail;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_hw(crc, p, n) : crc32c_portable(crc, p, n);
}

#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    const uint8_t *at = p;
    uint32_t c = ~crc;
    for (; n >= 8; n -= 8, at += 8)
        c = __crc32cd(c, load64(at));
    for (; n > 0; n--, at++)
        c = __crc32cb(c, *at);
    return ~c;
}

#else

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    return crc32c_portable(crc, p, n);
}

#endif
