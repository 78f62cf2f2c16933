/* user_namespaces.h - which user ids of the machine pods with `hostUsers: false` are given.
 *
 * Each gets a range of its own, equal for users and groups: of /etc/subuid and /etc/subgid for the
 * user "kubelet" if that user has one, else from 65536 on for --max-pods pods. A pod's range stands
 * in <root>/pods/<uid>/userns, as upstream has it, and is its own until it is gone.
 * Loop-confined but for the functions that say so. */
#ifndef KUBELET_USER_NAMESPACES_H
#define KUBELET_USER_NAMESPACES_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct error;
struct user_namespaces;

struct user_namespaces_config {
    const char *root_dir;
    const char *subuid, *subgid; /* Files. */
    int64_t max_pods;
    int64_t ids_per_pod; /* A multiple of 65536. */
};

/* Reads what pods have of earlier runs. Blocking, once at start. E_INVALID names the file. */
int user_namespaces_new(const struct user_namespaces_config *config, struct user_namespaces **ret,
                        struct error *err);
void user_namespaces_free(struct user_namespaces *u); /* NULL is a no-op. */

/* The first id of a pod's range, the same one each time. E_TOO_LARGE: all are taken. */
int user_namespaces_take(struct user_namespaces *u, const char *uid, uint32_t *ret,
                         struct error *err);
/* 0: it has none. */
uint32_t user_namespaces_of(const struct user_namespaces *u, const char *uid);
uint32_t user_namespaces_length(const struct user_namespaces *u); /* Ids of one range. */
void user_namespaces_release(struct user_namespaces *u, const char *uid);

/* Writes the file into the pod's folder. Blocking, on any thread. */
int user_namespaces_write(const char *pod_dir, uint32_t first, uint32_t length, struct error *err);

#endif
