/* usage_measure.h - fills a view of usage_view.h: cgroups, /proc, folders.
 * Blocking; one thread at a time. */
#ifndef KUBELET_USAGE_MEASURE_H
#define KUBELET_USAGE_MEASURE_H

#include "kubelet/usage.h"
#include "lib/base/map.h"

struct usage_view;

struct usage_measure {
    struct usage_root root;
    const char *root_dir;   /* --root-dir, borrowed. */
    const char *pods_group; /* The cgroup of all pods, borrowed; NULL: there is none. */
    struct map folders;     /* Path -> what it held when it was last walked. */
};

void usage_measure_init(struct usage_measure *m, const char *root_dir, const char *pods_group);
void usage_measure_view(struct usage_measure *m, struct usage_view *v);

#endif
