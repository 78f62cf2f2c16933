/* cron.h - cron schedules: five fields, names, steps, ranges, and @hourly and
 * its kin, read as upstream's parser does and refused in its words. */
#ifndef API_CRON_H
#define API_CRON_H

#include "lib/base/str.h"

struct error;

/* Bit n: the field may be n. Sunday is 0. */
struct cron {
    uint64_t minute, hour, day, month, weekday;
    bool any_day, any_weekday; /* "*": with both given, either may match. */
    int64_t every_s;           /* "@every": seconds; 0: fields. */
};

/* E_INVALID with what is wrong. */
int cron_parse(struct str text, struct cron *ret, struct error *err);
/* The first time after `after_s` (Unix seconds) in the zone, whose name is as in
 * the tz database; NULL: UTC. 0: none within five years. Not thread-safe: the C
 * library's zone is switched meanwhile. */
int64_t cron_next(const struct cron *c, int64_t after_s, const char *zone);
/* Does the tz database have it? Where there is none, any name will do. */
bool cron_zone_exists(struct str name);

/* The latest time that is due by now_s, of those after after_s; 0: none. ret_missed
 * (may be NULL): about how many are due, without counting each of many. */
int64_t cron_latest(const struct cron *c, int64_t after_s, int64_t now_s, const char *zone,
                    int64_t *ret_missed);

#endif
