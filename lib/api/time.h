/* time.h - points in time as the API writes them. Pure and
 * thread-safe.
 *
 * Time is struct meta_v1_time: Unix seconds and nanoseconds, all zero being
 * Go's zero time ("not set"), which JSON writes as null. On the wire a Time
 * has whole seconds, a MicroTime microseconds. */
#ifndef API_TIME_H
#define API_TIME_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct error;
struct meta_v1_time;
struct meta_v1_micro_time;

#define TIME_TEXT_MAX 40

bool time_is_zero(const struct meta_v1_time *t);
bool micro_time_is_zero(const struct meta_v1_micro_time *t);
/* -1, 0, 1. The zero time comes before all others. */
int time_cmp(const struct meta_v1_time *x, const struct meta_v1_time *y);
int micro_time_cmp(const struct meta_v1_micro_time *x, const struct meta_v1_micro_time *y);

/* From nanoseconds since the Unix epoch (env_wall_ns): a Time is cut to whole
 * seconds, a MicroTime to microseconds. */
struct meta_v1_time time_from_ns(int64_t wall_ns);
struct meta_v1_micro_time micro_time_from_ns(int64_t wall_ns);
int64_t time_to_ns(const struct meta_v1_time *t); /* 0 for the zero time. */
int64_t micro_time_to_ns(const struct meta_v1_micro_time *t);

/* "2006-01-02T15:04:05Z" and "2006-01-02T15:04:05.000000Z", in UTC, with NUL;
 * the length. The zero time gives "". */
size_t time_format(const struct meta_v1_time *t, char ret[TIME_TEXT_MAX]);
size_t micro_time_format(const struct meta_v1_micro_time *t, char ret[TIME_TEXT_MAX]);
/* RFC 3339, with any offset. E_INVALID in Go's words: parsing time "x" as ... */
int time_parse(struct str text, struct meta_v1_time *ret, struct error *err);
int micro_time_parse(struct str text, struct meta_v1_micro_time *ret, struct error *err);

/* How long ago, as kubectl prints it: "5s", "3m12s", "2d3h". Writes NUL; the length. */
#define AGE_TEXT_MAX 32
size_t age_format(int64_t seconds, char ret[AGE_TEXT_MAX]);

#endif
