/* pleg.h - looks at the whole runtime from time to time: finds ends that no
 * pidfd showed, and pods that run here but belong to nobody.
 *
 * Every second while some container's end can be noticed in no other way,
 * else only now and then. */
#ifndef KUBELET_PLEG_H
#define KUBELET_PLEG_H

struct kubelet;
struct pleg;

struct pleg *pleg_start(struct kubelet *k);
void pleg_stop(struct pleg *p);
/* Look now: sources have become ready, say. */
void pleg_poke(struct pleg *p);
/* The last look succeeded, not long ago. */
_Bool pleg_is_healthy(const struct pleg *p);

#endif
