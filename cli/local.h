/* local.h - a whole cluster on one machine: what `up`, `down` and `host` share.
 *
 * Loopback: every host is a folder, all on 127.0.0.1, told apart by ports.
 * Otherwise each host is a network namespace on a bridge, with an address, its
 * own containerd and the ports of a real machine:
 *
 *   this machine --- bridge trb<port> 10.231.N.1
 *                       |-- cp-1      10.231.N.11
 *                       |-- cp-2      10.231.N.12 ...
 *                       '-- worker-1  10.231.N.101 ...
 *
 * N is the base port modulo 250 unless --host-subnet says otherwise. With --ip-family dual hosts
 * have addresses of IPv6, too, made of the same numbers: fd00:10:231:N::11; with ipv6, these alone.
 */
#ifndef CLI_LOCAL_H
#define CLI_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct error;
struct host;

#define LOCAL_CONTROL_PLANES_MAX 7
#define LOCAL_WORKERS_MAX 64

struct local {
    const char *dir; /* Absolute. */
    uint32_t control_planes;
    uint32_t workers;
    uint16_t base_port;
    bool loopback;
    bool no_scheduler;
    bool no_controllers;
    const char *apiserver_args; /* As in struct host; NULL: none. */
    const char *scheduler_args;
    const char *controllers_args;
    const char *kubelet_args;
    const char *subnet;    /* "10.231.7": the first three numbers. */
    const char *ip_family; /* "ipv4", "ipv6" or "dual". */
    const char *bin_dir;   /* Where the programs are. */
};

int local_save(struct arena *a, const struct local *l, struct error *err);
int local_load(struct arena *a, const char *dir, struct local *ret, struct error *err);

/* Has the cluster that family? */
bool local_v4(const struct local *l);
bool local_v6(const struct local *l);
/* "fd00:10:231:7": the first half of the hosts' addresses of IPv6. */
const char *local_subnet6(struct arena *a, const struct local *l);
/* The host's last number in both families. */
uint32_t local_number(const struct local *l, uint32_t index);
/* Index counts control planes first, then workers. */
uint32_t local_host_count(const struct local *l);
void local_host(struct arena *a, const struct local *l, uint32_t index, struct host *ret);
/* -1 when there is no host of that name. */
int local_host_index(const struct local *l, const char *name);

/* Network namespaces (nothing to do with loopback). */
const char *local_netns(struct arena *a, const struct local *l, const char *host); /* Its name. */
const char *local_netns_path(struct arena *a, const struct local *l,
                             const char *host); /* Its file. */
/* Held while a cluster chooses its subnet and makes its bridge: until the bridge has its address
 * another cluster would choose the same. A descriptor, or an error; -1 may be unlocked. */
int local_net_lock(struct error *err);
void local_net_unlock(int lock);
bool local_net_exists(struct arena *a, const struct local *l); /* Its bridge. */
int local_net_create(struct arena *a, const struct local *l, struct error *err);
int local_net_add_host(struct arena *a, const struct local *l, uint32_t index, struct error *err);
int local_net_link(struct arena *a, const struct local *l, uint32_t index, bool up,
                   struct error *err);
void local_net_destroy(struct arena *a, const struct local *l);

/* containerd of a worker: started, images imported; stopped with its pods. */
int local_runtime_start(struct arena *a, const struct local *l, uint32_t index, struct error *err);
int local_images_build(struct arena *a, const struct local *l, struct error *err);
int local_images_import(struct arena *a, const struct local *l, uint32_t index, struct error *err);
/* sig SIGKILL: everything of the host at once, containers too, as when the
 * machine loses power. */
void local_host_stop(struct arena *a, const struct local *l, uint32_t index, int sig);
/* Unmounts and removes what a stopped worker left behind. */
void local_host_clean(struct arena *a, const struct local *l, uint32_t index);

#endif
