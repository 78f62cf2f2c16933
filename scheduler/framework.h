/* framework.h - one scheduling decision: plugins filter and score the nodes of
 * a snapshot for one pod.
 *
 *   prefilter (once) -> filter (each node) -> score (each fitting node) -> best
 *
 * cycle_filter() and cycle_select() work everything out for one pod; classes.h
 * comes to the same decision for pods that are alike without working it all
 * out again, by the steps that are declared here too.
 *
 * Pure: no clock, no I/O; randomness for ties comes in as a seed. */
#ifndef SCHEDULER_FRAMEWORK_H
#define SCHEDULER_FRAMEWORK_H

#include "scheduler/profile.h"
#include "scheduler/queue.h"
#include "scheduler/refusals.h"
#include "scheduler/snapshot.h"

struct api_object;
struct api_str_entry;
struct arena;
struct core_v1_persistent_volume;
struct core_v1_pod;
struct cycle;
struct devices;
struct meta_v1_label_selector;
struct plugin;
struct pod_facts;
struct preemption_cache;

#define SCORE_MAX 100

/* Formats into the cycle's arena. */
void refusal_addf(struct cycle *c, struct refusal *r, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* What a plugin's filter and raw score depend on, beside the pod. */
enum plugin_scope {
    SCOPE_NODE,    /* The node and the pods on it. */
    SCOPE_CLUSTER, /* All nodes and pods: its state follows by `changed`. */
    SCOPE_OUTSIDE, /* Other objects: nothing of it is kept. */
};
#define PLUGIN_FILTERS 1u
#define PLUGIN_SCORES 2u

/* A plugin: any step may be NULL. Its state of a cycle is cycle->state[index]. */
struct plugin {
    const char *name;
    enum plugin_scope scope;
    uint32_t wakes; /* enum cluster_event: what may make a refused pod fit. */
    /* Makes the state. SKIP: filter need not be called. Refusal of the whole pod: UNFIT
     * or UNRESOLVABLE with reasons. */
    enum verdict (*prefilter)(struct cycle *c, struct refusal *r);
    /* SCOPE_CLUSTER: which of filter and score matter in the present state. */
    unsigned (*begin)(struct cycle *c);
    enum verdict (*filter)(struct cycle *c, const struct node_info *n, struct refusal *r);
    /* p came to n (add) or left it, in truth or on trial: adjusts the state. */
    void (*changed)(struct cycle *c, const struct node_info *n, const struct core_v1_pod *p,
                    bool add);
    /* SKIP: no score. Sees the fitting nodes (c->fitting) in SCOPE_CLUSTER only. */
    enum verdict (*prescore)(struct cycle *c);
    int64_t (*score)(struct cycle *c, const struct node_info *n);
    /* Brings raw scores to 0..SCORE_MAX. NULL: they are. Of SCOPE_NODE: raw scores
     * that are all 0 come out all the same. */
    void (*normalize)(struct cycle *c, int64_t *scores, size_t count);
    int64_t weight;
};

/* All plugins, in the order of their filters. */
extern const struct plugin *const scheduler_plugins[];
extern const size_t scheduler_plugin_count;

/* Times of a decision's steps, for one that is sampled: framework.c has no clock of its own.
 * points are upstream's: "PreFilter", "Filter", "Score". */
struct cycle_watch {
    uint64_t (*now_ns)(void);
    void (*plugin)(const struct cycle *c, const struct plugin *p, const char *point,
                   const char *status, uint64_t took_ns);
    /* All plugins of a point together. */
    void (*point)(const struct cycle *c, const char *point, bool fits, uint64_t took_ns);
    unsigned filters; /* Nodes that were filtered: of so many only one is timed. */
};
#define FILTERS_PER_TIMED 64u

struct cycle {
    struct cycle_watch *watch; /* NULL: not sampled. */
    struct arena *arena;       /* Of this decision: freed or cleared whole. */
    struct arena *state_arena; /* Of the plugins' state; may be the same. */
    struct snapshot *snapshot;
    const struct pod_info *pod;
    struct str self; /* The pod's uid, to tell it from guests; empty: any pod of its class. */
    const struct pod_facts *facts; /* What other objects say; never NULL. */
    const struct profile *profile; /* NULL until prepared: the default one. */
    /* percentageOfNodesToScore: stop once so many nodes fit, looking from the first
     * one on; visited says how many were looked at. 0: look at all. */
    size_t enough, first, visited;
    void *state[PLUGINS_MAX];
    unsigned current; /* Index of the plugin that runs. */
    bool skip_filter[PLUGINS_MAX];
    bool skip_score[PLUGINS_MAX];
    struct refusal pod_refusal; /* Verdict FIT: prefilter passed. */
    struct str failure; /* A plugin could not decide, and why: no node is looked at any more. */
    /* What deallocation of claims had to say, before preemption; NULL: nothing to do. */
    const char *claims_note;
    struct refusals refusals;
    const uint32_t *node_refusals; /* By index in snapshot.nodes: its index in refusals. */
    struct node_info **fitting;
    size_t fit_count;    /* Of fitting, once that is there. */
    uint32_t wakes;      /* Of all plugins that refused. */
    uint32_t refused_by; /* They, as bits. */
    bool by_node;        /* All of them are of SCOPE_NODE. */
    uint64_t alike;      /* Of the pod's class; 0: it has none. */
    uint64_t seed;
    unsigned cluster_steps; /* PLUGIN_* that any SCOPE_CLUSTER plugin does now. */
    /* Where it is kept for pods alike: see preemption.c; NULL to begin with. */
    struct preemption_cache *preemption_cache;
    bool kept; /* State outlives the decision: the cache is worth making. */
};
#define CYCLE_STATE(c, type) ((type *)(c)->state[(c)->current])

/* How many fitting nodes are enough, of so many; 0: all. As upstream, where a percentage
 * is given. */
size_t profile_enough(const struct profile *p, size_t nodes);
/* Runs prefilter and filter on all nodes, or until enough fit. */
void cycle_filter(struct cycle *c);
/* The best of the fitting nodes; NULL when none fits. Ties go by the seed. */
struct node_info *cycle_select(struct cycle *c);
static inline const struct refusal *cycle_refusal(const struct cycle *c, size_t node)
{
    return &c->refusals.items[c->node_refusals[node]];
}
/* Upstream's text. post: what preemption says; empty: nothing. */
struct str cycle_message(struct cycle *c, struct str post);

/* --- steps --- */
/* Prefilter of all plugins, into c->state. */
void cycle_prepare(struct cycle *c);
/* Asks SCOPE_CLUSTER plugins what matters; returns PLUGIN_* of all of them. */
unsigned cycle_begin(struct cycle *c);
#define SCOPES_ALL 7u
#define SCOPE_BIT(scope) (1u << (scope))
/* Filters of the scopes (SCOPE_BIT) for one node, with the guests on it that are at
 * least as important and, if it fits, without. The pod itself is no guest. */
enum verdict cycle_filter_node(struct cycle *c, struct node_info *n, unsigned scopes,
                               struct refusal *r);
/* Would the plugins of SCOPE_NODE let the pod onto the node? For a cycle of nothing but
 * arena, snapshot, pod, facts and profile. */
bool cycle_node_admits(struct cycle *c, struct node_info *n);
void cycle_pod_changed(struct cycle *c, const struct node_info *n, const struct core_v1_pod *p,
                       bool add);
/* Adds up the weighted scores of the scopes' plugins for c->fitting. */
void cycle_score(struct cycle *c, unsigned scopes, int64_t *totals);
/* An index below n. */
size_t cycle_random(struct cycle *c, size_t n);
/* Index of the highest; ties by the seed. */
size_t cycle_best(struct cycle *c, const int64_t *totals, size_t count);
/* Events that may help, by the refusals that were counted. */
void cycle_collect_wakes(struct cycle *c);

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
    struct api_object *(*csi_driver)(void *arg, struct str name);
    struct api_object *(*next_capacity)(void *arg, size_t *pos); /* With csi_driver. */
    struct api_object *(*next_volume)(void *arg, size_t *pos);   /* As informer_next(). */
    /* It was given to a pod a moment ago. */
    bool (*volume_taken)(void *arg, const struct core_v1_persistent_volume *v);
    /* What Services and the pod's controller select it by, all together, in the arena;
     * empty: nothing selects it. */
    void (*selector)(void *arg, struct arena *a, const struct core_v1_pod *pod,
                     struct meta_v1_label_selector *ret);
    struct devices *devices;        /* Of dynamic resources; NULL: there are none. */
    uint64_t (*wall_ns)(void *arg); /* Since 1970; NULL: nothing runs out. */
    /* Rise when answers of selector and of namespace_labels may have changed; NULL: never. */
    uint64_t (*selectors_rev)(void *arg);
    uint64_t (*namespaces_rev)(void *arg);
};

#endif
