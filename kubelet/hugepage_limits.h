/* hugepage_limits.h - how much of each size of huge pages a pod may have, and telling the kernel's
 * hugetlb controller. Source: upstream; a size that no limit names is none. */
#ifndef KUBELET_HUGEPAGE_LIMITS_H
#define KUBELET_HUGEPAGE_LIMITS_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core_v1_pod;

#define HUGEPAGE_LIMITS_MAX 8 /* Sizes; no kernel has as many. */

struct hugepage_limits {
    bool set; /* Else the cgroup is left as it is. */
    struct {
        int64_t page_bytes, bytes;
    } sizes[HUGEPAGE_LIMITS_MAX];
    size_t count;
};

/* Of all containers together, as limits of other resources add up: app containers and sidecars run
 * at once, init containers one after the other. The pod's own limits take precedence. Pure. */
void hugepage_limits_of_pod(const struct core_v1_pod *pod, struct hugepage_limits *ret);

/* "2MB", "1GB": how the controller calls a size. */
#define HUGEPAGE_NAME_MAX 32
void hugepage_size_name(int64_t page_bytes, char ret[HUGEPAGE_NAME_MAX]);

/* Writes each size's limit, of pages and of reservations, into the files of the controller that dir
 * has. Blocking. */
int hugepage_limits_write(const char *dir, bool v2, const struct hugepage_limits *l,
                          struct error *err);

#endif
