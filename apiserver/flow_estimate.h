/* flow_estimate.h - how many seats a request is thought to take.
 *
 * Lists, and watches that begin with a list: by the number and size of the
 * resource's objects. Writes: by the watches that their events go to. */
#ifndef APISERVER_FLOW_ESTIMATE_H
#define APISERVER_FLOW_ESTIMATE_H

#include "apiserver/flow_set.h"
#include "lib/base/map.h"

#include <pthread.h>

struct request_info;
struct req;
struct resource;
struct server_thread;

/* What a resource holds; looked up at most once a second. One thread's. */
struct flow_stats {
    uint64_t at_ms; /* 0: never. */
    int64_t objects, bytes_each;
};
struct flow_stats_table {
    struct flow_stats *items; /* By index of the primary resource. */
    size_t cap;
};

/* Watches under way, by resource, namespace and name. Any thread. */
struct flow_watches {
    pthread_mutex_t lock;
    struct map counts;
};
void flow_watches_init(struct flow_watches *w);
void flow_watches_done(struct flow_watches *w);
/* delta is 1 or -1. Those of pods on one node are left out: few changes concern them. */
void flow_watches_add(struct flow_watches *w, const struct request_info *info, int delta);
/* Watches that a change by such a request concerns. */
uint32_t flow_watches_count(struct flow_watches *w, const struct request_info *info);

/* seats_max: of the level, 0: none. *ret_watches: -1, or the watches of a write. */
struct flow_work flow_estimate(struct flow_stats_table *stats, struct flow_watches *watches,
                               struct req *r, uint32_t seats_max, int64_t *ret_watches);
/* The two rules alone: of objects that a list goes through, and of watches. */
uint32_t flow_list_seats(int64_t objects, int64_t bytes_each, uint32_t seats_max);
struct flow_work flow_write_work(uint32_t watches, uint32_t seats_max);

#endif
