/* json_lex.h - the scanner under the tree parser and the typed decoder.
 *
 * Texts are scanned in place; syntax errors are worded as Go's encoding/json
 * words them. Decoded strings go to the arena: plain ones as copies with a
 * NUL, taken from one block the size of the text. */
#ifndef API_JSON_LEX_H
#define API_JSON_LEX_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct error;

struct json_lex {
    const char *start;
    const char *p;
    const char *end;
    struct arena *arena;
    char *pool; /* Room for the text's strings; NULL until the first. */
    char *pool_end;
    struct error *err;
};

void json_lex_init(struct json_lex *l, struct arena *a, struct str text, struct error *err);

/* Skips white space. The next byte, or -1 at the end. */
static inline int json_lex_peek(struct json_lex *l)
{
    const char *p = l->p;
    while (p < l->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    l->p = p;
    return p < l->end ? (unsigned char)*p : -1;
}
/* invalid character 'x' <context>, or unexpected end of JSON input; for the byte at p. */
int json_lex_fail(struct json_lex *l, const char *context);

/* All three stand at the first byte of their token. */
int json_lex_string(struct json_lex *l, struct str *ret); /* Unescaped, in the arena. */
int json_lex_number(struct json_lex *l, struct str *ret); /* A view of the text. */
int json_lex_literal(struct json_lex *l, const char *word);
/* Checks and skips one value of any kind; *ret is a view of its text. */
int json_lex_skip(struct json_lex *l, unsigned depth, struct str *ret);
/* Behind the top value there may only be white space. */
int json_lex_end(struct json_lex *l);

/* Steps through { and [: after the opening byte, call with first = true; after
 * each value with first = false. 1: an item follows (for objects, p stands at
 * its key's quote), 0: closed, negative: error. */
int json_lex_next(struct json_lex *l, char close, bool first);
/* The key and its colon. */
int json_lex_key(struct json_lex *l, struct str *ret);
/* The same without a copy where the text allows: a view, without NUL. */
int json_lex_key_view(struct json_lex *l, struct str *ret);

/* A copy in the arena, with NUL. */
struct str json_lex_copy(struct json_lex *l, struct str s);

#endif
