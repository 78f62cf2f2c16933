/* pod_worker.h - one pod on this node, from first sight to the last trace.
 *
 * Loop-confined. A worker does one thing at a time: it observes the runtime,
 * asks pod_machine.h what is next, does that, and observes again. Whatever
 * changes outside (spec, runtime, probes, time) only kicks it. */
#ifndef KUBELET_POD_WORKER_H
#define KUBELET_POD_WORKER_H

#include "kubelet/kubelet.h"
#include "kubelet/runtime_state.h"

struct core_v1_pod;
struct core_v1_pod_status;
struct pod_worker;

struct pod_worker *pod_worker_new(struct kubelet *k, struct api_object *pod,
                                  enum pod_origin origin);
/* A pod that only the runtime knows: it is stopped and removed. */
struct pod_worker *pod_worker_new_orphan(struct kubelet *k, const char *uid, const char *name,
                                         const char *namespace_name);
void pod_worker_set(struct pod_worker *w, struct api_object *pod);
/* Nobody wants it any more: stop it, remove every trace, free the worker. */
void pod_worker_gone(struct pod_worker *w);
/* The runtime says something has changed. */
void pod_worker_observe(struct pod_worker *w);
/* Fails the pod for good: it is stopped. reason and message are copied. */
void pod_worker_fail(struct pod_worker *w, const char *reason, const char *message);
/* Fails the pod because of what it uses: reason Evicted, condition DisruptionTarget. What it left
 * in the runtime goes, too, its status stays. */
void pod_worker_evict(struct pod_worker *w, int64_t grace_s, const char *message);
/* Fails it because the node goes down: reason Terminated. One that is ending ends within grace_s.
 */
void pod_worker_terminate(struct pod_worker *w, int64_t grace_s);
bool pod_worker_is_told(const struct pod_worker *w); /* The API knows its newest status. */
/* It is one of this node's and nothing ends it yet. */
bool pod_worker_can_be_evicted(const struct pod_worker *w);
bool pod_worker_is_clean(const struct pod_worker *w); /* Stopped, and nothing is left of it. */
/* The node is short of disk: what the runtime still holds of a pod that has ended goes, logs with
 * it. True: there was something, and pod_worker_is_reclaiming() until it has gone. */
bool pod_worker_reclaim(struct pod_worker *w);
bool pod_worker_is_reclaiming(const struct pod_worker *w);
/* The same for a pod that this node does not take: nothing of it is ever started. */
void pod_worker_reject(struct pod_worker *w, const char *reason, const char *message);
/* It does nothing until it is known whether it is taken (pod_admit.h), unless it is to end. */
void pod_worker_await_admission(struct pod_worker *w, bool awaits);
bool pod_worker_awaits_admission(const struct pod_worker *w);
/* It was taken, and not everything of it has gone yet: resources and ports are its own. */
bool pod_worker_holds(const struct pod_worker *w);
/* There may be room now for the amounts that it asks for. */
void pod_worker_room(struct pod_worker *w);

const char *pod_worker_uid(const struct pod_worker *w);
const struct core_v1_pod *pod_worker_pod(const struct pod_worker *w); /* NULL: orphan. */
struct api_object *pod_worker_object(const struct pod_worker *w);     /* Borrowed; NULL: orphan. */
const struct rt_pod *pod_worker_runtime(const struct pod_worker *w);  /* May be NULL. */
const struct core_v1_pod_status *pod_worker_status(const struct pod_worker *w); /* May be NULL. */
/* It looks anew what is to be done, without asking the runtime. */
void pod_worker_kick(struct pod_worker *w);
/* worker: a ConfigMap or Secret that it was given is another now, or came, or went. */
void pod_worker_object_changed(void *worker);
/* What it waited for on this node may be there now. */
void pod_worker_try_again(struct pod_worker *w);
/* One of its volumes is, or is in, this folder of the host. */
/* NULL: they are not there. Borrowed until the loop goes on. */
struct volume_set;
const struct volume_set *pod_worker_volumes(const struct pod_worker *w);
bool pod_worker_mounts(const struct pod_worker *w, const char *path);
/* One of its containers or volumes has, or had, the image of this id. */
bool pod_worker_uses_image(const struct pod_worker *w, const char *id);
/* Exits of some container can be noticed only by asking: no pid to watch. */
bool pod_worker_needs_polling(const struct pod_worker *w);
bool pod_worker_is_finished(const struct pod_worker *w);
enum pod_origin pod_worker_origin(const struct pod_worker *w);
bool pod_worker_is_gone(const struct pod_worker *w);
/* The API's mirror of this static pod has changed: it must show our status. */
void pod_worker_mirror_changed(struct pod_worker *w);
/* Program end: frees without touching what runs. */
void pod_worker_abandon(struct pod_worker *w);

#endif
