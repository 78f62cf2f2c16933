/* figures.h - what one node said of its use, and the rates that follow from it
 * and from what it said before. Pure.
 *
 * The rules are metrics-server's: a rate needs two samples of one life of a
 * container; one that is between 10 s and the scraping period old is measured from
 * its start; a pod counts once all of its containers have rates. */
#ifndef APISERVER_FIGURES_FIGURES_H
#define APISERVER_FIGURES_FIGURES_H

#include "lib/base/base.h"
#include "lib/base/str.h"

#include <stdatomic.h>

struct arena;

struct figure {
    int64_t time_ms, start_ms; /* Of the sample, and of the container (0: not told). */
    uint64_t cpu_ns;           /* Since the start. */
    uint64_t memory_bytes;
    int64_t window_ms; /* 0: there is no rate yet. */
    bool broken;       /* There was one, but the counter went back. */
    uint64_t nano_cores;
};

struct figure_container {
    struct str name;
    struct figure f;
};

struct figure_pod {
    struct str ns, name;
    struct figure_container *containers;
    size_t count;
    bool shown; /* All containers have rates. */
};

/* Immutable once made; counted. */
struct figures {
    atomic_uint refs;
    struct arena *arena;
    bool has_node;
    struct figure node;
    struct figure_pod *pods; /* By namespace and name. */
    size_t count;
};

#define FIGURES_TEXT_MAX (16u << 20)
#define FIGURES_CONTAINERS_MAX 20000u

/* text: a page /metrics/resource, received at that time. before: from the last one; NULL: there was
 * none. Lines that say nothing known are passed over. The result has one reference. */
struct figures *figures_parse(struct str text, int64_t received_ms, int64_t period_ms,
                              const struct figures *before);
struct figures *figures_ref(struct figures *f);
void figures_unref(struct figures *f); /* NULL is a no-op. */

const struct figure_pod *figures_find(const struct figures *f, struct str ns, struct str name);

#endif
