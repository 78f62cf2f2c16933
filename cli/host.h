/* host.h - one machine of a cluster: its folders, ports and programs.
 *
 * `trireme init` and `trireme join` describe their host with this struct,
 * write one argument file per program (DIR/<program>.env, which the systemd
 * units in deploy/ read too) and start the programs. `trireme up` does the same
 * for hosts that are network namespaces on one machine.
 *
 *   DIR/host.json                 this struct
 *   DIR/pki/                      certificates and keys
 *   DIR/<program>.kubeconfig      how the program reaches the API
 *   DIR/<program>.env             its arguments */
#ifndef CLI_HOST_H
#define CLI_HOST_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct error;
struct flag_set;

enum supervisor {
    SUPERVISOR_SYSTEMD, /* systemctl enable --now */
    SUPERVISOR_FORK,    /* daemons with pid files in run_dir */
    SUPERVISOR_NONE,    /* write the files, start nothing */
};

struct host {
    const char *name;
    bool control_plane;
    bool worker;
    const char *dir;      /* Configuration. */
    const char *data_dir; /* The store's data. */
    const char *kubelet_dir;
    const char *run_dir; /* Pid files of SUPERVISOR_FORK. */
    const char *log_dir;
    const char *bin_dir; /* Where the programs are. */
    const char *address; /* Of this host, as the others reach it. */
    const char *node_ip; /* The node's addresses: one, or one of each family with a comma. */
    uint16_t port;       /* API server, 6443. */
    uint16_t peer_port;  /* Store members, 6444. */
    uint16_t scheduler_port;
    uint16_t controllers_port;
    uint16_t kubelet_port;        /* 10250. */
    const char *service_cidr;     /* A range, or one of each family with a comma. */
    const char *cluster_cidr;     /* Likewise. */
    const char *cluster_dns;      /* The tenth address of each Service range unless given. */
    const char *runtime_endpoint; /* containerd's socket: unix:///... */
    const char *pod_log_dir;
    const char *cni_conf_dir;
    const char *cgroup_root; /* NULL: the machine's root. */
    const char *extra_sans;  /* Comma list of further names and addresses of the API server. */
    bool no_scheduler;
    bool no_controllers;
    bool no_local_path;
    bool no_dns; /* init makes no StorageClass. */
    /* Further flags of the programs, separated by spaces; NULL: none. */
    const char *apiserver_args;
    const char *scheduler_args;
    const char *controllers_args;
    const char *kubelet_args;
    enum supervisor supervisor;
    const char *netns; /* SUPERVISOR_FORK: namespace file to start in, NULL for ours. Not saved. */
    /* The store's members at the time of init or join: "name=host:port,...". */
    const char *initial_cluster;
    bool join;
    uint64_t given; /* Which of the fields a flag has set, see host.c. Not saved. */
};

/* Sets every field to its default for a real machine. */
void host_defaults(struct host *h);
/* Adds the flags that describe a host (--name, --dir, --advertise-address,
 * ...) to a set; h and the set must live equally long. */
void host_register_flags(struct host *h, struct flag_set *flags);
/* Finds name and address of this machine where they were not given. */
int host_complete(struct arena *a, struct host *h, struct error *err);

/* Makes its folders' paths absolute. */
void host_absolute(struct arena *a, struct host *h);
/* After host_complete(), before anything is written: E_USAGE names the flag. It asks this machine
 * for the address, the ports, the programs and the supervisor, too. */
int host_validate(const struct host *h, struct error *err);
/* One folder, for a flag of that name. */
int host_check_folder(const char *flag, const char *path, struct error *err);

/* What the others are to be told with `join`: " --service-cidr X" and the like, where this host has
 * other than the defaults. */
const char *host_join_flags(struct arena *a, const struct host *h);

/* A path below h->dir, in the arena. */
const char *host_path(struct arena *a, const struct host *h, const char *leaf);
int host_make_dirs(const struct host *h, struct error *err);

/* "address:port" of its API server and of its store member, in brackets where IPv6 needs them. */
const char *host_endpoint(struct arena *a, const struct host *h);
const char *host_peer_endpoint(struct arena *a, const struct host *h);
/* "https://address:port" of its API server. */
const char *host_url(struct arena *a, const struct host *h);

/* The programs of this host in start order; NULL-terminated. */
const char *const *host_programs(struct arena *a, const struct host *h);
/* Writes <program>.env for all of them. */
int host_write_env(struct arena *a, const struct host *h, struct error *err);
/* Starts or stops them through the supervisor. stop: sig is for
 * SUPERVISOR_FORK. */
int host_start(struct arena *a, const struct host *h, struct error *err);
void host_stop(struct arena *a, const struct host *h, int sig);
/* SUPERVISOR_FORK: E_FORBIDDEN when a program that runs is another user's to end. */
int host_may_stop(struct arena *a, const struct host *h, struct error *err);
/* SUPERVISOR_FORK: E_CLOSED when a program that was started has ended, with the last that it
 * said; nobody would start it again. 0 with other supervisors. */
int host_check(struct arena *a, const struct host *h, struct error *err);
/* The last line of a program's log that starts with one of initials ("EW": errors and warnings;
 * NULL: any), in the arena; empty when there is none. */
struct str host_last_line(struct arena *a, const char *path, const char *initials);

int host_save(struct arena *a, const struct host *h, struct error *err);
int host_load(struct arena *a, const char *dir, struct host *ret, struct error *err);
/* A host that was set up in h->dir before: everything as saved there, but the supervisor and those
 * further flags that h gives; these are saved, and the argument files written anew when they
 * differ. E_USAGE: another flag was given that says something else than what the host was made
 * with. */
int host_resume(struct arena *a, struct host *h, struct error *err);

#endif
