/* keeper.h - keeps one nftables table true for the pods of this node: network
 * policies and isolation have one each.
 *
 * Loop-confined. The owner watches what its rules depend on and computes them;
 * the keeper knows the pods and their addresses, gathers changes, loads what
 * differs, and tells which pods' containers may start.
 *
 *   pod workers, owner's informers -> compute() (pure) -> what differs -> nft
 *                                                      -> pods that are held -> guard.h
 *
 * Rules stay when the API server is away and when we end, and are replaced only
 * when all pods of the node are known again. What somebody else has removed is
 * made anew within seconds (watchdog.h). */
#ifndef KUBELET_POLICY_KEEPER_H
#define KUBELET_POLICY_KEEPER_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_object;
struct api_str_entry;
struct core_v1_pod;
struct informer;
struct informer_handler;
struct kubelet;
struct policy_keeper;
struct policy_state;
struct policy_table;
struct rt_sandbox;

/* A pod of this node, with the addresses that the runtime gave it. */
struct policy_local {
    const struct core_v1_pod *pod;
    const char *const *ips;
    size_t ip_count;
    bool selected; /* Out: rules concern it. */
    bool held;     /* Out: and refuse it something, so that its port is guarded (guard.h). */
};

struct policy_keeper_config {
    const char *what; /* "network policies": for the log. */
    const struct policy_table *table;
    /* All that compute() reads is there. */
    bool (*is_synced)(void *owner);
    /* No rule can concern this pod: nothing is waited for. Asked once synced. */
    bool (*is_free)(void *owner, const struct core_v1_pod *pod);
    /* What is to stand; NULL: more has to be asked for first, and keeper_changed() follows. */
    struct policy_state *(*compute)(void *owner, struct policy_local *locals, size_t count);
    /* May be NULL. Borrowed until the next call; NULL: there is no table. */
    void (*on_loaded)(void *owner, const struct policy_state *state);
    void *owner;
};

struct policy_keeper *keeper_new(struct kubelet *k, const struct policy_keeper_config *config);
/* Secret, for names: nobody can make two meet. */
const uint64_t *keeper_seed(const struct policy_keeper *p);
/* What is computed may have changed: it is looked at soon. */
void keeper_changed(struct policy_keeper *p);
/* What stands in the kernel; NULL: unknown, or no table. */
const struct policy_state *keeper_state(const struct policy_keeper *p);

/* A pod's worker tells what it sees: the pod, NULL for one that only the runtime knows, and its
 * sandbox, NULL when it has none that is usable. True when its containers may start; otherwise its
 * worker is kicked once they may. */
bool keeper_pod_seen(struct policy_keeper *p, const char *uid, struct api_object *pod,
                     const struct rt_sandbox *sandbox);
/* Nothing is left of the pod. */
void keeper_pod_gone(struct policy_keeper *p, const char *uid);

/* Removes what an earlier run has left. */
void keeper_withdraw(struct kubelet *k, const char *what, const struct policy_table *table);

/* --- what owners share ----------------------------------------------------------------- */

/* Watches all objects of a kind that these select (empty: all); a kind that may not be read counts
 * as one without objects. */
struct keeper_kind {
    const char *api_version, *kind;
    const char *label_selector, *field_selector; /* NULL: none. */
    void (*trim)(struct api_object *o);
    size_t compact_bytes; /* As in informer.h. */
};
struct informer *keeper_watch(struct kubelet *k, const struct keeper_kind *kind,
                              const struct informer_handler *handler);
/* Of a Namespace labels alone count. */
void keeper_namespace_updated(struct policy_keeper *p, const struct api_object *old,
                              const struct api_object *o);
/* Keeps of a Namespace what names and selects it. */
void keeper_trim_namespace(struct api_object *o);
#define KEEPER_NAMESPACE_BYTES 512
bool keeper_same_labels(const struct api_str_entry *a, size_t a_count,
                        const struct api_str_entry *b, size_t b_count);

#endif
