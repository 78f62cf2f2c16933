/* hollow.h - what the parts of hollow_nodes share; see hollow_nodes.c. One thread. */
#ifndef BENCH_HOLLOW_H
#define BENCH_HOLLOW_H

#include "lib/base/map.h"
#include "lib/base/str.h"
#include "lib/client/client.h"
#include "test/bench/load_stats.h"

#include <uv.h>

#define SERVERS_MAX 8

/* Of a pod on a node: what was last told of it. */
enum stage { SEEN = 1, RUNNING, ENDING, GONE };

struct hollow_pod {
    struct node *node;
    struct str namespace_name, name, uid,
        containers; /* Behind the struct; containers: names, with commas. */
    enum stage stage;
    bool addressed;   /* Has its address from an agent before, which stays. */
    bool busy, again; /* again: others said that it does not run while it was told. */
    uint32_t address, epoch;
};

struct node {
    char name[64];
    size_t index;
    struct client *client;
    uv_timer_t lease_timer, status_timer, start_timer;
    char uid[48];
    bool lease_there, taken_over;
    size_t lease_version_len;
    char lease_version[24]; /* Empty: not known, and the next renewal names none. */
    struct map pods;        /* uid -> hollow_pod */
    uint32_t next_address,
        epoch; /* epoch: of the watch of pods, which each begins with all there are. */
};

struct verb_times {
    const char *name;
    struct load_times times;
    size_t failed;
};

enum verb { LEASE, STATUS, POD_STATUS, POD_DELETE, VERBS };

struct hollow {
    uv_loop_t *loop;
    const char *kubeconfigs[SERVERS_MAX];
    size_t server_count;
    struct node *nodes;
    size_t count, started, registered, pods, running, watch_ends, events;
    const char *prefix, *cpu, *memory, *capacity_pods;
    unsigned lease_s, status_s, rate;
    bool services;
    uint64_t begun_ns;
    uv_timer_t starter;
    uv_signal_t usr1, term, intr;
    struct verb_times verbs[VERBS];
    unsigned said;
};
extern struct hollow h;

/* A call that is timed; arg is handed to its done through this. */
struct timed {
    enum verb verb;
    uint64_t sent_ns;
    struct node *node;
    struct hollow_pod *pod;
    void (*then)(struct timed *t, const struct client_result *r);
};

/* Fills in done and arg of the call. then runs before *t is gone. */
void start_timed(struct node *n, struct hollow_pod *p, enum verb verb, struct client_call *call,
                 void (*then)(struct timed *, const struct client_result *));
/* What goes wrong is counted; the first ones are shown. */
void note_failure(const char *what, const char *name, const char *message);
const struct api_kind *core_kind(const char *kind);
struct str now_text(struct arena *a);

/* An event of the watch of this node's pods. */
void hollow_pod_event(struct node *n, const struct client_event *e);
/* All that there are have been told: the others went while nobody watched. */
void hollow_pods_sweep(struct node *n);

#endif
