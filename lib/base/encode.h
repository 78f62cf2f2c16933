/* encode.h - base64 and hex, strict both ways. Pure. */
#ifndef BASE_ENCODE_H
#define BASE_ENCODE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;

enum base64_form {
    BASE64_STD,     /* "+/" with padding. */
    BASE64_RAW_STD, /* Without padding. */
    BASE64_URL,     /* "-_" with padding. */
    BASE64_RAW_URL, /* As in JWTs. */
};

/* Length of n bytes when encoded, without NUL. */
size_t base64_len(enum base64_form form, size_t n);
/* Writes base64_len() characters, no NUL. */
void base64_encode_to(enum base64_form form, const void *p, size_t n, char *ret);
void base64_encode(enum base64_form form, const void *p, size_t n, struct buf *b);
/* Appends the decoded bytes. E_INVALID, with b unchanged, on a wrong character,
 * wrong padding or non-zero spare bits. Line breaks (CR, LF) are skipped, as Go does. */
int base64_decode(enum base64_form form, struct str s, struct buf *b);

void hex_encode_to(const void *p, size_t n, char *ret); /* 2n characters, no NUL; lower case. */
void hex_encode(const void *p, size_t n, struct buf *b);
int hex_decode(struct str s, struct buf *b); /* E_INVALID. Either case. */

#endif
