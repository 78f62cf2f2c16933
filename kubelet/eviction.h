/* eviction.h - when this node has too little left, and which pod goes then.
 *
 * Pure: readings and the time in, thresholds that are met and conditions out; ranks, limits of
 * local storage and messages. Grammar, defaults, order and texts are upstream's. eviction_manager.h
 * reads and acts. */
#ifndef KUBELET_EVICTION_H
#define KUBELET_EVICTION_H

#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/base/str.h"

struct arena;
struct core_v1_pod;
struct usage_pod;

enum eviction_signal {
    EVICTION_MEMORY,      /* memory.available */
    EVICTION_ALLOCATABLE, /* allocatableMemory.available: what pods together may have */
    EVICTION_NODEFS,      /* nodefs.available: of the file system of --root-dir */
    EVICTION_NODEFS_INODES,
    EVICTION_IMAGEFS, /* imagefs.available: of the runtime's images and layers */
    EVICTION_IMAGEFS_INODES,
    EVICTION_CONTAINERFS,
    EVICTION_CONTAINERFS_INODES,
    EVICTION_PIDS, /* pid.available */
    EVICTION_SIGNALS,
};

enum eviction_condition {
    EVICTION_MEMORY_PRESSURE,
    EVICTION_DISK_PRESSURE,
    EVICTION_PID_PRESSURE,
    EVICTION_CONDITIONS,
};

const char *eviction_signal_name(enum eviction_signal s);       /* "memory.available" */
const char *eviction_resource_name(enum eviction_signal s);     /* "ephemeral-storage" */
const char *eviction_condition_name(enum eviction_condition c); /* "MemoryPressure" */

/* --- what was asked for --------------------------------------------------------------------- */

struct eviction_amount {
    bool is_share;
    double share; /* 0.1 of the capacity, */
    int64_t value;
};
int64_t eviction_amount_of(const struct eviction_amount *x, int64_t capacity);

struct eviction_threshold {
    enum eviction_signal signal;
    bool soft;
    struct eviction_amount amount;
    struct eviction_amount min_reclaim; /* Above the amount, once it was met. */
    uint64_t grace_ms;
    /* As of the last reading. */
    bool met;
    uint64_t since_ms;
};

#define EVICTION_THRESHOLDS_MAX ((size_t)EVICTION_SIGNALS * 2)

struct eviction_config {
    struct flag_list hard, soft;  /* signal<amount */
    struct flag_list soft_grace;  /* signal=duration */
    struct flag_list min_reclaim; /* signal=amount */
    /* The configuration file that a list was read from, so that errors name what is to be mended;
     * NULL: a flag or the default. Borrowed. */
    struct {
        const char *hard, *soft, *soft_grace, *min_reclaim;
    } file;
    int64_t max_pod_grace_s;
    int64_t transition_ns;
};
/* hard as upstream has it on Linux. */
extern const struct flag_list eviction_hard_default;

struct eviction {
    struct eviction_threshold thresholds[EVICTION_THRESHOLDS_MAX];
    size_t count;
    uint64_t transition_ms;
    bool observed[EVICTION_CONDITIONS];
    uint64_t observed_ms[EVICTION_CONDITIONS]; /* When a threshold of it was last met. */
    bool conditions[EVICTION_CONDITIONS];
};

/* E_INVALID: which flag, or file and field, and why. */
int eviction_init(struct eviction *e, const struct eviction_config *config, struct error *err);
/* What the hard threshold of a signal keeps back of a capacity. */
int64_t eviction_hard_amount(const struct eviction *e, enum eviction_signal s, int64_t capacity);

/* --- what was read ---------------------------------------------------------------------------- */

struct eviction_reading {
    bool known;
    int64_t available, capacity;
};

/* readings: by signal. Sets thresholds' met, and the conditions. */
void eviction_update(struct eviction *e, const struct eviction_reading *readings, uint64_t now_ms);
/* The threshold that calls for action now: met for as long as its grace says; memory goes first.
 * NULL: none. */
const struct eviction_threshold *eviction_due(const struct eviction *e, uint64_t now_ms);
/* May a pod be taken? False: *ret_message ("The node had condition: [MemoryPressure]. "). */
bool eviction_admits(const struct eviction *e, struct arena *a, const struct core_v1_pod *pod,
                     const char **ret_message);

/* --- who goes -----------------------------------------------------------------------------------
 */

struct eviction_pod {
    const struct core_v1_pod *pod;
    const struct usage_pod *use; /* NULL: not known; such a pod goes before others. */
};
/* own_imagefs: images and layers lie on another file system than volumes and logs. */
void eviction_rank(enum eviction_signal s, bool own_imagefs, struct eviction_pod *pods,
                   size_t count);
/* Static pods, mirror pods and those of priority 2000000000 and above stay. */
bool eviction_is_critical(const struct core_v1_pod *pod);
/* How long a pod gets that goes for this threshold, in seconds. */
int64_t eviction_grace_s(const struct eviction_threshold *t, const struct core_v1_pod *pod,
                         int64_t max_pod_grace_s);
const char *eviction_message(struct arena *a, const struct eviction_threshold *t,
                             const struct eviction_reading *reading, const struct eviction_pod *p);
/* The pod has limits of local storage at all: sizeLimit of an emptyDir, or ephemeral-storage. */
bool eviction_has_limits(const struct core_v1_pod *pod);
/* The message if it is above one of them; NULL: it is not. */
const char *eviction_over_limit(struct arena *a, const struct eviction_pod *p);

#endif
