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
#define LOCAL_BASE_PORT_MAX 65000

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

/* Fit to be made? E_USAGE names the flag of `up`. */
int local_check(const struct local *l, struct error *err);
/* DIR/cluster.json, and for a cluster of namespaces the same in its local_run_dir(): that goes with
 * the mounts, networks and cgroups at a restart of the machine, and tells whose they are until
 * then, also when DIR has been removed. */
int local_save(struct arena *a, const struct local *l, struct error *err);
int local_load(struct arena *a, const char *dir, struct local *ret, struct error *err);
/* Removes both: nothing of the cluster has been made. */
void local_forget(struct arena *a, const struct local *l);
/* The cluster of namespaces that has this base port. E_NOT_FOUND: none; E_CORRUPT. */
int local_of_port(struct arena *a, uint16_t base_port, struct local *ret);
/* The cluster of namespaces that was made in dir, be its files there or not. E_NOT_FOUND. */
int local_of_remains(struct arena *a, const char *dir, struct local *ret);
/* Of sockets and containerd's state, not kept over a restart of the machine. */
const char *local_run_dir(struct arena *a, uint16_t base_port);

/* Held by `up` and `down` while they are at work on a folder. A descriptor, or an error when
 * another holds it for longer than wait_ms; -1 may be unlocked. */
int local_lock(const char *dir, unsigned wait_ms, struct error *err);
void local_unlock(int lock);

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
 * another cluster would choose the same. A descriptor for local_unlock(), or an error. */
int local_net_lock(struct error *err);
/* Does an interface of this machine have an address that starts with "10.231.7."? */
bool local_net_subnet_taken(const char *subnet);
/* 10.231.N, where no cluster beside this one has its hosts. */
const char *local_net_free_subnet(struct arena *a, uint32_t base_port);
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
/* May this user end the host's programs? E_FORBIDDEN. */
int local_host_may_stop(struct arena *a, const struct local *l, uint32_t index, struct error *err);
/* sig SIGKILL: everything of the host at once, containers too, as when the
 * machine loses power. */
void local_host_stop(struct arena *a, const struct local *l, uint32_t index, int sig);
/* Unmounts and removes what a stopped host left behind. */
void local_host_clean(struct arena *a, const struct local *l, uint32_t index);

#endif
