/* quantity.h - resource quantities: decimal numbers with SI or binary suffixes.
 *
 * API objects hold a quantity as text (struct resource_quantity), in the form
 * upstream would print it; decoders bring it there. For arithmetic it is
 * parsed into struct quantity. Pure and thread-safe.
 *
 * Numbers of up to 36 significant digits are exact; finer than a billionth
 * (n) is rounded up, away from zero. More digits than 36 are refused. */
#ifndef API_QUANTITY_H
#define API_QUANTITY_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct error;
struct resource_quantity;

enum quantity_format {
    QUANTITY_DECIMAL_EXPONENT, /* 12e6; also the format of a zero value */
    QUANTITY_DECIMAL_SI,       /* 12M */
    QUANTITY_BINARY_SI,        /* 12Mi */
};

/* mantissa * 10^scale. All zero is 0. */
struct quantity {
    __int128 mantissa;
    int32_t scale;
    enum quantity_format format;
};

/* Longest text quantity_format() writes, with NUL. */
#define QUANTITY_TEXT_MAX 64

/* E_INVALID with upstream's text. */
int quantity_parse(struct str text, struct quantity *ret, struct error *err);
/* The stored form of a text: upstream keeps some spellings as they are (1.500,
 * 1e3) and rewrites others (0.5 to 500m, 1024Mi to 1Gi). The result is text
 * itself or memory of the arena. */
int quantity_canonical(struct arena *a, struct str text, struct str *ret, struct error *err);
/* Writes the canonical text and NUL; returns its length. */
size_t quantity_format(const struct quantity *q, char ret[QUANTITY_TEXT_MAX]);
struct str quantity_str(struct arena *a, const struct quantity *q);

/* A field of an object. Text that does not parse reads as 0: decoders let
 * none through. */
struct quantity quantity_of(const struct resource_quantity *r);
void quantity_store(struct arena *a, const struct quantity *q, struct resource_quantity *ret);

struct quantity quantity_from_int(int64_t value, enum quantity_format format);
struct quantity quantity_from_milli(int64_t milli, enum quantity_format format);

bool quantity_is_zero(const struct quantity *q);
int quantity_sign(const struct quantity *q);
int quantity_cmp(const struct quantity *x, const struct quantity *y); /* -1, 0, 1 */
/* *x += y. A zero x takes y's format. Beyond 36 digits the last ones are
 * rounded away from zero. */
void quantity_add(struct quantity *x, const struct quantity *y);
void quantity_sub(struct quantity *x, const struct quantity *y);
void quantity_neg(struct quantity *x);
/* Rounded up, away from zero; capped at the ends of int64_t. */
int64_t quantity_value(const struct quantity *q);       /* whole units */
int64_t quantity_milli_value(const struct quantity *q); /* thousandths */
/* Rounded to 10^-digits, away from zero: quantity_scaled(q, 0) is quantity_value(). */
int64_t quantity_scaled(const struct quantity *q, int32_t scale);
double quantity_to_double(const struct quantity *q);

#endif
