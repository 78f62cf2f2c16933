/* buf.c - see buf.h. */
#include "lib/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_init(struct buf *b)
{
    *b = BUF_INIT;
}

void buf_done(struct buf *b)
{
    free(b->data != NULL ? b->data - b->skip : NULL);
    *b = BUF_INIT;
}

void buf_clear(struct buf *b)
{
    if (b->data != NULL) {
        b->data -= b->skip;
        b->cap += b->skip;
        b->skip = 0;
    }
    b->len = 0;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (n <= b->cap - b->len)
        return b->data + b->len;
    if (n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4)
        PANIC("buffer of %zu + %zu bytes", b->len, n);
    uint8_t *start = b->data != NULL ? b->data - b->skip : NULL;
    size_t whole = b->cap + b->skip;
    if (b->skip >= b->len && n <= whole - b->len) {
        /* At least as many dead bytes as live ones: moving is cheap. */
        memmove(start, b->data, b->len);
    } else {
        size_t want = MAX_OF(b->len + n, MAX_OF(whole + whole / 2, (size_t)64));
        uint8_t *bigger = xmalloc(want);
        if (b->len != 0)
            memcpy(bigger, b->data, b->len);
        free(start);
        start = bigger;
        whole = want;
    }
    b->data = start;
    b->cap = whole;
    b->skip = 0;
    return b->data + b->len;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), p, n);
    b->len += n;
}

void buf_append_str(struct buf *b, struct str s)
{
    buf_append(b, s.data, s.len);
}

void buf_puts(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    *buf_reserve(b, 1) = (uint8_t)c;
    b->len++;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

static void put_le(struct buf *b, uint64_t v, size_t bytes)
{
    uint8_t *p = buf_reserve(b, bytes);
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
    b->len += bytes;
}

void buf_put_le16(struct buf *b, uint16_t v)
{
    put_le(b, v, 2);
}

void buf_put_le32(struct buf *b, uint32_t v)
{
    put_le(b, v, 4);
}

void buf_put_le64(struct buf *b, uint64_t v)
{
    put_le(b, v, 8);
}

void buf_put_be32(struct buf *b, uint32_t v)
{
    put_le(b, __builtin_bswap32(v), 4);
}

void buf_put_varint(struct buf *b, uint64_t v)
{
    uint8_t *p = buf_reserve(b, 10);
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    b->len += n;
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= b->len);
    if (n == b->len) {
        buf_clear(b);
        return;
    }
    b->data += n;
    b->skip += n;
    b->cap -= n;
    b->len -= n;
}

void buf_truncate(struct buf *b, size_t len)
{
    ASSERT(len <= b->len);
    b->len = len;
}

char *buf_steal(struct buf *b, size_t *ret_len)
{
    buf_putc(b, '\0');
    size_t len = b->len - 1;
    uint8_t *start = b->data - b->skip;
    if (b->skip != 0)
        memmove(start, b->data, b->len);
    *b = BUF_INIT;
    if (ret_len != NULL)
        *ret_len = len;
    return (char *)start;
}
