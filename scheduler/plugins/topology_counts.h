/* topology_counts.h - how many pods of some sort are in each topology domain: a
 * domain is a label key and value that nodes share. */
#ifndef SCHEDULER_TOPOLOGY_COUNTS_H
#define SCHEDULER_TOPOLOGY_COUNTS_H

#include "lib/base/map.h"

struct arena;

struct topology_counts {
    struct map by_domain; /* -> count + COUNT_BIAS as a pointer-sized number */
};

/* Lives as long as the arena. */
struct topology_counts *topology_counts_new(struct arena *a);
/* group keeps terms apart that share a key. A domain with count 0 is known. */
void topology_counts_add(struct topology_counts *t, unsigned group, struct str key,
                         struct str value, int64_t delta);
int64_t topology_counts_get(const struct topology_counts *t, unsigned group, struct str key,
                            struct str value);
/* The smallest count and the number of the group's domains. */
int64_t topology_counts_min(const struct topology_counts *t, unsigned group, size_t *ret_domains);
/* Is any count above zero? */
bool topology_counts_any(const struct topology_counts *t);

#endif
