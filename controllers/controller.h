/* controller.h - what a controller is, and what the manager gives it.
 *
 * A controller is one constant table in a file of its own: what it watches,
 * which keys a change touches, and how one key is reconciled. The manager runs
 * all of them on one loop with shared informers.
 *
 *   change -> watch.touch() -> queue -> reconcile() -> API calls -> done
 *                                ^------ failure: again, with backoff
 *
 * reconcile() is level-triggered: it compares what the caches show with what
 * is wanted, starts API calls and returns. The key is done when all its calls
 * are answered and no continuation is left; a failed call queues it again.
 * Loop-confined. */
#ifndef CONTROLLERS_CONTROLLER_H
#define CONTROLLERS_CONTROLLER_H

#include "lib/base/flags.h"
#include "lib/client/client.h"
#include "lib/client/event_recorder.h"
#include "lib/client/expectations.h"
#include "lib/client/informer.h"

struct api_str_entry;
struct arena;
struct controller;
struct env;
struct manager;
struct meta_v1_object_meta;
struct meta_v1_owner_reference;

/* One run of a controller, between winning and losing the lease. */
struct controller_run {
    const struct controller *controller;
    struct manager *manager;
    struct client *client;
    struct env *env;
    struct event_recorder *recorder;
    struct expectations *expectations;
    struct work_queue *queue;
    void *state; /* The controller's own; made by init, freed by done. */
};

/* A kind whose changes matter. The informer is shared by all controllers. */
struct controller_watch {
    const char *group, *version, *kind;
    /* Adds the keys that a change touches. old is NULL for an addition, o for a
     * deletion. NULL: the cache is wanted, its changes are not. */
    void (*touch)(struct controller_run *r, struct api_object *old, struct api_object *o);
};

struct reconcile;

struct controller {
    const char *name;                       /* "replicaset"; in logs, metrics and --controllers. */
    const char *event_source;               /* Component of its Events; NULL: name. */
    bool (*wanted)(void);                   /* By the program's flags; NULL: always. */
    unsigned workers;                       /* Keys in process at once; 0: 5. */
    const struct controller_watch *watches; /* Ended by an entry without kind. */
    /* NULL: none. init runs when the informers of the watches exist, before anything is touched. */
    void (*init)(struct controller_run *r);
    void (*done)(struct controller_run *r);
    void (*reconcile)(struct reconcile *c);
    /* Runs every tick_ms once the caches are filled; 0: never. */
    uint32_t tick_ms;
    uint32_t (*tick_period_ms)(void); /* In place of tick_ms, when a flag says it. */
    void (*tick)(struct controller_run *r);
};

/* All controllers, ended by NULL (controllers.c). */
extern const struct controller *const controller_table[];

/* --- queueing ------------------------------------------------------------------ */
void controller_enqueue(struct controller_run *r, struct str key);
void controller_enqueue_object(struct controller_run *r, const struct api_object *o);
void controller_enqueue_after(struct controller_run *r, struct str key, uint64_t delay_ms);
/* The controller owner of this kind, by its reference; touches nothing when
 * there is none. */
void controller_enqueue_owner(struct controller_run *r, const struct api_object *o,
                              const char *kind);

/* --- caches -------------------------------------------------------------------- */
/* The shared informer of a watched kind; it is a bug to ask for another. */
struct informer *controller_informer(struct controller_run *r, const char *group, const char *kind);
/* The same of a kind that others may watch; NULL: nobody does. */
struct informer *controller_find_informer(struct controller_run *r, const char *group,
                                          const char *kind);
/* Objects of a watched kind whose controller owner has this uid. */
struct api_object *const *controller_owned(struct controller_run *r, const char *group,
                                           const char *kind, struct str uid, size_t *ret_count);
/* Objects of a watched kind in a namespace. */
struct api_object *const *controller_in_namespace(struct controller_run *r, const char *group,
                                                  const char *kind, struct str namespace_name,
                                                  size_t *ret_count);
/* Pods of a namespace, for those who look at all of them once: see informer.h. Pods must be
 * watched. */
struct informer_walk controller_walk_pods(struct controller_run *r, struct str namespace_name);
/* The same by one of cache_indexes.h, or of the informer's own. */
struct informer_walk controller_walk_pods_by(struct controller_run *r, const char *index,
                                             struct str key);
/* Pods of a namespace that have one of the labels, the one that fewest have: all that have
 * all of them are among these. No labels: all of the namespace. Pods must be watched. */
struct api_object *const *controller_labelled_pods(struct controller_run *r,
                                                   struct str namespace_name,
                                                   const struct api_str_entry *labels,
                                                   size_t label_count, size_t *ret_count);
/* Pods of a namespace without a controller. Pods must be watched. */
struct api_object *const *controller_orphan_pods(struct controller_run *r,
                                                 struct str namespace_name, size_t *ret_count);

/* --- one reconciliation ---------------------------------------------------------- */
struct reconcile {
    struct controller_run *run;
    struct str key;            /* "namespace/name" or "name". */
    struct str namespace_name; /* Views into key. */
    struct str name;
    struct arena *arena; /* Freed when the key is done. */
    void *state;         /* For continuations. */
    /* Managed by the manager. */
    unsigned pending;
    bool failed;
    bool running;
    uint64_t again_ms;
    void (*then)(struct reconcile *c);
};

/* Starts a call. done (NULL: a failure fails the key) sees the answer first.
 * When it says nothing to the contrary, a failure counts as one, except that
 * NOT_FOUND of a DELETE is success. */
void reconcile_call(struct reconcile *c, const struct client_call *call,
                    void (*done)(struct reconcile *c, const struct client_result *result,
                                 void *arg),
                    void *arg);
/* The same for a GET of any path, with its query; the answer is JSON text in result.body. */
void reconcile_get(struct reconcile *c, struct str path,
                   void (*done)(struct reconcile *c, const struct client_result *result, void *arg),
                   void *arg);
/* And any method without a body. */
void reconcile_raw(struct reconcile *c, const char *method, struct str path,
                   void (*done)(struct reconcile *c, const struct client_result *result, void *arg),
                   void *arg);
/* Continues once every call so far is answered, whether or not one failed. */
void reconcile_then(struct reconcile *c, void (*then)(struct reconcile *c));
/* The key is to be tried again with backoff. */
void reconcile_fail(struct reconcile *c);
/* Looks at the key again after a delay even if nothing changes. */
void reconcile_again_after(struct reconcile *c, uint64_t delay_ms);

/* Ready-made calls. */
void reconcile_update_seen(
    struct reconcile *c, const struct api_kind *kind, const void *msg, const char *subresource,
    void (*done)(struct reconcile *c, const struct client_result *result, void *arg), void *arg);
void reconcile_update(struct reconcile *c, const struct api_kind *kind, const void *msg,
                      const char *subresource);
void reconcile_delete(struct reconcile *c, const struct api_kind *kind,
                      const struct meta_v1_object_meta *meta);

/* --- objects ------------------------------------------------------------------------ */
/* Fills ret as the controller reference to owner. */
void owner_reference_to(const struct api_kind *kind, const struct meta_v1_object_meta *owner,
                        struct meta_v1_owner_reference *ret);
/* A private copy of an object's message, in the reconciliation's arena. */
void *reconcile_copy(struct reconcile *c, const struct api_object *o);
int64_t controller_now_s(const struct controller_run *r); /* Wall clock. */

/* Flags of the program. */
struct manager_options {
    const char *cluster_cidr;
    const char *service_cidr;
    int64_t node_cidr_mask;                       /* 0: as the family has it. */
    int64_t node_cidr_mask_v4, node_cidr_mask_v6; /* 0: node_cidr_mask, of one range. */
    bool allocate_node_cidrs;
    const char *signing_cert_file, *signing_key_file;
    const char *root_ca_file;
    const char *service_account_key_file;
    int64_t node_monitor_grace_ns;
    int64_t node_monitor_period_ns;
    int64_t terminated_pod_threshold;
    int64_t node_startup_grace_ns;
    double node_eviction_rate;
    double secondary_node_eviction_rate;
    int64_t large_cluster_size_threshold;
    double unhealthy_zone_threshold;
    int64_t endpoints_per_slice_max;
    int64_t legacy_token_period_ns;
    int64_t hpa_sync_ns;
    int64_t hpa_cpu_initialization_ns;
    int64_t hpa_initial_readiness_ns;
    int64_t hpa_downscale_window_ns;
    double hpa_tolerance;
    int64_t vpa_sync_ns;
    int64_t vpa_min_replicas;
    double vpa_eviction_tolerance;
    struct flag_list feature_gates;
    bool cluster_trust_bundle, pod_certificate_request; /* Of them, what is heeded. */
};
const struct manager_options *controller_options(void);

#endif
