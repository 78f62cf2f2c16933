/* forward.h - asks the node's resolvers for names that are not the cluster's.
 *
 * Loop-confined. Each attempt has a socket of its own - a fresh source port -
 * and a random id; equal questions share one attempt, which also ends loops: a
 * question that comes back waits for itself and then fails.
 *
 *   cache -> UDP, the resolvers in turn -> TCP when the answer was cut */
#ifndef KUBELET_DNS_FORWARD_H
#define KUBELET_DNS_FORWARD_H

#include "kubelet/dns/message.h"
#include "lib/base/list.h"

struct dns_forward;
struct env;
struct uv_loop_s;

/* Embedded by who waits. done is called once, never inside dns_forward_ask(); msg is borrowed,
 * NULL when nobody answered. */
struct dns_wait {
    struct list link;
    struct dns_forward *forward;
    void (*done)(struct dns_wait *w, const uint8_t *msg, size_t len);
};

#define DNS_RESOLVERS_MAX 3u

struct dns_forward *dns_forward_new(struct uv_loop_s *loop, struct env *env);
/* Addresses as resolv.conf has them; those in `without` are left out: they are ourselves. */
void dns_forward_set_resolvers(struct dns_forward *f, const char *const *addresses, size_t count,
                               const char *const *without, size_t without_count);

/* An answer that was kept, or NULL; borrowed until the loop runs on. */
const uint8_t *dns_forward_cached(struct dns_forward *f, const struct dns_query *q, size_t *ret_len,
                                  uint32_t *ret_age_s);
/* False: nobody to ask, or too much is under way; done is not called then. */
bool dns_forward_ask(struct dns_forward *f, const struct dns_query *q, struct dns_wait *w);
/* done will not be called. */
void dns_wait_cancel(struct dns_wait *w);

#endif
