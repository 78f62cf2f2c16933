/* event_correlator.h - the pure part of the event recorder: is an Event new, a
 * repeat of one before, one of many similar, or too many?
 *
 * Rules (upstream's correlator): per object and source a bucket of 25 that
 * refills by one in 300 s; 10 similar Events (same but for the message) within
 * 600 s, then further ones are written as one combined Event; an Event equal
 * to one before raises that one's count. Remembers at most 4,096 of each. */
#ifndef CLIENT_EVENT_CORRELATOR_H
#define CLIENT_EVENT_CORRELATOR_H

#include "lib/base/list.h"
#include "lib/base/map.h"

struct event_memory {
    struct map by_key;
    struct list by_age; /* Oldest use first. */
};

struct event_correlator {
    struct event_memory buckets; /* object -> tokens */
    struct event_memory similar; /* aggregation key -> distinct messages */
    struct event_memory written; /* event key -> name and count */
};

/* What to write. */
struct event_verdict {
    bool drop;
    bool combined;    /* Put "(combined from similar events): " in front. */
    int32_t count;    /* 1: create; more: raise the count of `name`. */
    const char *name; /* Of the Event to patch, or to create. Borrowed until the next call. */
    int64_t first_ns; /* firstTimestamp. */
};

struct event_facts {
    struct str object; /* Kind, namespace, name, uid, field path: joined, unique. */
    struct str type;
    struct str reason;
    struct str message;
    struct str name; /* Proposed name of a new Event. */
    uint64_t now_ms;
    int64_t wall_ns;
};

void event_correlator_init(struct event_correlator *c);
void event_correlator_done(struct event_correlator *c);
struct event_verdict event_correlate(struct event_correlator *c, const struct event_facts *f);

#endif
