/* buf.h - a growable byte buffer that owns its memory.
 *
 * The bytes stand at data[0 .. len). buf_consume() drops bytes at the front
 * without moving the rest until room is needed. Aborts when memory is gone;
 * what input can make it hold is bounded by the caller. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf {
    uint8_t *data; /* Start of the live bytes; NULL while empty and unused. */
    size_t len;    /* Live bytes. */
    size_t cap;    /* Bytes that fit from data on. */
    size_t skip;   /* Dead bytes between the allocation's start and data. */
};

#define BUF_INIT ((struct buf){NULL, 0, 0, 0})

void buf_init(struct buf *b);
void buf_done(struct buf *b);  /* Frees; the buf is empty and usable again. */
void buf_clear(struct buf *b); /* Empties, keeps the memory. */

/* Makes room for n more bytes and returns where they go; len is unchanged. */
uint8_t *buf_reserve(struct buf *b, size_t n);
/* Counts n bytes written behind buf_reserve() as live. */
static inline void buf_commit(struct buf *b, size_t n)
{
    ASSERT(n <= b->cap - b->len);
    b->len += n;
}
void buf_append(struct buf *b, const void *p, size_t n);
void buf_append_str(struct buf *b, struct str s);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_put_le16(struct buf *b, uint16_t v);
void buf_put_le32(struct buf *b, uint32_t v);
void buf_put_le64(struct buf *b, uint64_t v);
void buf_put_be32(struct buf *b, uint32_t v);
void buf_put_varint(struct buf *b, uint64_t v); /* protobuf's base-128. */
void buf_consume(struct buf *b, size_t n);      /* Drops the first n bytes. */
void buf_truncate(struct buf *b, size_t len);   /* Drops the tail. */
static inline struct str buf_str(const struct buf *b)
{
    return str_n((const char *)b->data, b->len);
}
/* The content as a malloc'ed C string (NUL behind it); b is left empty. */
char *buf_steal(struct buf *b, size_t *ret_len);

#define AUTO_BUF __attribute__((cleanup(buf_done))) struct buf

#endif
