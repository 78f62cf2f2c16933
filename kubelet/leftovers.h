/* leftovers.h - what is on this machine of pods that nobody knows any more: folders, logs, cgroups.
 *
 * An agent that was killed, or a pod that was deleted by force while it was away, leaves such; the
 * runtime's part is pleg.h's. Each is taken over by a worker that removes every trace of it. */
#ifndef KUBELET_LEFTOVERS_H
#define KUBELET_LEFTOVERS_H

struct kubelet;

/* Looks, once all sources of pods have spoken; repeated calls are cheap. */
void leftovers_look(struct kubelet *k);

#endif
