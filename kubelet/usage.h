/* usage.h - what a container, a pod and the machine use, read from cgroup
 * files and /proc. Blocking: for jobs.
 *
 * cgroup v2, and v1 with each controller on its own mount or hybrid. A file
 * that is not there leaves its values at 0 and its has_ flag unset. */
#ifndef KUBELET_USAGE_H
#define KUBELET_USAGE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;

#define USAGE_UNLIMITED UINT64_MAX

struct usage {
    int64_t time_ns; /* Wall clock, when it was read. */
    bool has_cpu, has_memory, has_swap, has_cfs, has_pids, has_io;
    uint64_t cpu_ns, cpu_user_ns, cpu_system_ns; /* Since it began. */
    uint64_t periods, throttled_periods, throttled_ns;
    uint64_t memory_bytes, working_set_bytes, rss_bytes, cache_bytes, mapped_bytes;
    uint64_t memory_limit_bytes; /* USAGE_UNLIMITED: none. */
    uint64_t page_faults, major_page_faults, memory_failures, oom_kills;
    uint64_t swap_bytes, swap_limit_bytes; /* The limit as above. */
    uint64_t processes;
    uint64_t read_bytes, written_bytes, reads, writes;
};

struct usage_interface {
    const char *name;
    uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
    uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};

/* Where cgroups are. root: "/sys/fs/cgroup". */
struct usage_root {
    const char *path; /* Borrowed. */
    bool v2;
};
struct usage_root usage_root_find(const char *path);

/* A cgroup by its path below the mounts ("/kubepods/poduid"; "" is the root).
 * Only CPU, memory and swap, unless all is asked for. */
void usage_read_group(const struct usage_root *r, const char *group, bool all, struct usage *ret);
/* The cgroup of a container, from the text of /proc/PID/cgroup of its first
 * process: cut behind the part that holds its id, since the process may have
 * gone deeper. NULL: it has none. Pure. */
const char *usage_group_of(struct arena *a, const struct usage_root *r, struct str proc_cgroup,
                           const char *container_id);

/* The whole machine. proc: "/proc". */
void usage_read_machine(const struct usage_root *r, const char *proc, struct usage *ret);

/* The text of /proc/PID/net/dev, without lo. Pure. */
struct usage_interface *usage_parse_net_dev(struct arena *a, struct str text, size_t *ret_count);
/* The interface of the default route in the text of /proc/net/route; NULL: none. Pure. */
const char *usage_default_interface(struct arena *a, struct str route_text);

/* Bytes and inodes of a tree, as du -x counts; links are counted once. Entries
 * beyond entries_max are left out. False: it is not there. */
bool usage_read_tree(const char *path, size_t entries_max, uint64_t *ret_bytes,
                     uint64_t *ret_inodes);

#endif
