/* machine.h - what this machine is: name, addresses, sizes, identities.
 * Blocking; read at start, and again when a node's status is made. */
#ifndef KUBELET_MACHINE_H
#define KUBELET_MACHINE_H

#include "lib/base/error.h"

struct arena;

struct machine {
    const char *hostname; /* Lower case. */
    const char *ips[2];   /* The node's addresses, at most one of each family: the first is the one
                             that counts. */
    size_t ip_count;
    int64_t cpus;
    int64_t memory_bytes;
    const char *machine_id, *system_uuid, *boot_id;
    const char *kernel_version, *os_image;
    const char *architecture; /* As Go names it: amd64, arm64, ... */
    struct {
        int64_t size_bytes;
        int64_t count;
    } hugepages[8];
    size_t hugepage_count;
};

/* node_ip: --node-ip, or NULL to find out. */
int machine_read(struct arena *a, const char *node_ip, struct machine *ret, struct error *err);

struct machine_usage {
    int64_t memory_available_bytes;
    int64_t disk_total_bytes, disk_available_bytes;
    int64_t inodes_total, inodes_free;
    int64_t pids_max, pids_used;
};
/* path: a file system whose room counts: --root-dir. */
void machine_usage(const char *path, struct machine_usage *ret);

#endif
