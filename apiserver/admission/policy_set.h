/* policy_set.h - the policies, bindings and webhook configurations of the
 * cluster, decoded and compiled once.
 *
 * Each server thread has a cache that reads the store's events when it is asked
 * and makes a new set when some of its objects changed; what did not change is
 * shared between the old and the new one. Loop-confined, without locks.
 *
 *   write on a view -> policy_cache_get() -> events up to the view's revision
 *       -> the set as it is, or a new one
 *
 * A set is never older than the view that is asked about: what a policy says
 * counts for every write that begins after it was acknowledged. */
#ifndef APISERVER_ADMISSION_POLICY_SET_H
#define APISERVER_ADMISSION_POLICY_SET_H

#include "apiserver/admission/policy_env.h"
#include "apiserver/kinds/webhooks.h"

struct policy_cache;
struct server_thread;

/* A policy's expressions. The arrays are parallel to those of its spec. */
struct policy_code {
    struct policy_env *env;
    const struct policy_program *conditions;
    const struct policy_program *rules;    /* Validations or mutations. */
    const struct policy_program *messages; /* Of validations; without text: none. */
    const struct policy_program *notes;    /* Audit annotations. */
};

/* One webhook of a configuration. */
struct policy_hook {
    struct webhook_view view;
    struct str configuration; /* Its name. */
    struct policy_env *env;
    const struct policy_program *conditions;
};

/* One stored object; immutable. Private but for obj and code. */
struct policy_item {
    unsigned refs;
    struct arena *arena;
    struct str key;
    int64_t mod_rev;
    unsigned source;
    const void *obj;
    struct policy_code code;   /* Of policies. */
    struct policy_hook *hooks; /* Of webhook configurations. */
    size_t hook_count;
};

/* A policy that counts somewhere. */
struct policy_bound {
    const struct policy_item *policy;
    const struct policy_item *const *bindings;
    size_t binding_count;
};

struct policy_set {
    unsigned refs;
    struct arena *arena;
    struct policy_item **items; /* All, by source and name. */
    size_t item_count;
    struct policy_bound *validating, *mutating;
    size_t validating_count, mutating_count;
    const struct policy_hook **validating_hooks, **mutating_hooks;
    size_t validating_hook_count, mutating_hook_count;
};

/* On t's loop. */
struct policy_cache *policy_cache_new(struct server_thread *t);
void policy_cache_free(struct policy_cache *c); /* NULL is a no-op. */

/* For ctx's view; lives as long as ctx's arena. Without a cache the empty set. */
const struct policy_set *policy_set_of(const struct kind_ctx *ctx);

#endif
