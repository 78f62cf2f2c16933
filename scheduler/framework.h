/* framework.h - one scheduling decision: plugins filter and score the nodes of
 * a snapshot for one pod.
 *
 *   prefilter (once) -> filter (each node) -> score (each fitting node) -> best
 *
 * Pure: no clock, no I/O; randomness for ties comes in as a seed. */
#ifndef SCHEDULER_FRAMEWORK_H
#define SCHEDULER_FRAMEWORK_H

#include "scheduler/queue.h"
#include "scheduler/snapshot.h"

struct api_object;
struct api_str_entry;
struct arena;
struct core_v1_persistent_volume;
struct cycle;
struct plugin;
struct pod_facts;

#define PLUGINS_MAX 24
#define REASONS_MAX 8
#define SCORE_MAX 100

enum verdict {
    FIT,
    SKIP,         /* Of prefilter: filter need not be called. */
    UNFIT,        /* Removing pods may help. */
    UNRESOLVABLE, /* Nothing that preemption could do helps. */
};

/* Why a node, or the pod as a whole, was refused. */
struct refusal {
    enum verdict verdict;
    const struct plugin *plugin;
    struct str reasons[REASONS_MAX]; /* In the cycle's arena, or static. */
    unsigned count;
};
void refusal_add(struct refusal *r, struct str reason);
/* Formats into the cycle's arena. */
void refusal_addf(struct cycle *c, struct refusal *r, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A plugin: any step may be NULL. Its state of a cycle is cycle->state[index]. */
struct plugin {
    const char *name;
    uint32_t wakes; /* enum cluster_event: what may make a refused pod fit. */
    /* Refusal of the whole pod: UNFIT or UNRESOLVABLE with reasons. */
    enum verdict (*prefilter)(struct cycle *c, struct refusal *r);
    enum verdict (*filter)(struct cycle *c, const struct node_info *n, struct refusal *r);
    /* Preemption tries a node without p (add: with it again): adjust the state. */
    void (*changed)(struct cycle *c, const struct node_info *n, const struct pod_info *p, bool add);
    enum verdict (*prescore)(struct cycle *c); /* SKIP: no score. */
    int64_t (*score)(struct cycle *c, const struct node_info *n);
    /* Brings raw scores to 0..SCORE_MAX. NULL: they are. */
    void (*normalize)(struct cycle *c, int64_t *scores, size_t count);
    int64_t weight;
};

/* All plugins, in the order of their filters. */
extern const struct plugin *const scheduler_plugins[];
extern const size_t scheduler_plugin_count;

struct cycle {
    struct arena *arena; /* Of the cycle: freed whole. */
    struct snapshot *snapshot;
    const struct pod_info *pod;
    const struct pod_facts *facts; /* What other objects say; never NULL. */
    void *state[PLUGINS_MAX];
    unsigned current; /* Index of the plugin that runs. */
    bool skip_filter[PLUGINS_MAX];
    bool skip_score[PLUGINS_MAX];
    struct refusal pod_refusal;    /* Verdict FIT: prefilter passed. */
    struct refusal *node_refusals; /* By index in snapshot.nodes; FIT: fits. */
    size_t fit_count;
    uint32_t wakes; /* Of all plugins that refused. */
    uint64_t seed;
};
#define CYCLE_STATE(c, type) ((type *)(c)->state[(c)->current])

/* Runs prefilter and filter on all nodes. */
void cycle_filter(struct cycle *c);
/* All filters for one node; for preemption's trials. */
enum verdict cycle_filter_node(struct cycle *c, const struct node_info *n, struct refusal *r);
void cycle_pod_changed(struct cycle *c, const struct node_info *n, const struct pod_info *p,
                       bool add);
/* The best of the fitting nodes; NULL when none fits. Ties go by the seed. */
struct node_info *cycle_select(struct cycle *c);
/* "0/3 nodes are available: 1 Insufficient cpu, ...": upstream's text.
 * post: what preemption says; empty: nothing. */
struct str cycle_message(struct cycle *c, struct str post);
/* The same for any set of refusals: "0/3 nodes are available: ...". */
struct str refusals_message(struct arena *a, size_t nodes, const struct refusal *refusals,
                            size_t count);

/* What plugins ask about objects other than pods and nodes. */
struct pod_facts {
    const struct api_str_entry *(*namespace_labels)(void *arg, struct str name, size_t *ret_count);
    /* A claim's volume and why it is not ready; see claims.h. */
    struct api_object *(*claim)(void *arg, struct str namespace_name, struct str name);
    struct api_object *(*volume)(void *arg, struct str name);
    struct api_object *(*storage_class)(void *arg, struct str name);
    void *arg;
    /* NULL: there are none. */
    struct api_object *(*csi_node)(void *arg, struct str name);
    struct api_object *(*next_volume)(void *arg, size_t *pos); /* As informer_next(). */
    /* It was given to a pod a moment ago. */
    bool (*volume_taken)(void *arg, const struct core_v1_persistent_volume *v);
};

#endif
