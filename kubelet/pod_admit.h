/* pod_admit.h - takes new pods or refuses them, when it can be known what those before them hold.
 *
 *   new -> taken
 *       -> refused: it fails, with a reason
 *       -> waits: its worker does nothing
 *
 * A pod waits while this agent has not seen yet what earlier ones left on the machine, and while it
 * would be refused but a pod that nobody wants any more has not ended: deleted by force, or while
 * no agent ran, it is gone from the API, where its place has been given to others already, and
 * still here. (Upstream refuses then, and the pod fails.) Loop-confined. */
#ifndef KUBELET_POD_ADMIT_H
#define KUBELET_POD_ADMIT_H

struct kubelet;
struct pod_worker;

void pod_admit(struct kubelet *k, struct pod_worker *w);
/* What is left of unwanted pods has workers now, or is forgotten. */
void pod_admit_settled(struct kubelet *k);
/* A pod has ended: those that wait are looked at again, older ones first. */
void pod_admit_waiting(struct kubelet *k);

#endif
