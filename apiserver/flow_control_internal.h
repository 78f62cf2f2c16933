/* flow_control_internal.h - what the flow_*.c files share. */
#ifndef APISERVER_FLOW_CONTROL_INTERNAL_H
#define APISERVER_FLOW_CONTROL_INTERNAL_H

#include "apiserver/flow_control.h"
#include "apiserver/flow_estimate.h"
#include "apiserver/flow_set.h"
#include "apiserver/flow_share.h"
#include "lib/base/heap.h"
#include "lib/base/mailbox.h"
#include "lib/base/map.h"
#include "lib/base/str.h"

#include <pthread.h>
#include <stdatomic.h>

struct arena;
struct flowcontrol_v1_flow_schema_spec;
struct metric;

/* Metrics of a schema in a level that are observed as they happen; NULL until the first time. */
enum flow_histogram {
    FLOW_WAITED_TRUE,
    FLOW_WAITED_FALSE,
    FLOW_RAN_REGULAR,
    FLOW_RAN_WATCH,
    FLOW_SEATS,
    FLOW_QUEUE_LENGTH,
    FLOW_WATCH_COUNT,
    FLOW_HISTOGRAMS
};

/* What is counted for one schema in one level. refs is guarded by the level's lock; the
 * configurations and requests that name it hold it, it holds the level. */
struct flow_schema_state {
    struct flow_counts counts, shown; /* shown: as the metrics have it. */
    struct flow_level *level;
    char *name;
    uint32_t refs;
    _Atomic(struct metric *) histograms[FLOW_HISTOGRAMS];
};

struct flow_level {
    atomic_uint refs; /* Of configurations and schema states. */
    char *name;
    bool exempt;
    atomic_uint seats_max; /* That one request is thought to need; 0: no limit. */
    pthread_mutex_t lock;
    struct flow_set set;
    struct flow_retry retry;
    struct map states;     /* Schema name -> struct flow_schema_state */
    uint64_t epochs_shown; /* In the metrics. */
    /* The main thread's. */
    struct flow_share share;
    struct flow_set_config config;
    atomic_bool quiescing; /* No object any more; goes when it is empty. Set by the main thread. */
};

/* A FlowSchema in use. */
struct flow_schema {
    struct str name, uid, level_uid;
    const struct flowcontrol_v1_flow_schema_spec *spec;
    struct flow_level *level;
    struct flow_schema_state *state;
    uint64_t hash; /* Of its name, into the seeds of its flows. */
};

/* Immutable once in use. */
struct flow_config {
    atomic_uint refs;
    struct arena *arena;
    struct flow_schema *schemas; /* In order of matching. */
    size_t schema_count;
    const struct flow_schema *fallback; /* catch-all. */
    struct flow_level **levels;         /* By name; those that only drain among them. */
    size_t level_count;
};

/* Reads and writes, waiting and executing, whatever their level. */
struct flow_mix {
    pthread_mutex_t lock;
    uint64_t last_ns;
    int32_t now[2][2]; /* [waiting, executing][reads, writes] */
    struct flow_timing ratio[2][2];
};

struct flow_control {
    struct apiserver *server;
    int32_t total_seats;
    uint64_t seed[2];
    pthread_mutex_t lock;       /* Of config; a lock of a level may be taken inside. */
    struct flow_config *config; /* The newest. */
    atomic_uint version;        /* Its number. */
    int64_t nominal_sum;        /* The main thread's. */
    _Atomic double fair_fraction;
    atomic_size_t waiting_bytes; /* Bodies of requests that wait. */
    struct flow_mix mix;
    struct flow_watches watches;
};

/* Something that is due on a thread. */
struct flow_due {
    struct heap_node node;
    uint64_t at_ms;
    void (*run)(struct flow_due *d);
};

struct flow_thread {
    struct server_thread *thread;
    struct flow_control *control;
    struct flow_config *config; /* As of version. */
    unsigned version;
    struct heap due;
    uv_timer_t timer;
    struct flow_stats_table stats;
};

/* In the request's arena. */
struct flow_request {
    struct flow_ticket ticket;
    struct flow_due due;
    struct mail mail;
    struct req *req;
    struct flow_schema_state *state; /* Referenced while the ticket is in the set. */
    struct str distinguisher;
    void (*next)(struct req *r);
    size_t body_bytes; /* Counted in waiting_bytes. */
    bool exempt, held; /* held: in the set. */
    bool watched;      /* Counted in watches. */
};

/* flow_config.c */
struct flow_config *flow_config_ref(struct flow_config *c);
void flow_config_unref(struct flow_config *c);
void flow_config_replace(struct flow_control *fc, struct flow_config *c); /* Takes c. */
struct flow_level *flow_level_new(struct str name, uint64_t now_ns);
void flow_level_unref(struct flow_level *l);
/* Level locked: drops a reference; true: the caller calls flow_state_free() once unlocked. */
bool flow_state_drop(struct flow_schema_state *s);
void flow_state_free(struct flow_schema_state *s);
/* Mails what may run now. */
void flow_hand_out(struct list *out);

/* flow_metrics.c */
void flow_metrics_init(struct flow_control *fc);
void flow_metrics_observe(struct flow_schema_state *s, enum flow_histogram which, double v);
void flow_metrics_state(struct flow_schema_state *s); /* Level locked: brings its metrics up. */
void flow_metrics_adjusted(const struct flow_level *l);
enum { FLOW_MIX_WAITING, FLOW_MIX_EXECUTING };
void flow_mix_add(struct flow_mix *m, int phase, bool writes, int delta);
void flow_mix_limits(struct flow_mix *m, double waiting, double executing);

#endif
