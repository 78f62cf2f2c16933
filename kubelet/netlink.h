/* netlink.h - asks the kernel over netlink, and waits for its answer.
 *
 * Blocks for as long as the kernel works (it answers within the call or not
 * at all): call from a job (job.h), or on the loop where the answer is known to
 * be small.
 *
 * A call has a socket to itself. Those of NETLINK_NETFILTER are kept for later calls, whatever
 * thread makes them: to close one right after a change of nftables takes 10 to 15 ms, since the
 * kernel first waits for what the change has freed. They belong to the network namespace of the
 * process. */
#ifndef KUBELET_NETLINK_H
#define KUBELET_NETLINK_H

#include "lib/base/error.h"
#include "lib/base/str.h"

/* As linux/netlink.h has them, in size_t. */
#define NETLINK_ATTR_HEADER sizeof(struct nlattr)
#define NETLINK_ALIGN(n) (((size_t)(n) + 3u) & ~(size_t)3u)
#define NETLINK_ATTR_TYPE(t) ((uint16_t)((t)&0x3fffu))

struct nft_element;
struct nft_set_name;

/* Sends messages whose last but one asks for an answer (nft_batch_end()): all of them hold or none.
 * E_NOT_FOUND: the table, the set or an element is gone. */
int netlink_nft_commit(struct str batch, struct error *err);
/* Calls each() for every element. E_NOT_FOUND: there is no such set. */
int netlink_nft_dump(const struct nft_set_name *set,
                     void (*each)(const struct nft_element *e, void *arg), void *arg,
                     struct error *err);
/* The number of the current ruleset, which every change of anybody's raises. */
int netlink_nft_generation(uint32_t *ret, struct error *err);
/* A table's handle, which no other table gets, and how many chains, sets and maps it has.
 * E_NOT_FOUND: there is none. */
int netlink_nft_table(uint8_t family, const char *table, uint64_t *ret_handle, uint32_t *ret_use,
                      struct error *err);

/* How many rules there are in all chains of a table, and verdicts that lead to them. */
int netlink_nft_rules(uint8_t family, const char *table, uint64_t *ret, struct error *err);

/* Calls each() for every table. */
int netlink_nft_tables(void (*each)(uint8_t family, const char *table, void *arg), void *arg,
                       struct error *err);

/* Sends request, a message of protocol (NETLINK_NETFILTER), and calls each() for every answer: its
 * type and what stands behind its header. Returns at the last one. */
int netlink_ask(int protocol, struct str request,
                void (*each)(uint16_t type, struct str payload, void *arg), void *arg,
                struct error *err);

/* The value of the first attribute of this type behind the `skip` first bytes; empty: none. */
struct str netlink_attr(struct str payload, size_t skip, uint16_t type);

#endif
