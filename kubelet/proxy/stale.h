/* stale.h - what goes on by old rules when a frontend's endpoints change.
 *
 * Datagrams have no end: a flow that the kernel tracks goes to its endpoint
 * for ever, also when that is gone, and one that began before there was any
 * endpoint is never translated. And clients that were led to an endpoint are
 * remembered by session affinity. Upstream ends such flows the same way. */
#ifndef KUBELET_PROXY_STALE_H
#define KUBELET_PROXY_STALE_H

#include "kubelet/proxy/elements.h"

struct error;

/* Frontends whose changes end something. */
struct stale {
    struct map frontends; /* Family and key; no values. */
};

void stale_init(struct stale *s);
void stale_done(struct stale *s);
/* An element that goes or comes. */
void stale_note(struct stale *s, const struct proxy_elements *t, const struct proxy_element *e);
/* The noted frontends with the endpoints that they have now; s is empty then. */
void stale_pack(struct stale *s, const struct proxy_elements *t, struct buf *out);
/* Ends flows and forgets clients of these frontends that lead to other endpoints. Blocks. */
int stale_clean(const char *table, struct str packed, struct error *err);

#endif
