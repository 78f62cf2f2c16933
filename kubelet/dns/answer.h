/* answer.h - what the cluster's zone answers to a query.
 *
 * Pure: a query and the zone in, a message out - or the word that somebody
 * else has to be asked. Names and records are those of the Kubernetes DNS
 * specification 1.1.0, and beyond it what CoreDNS answers, too: SRV of a
 * Service's own name and the names of a Service's endpoints. */
#ifndef KUBELET_DNS_ANSWER_H
#define KUBELET_DNS_ANSWER_H

#include "kubelet/dns/message.h"

struct zone;

#define DNS_TTL_S 5u /* Of all records of the zone, and of its refusals. */

enum dns_outcome {
    DNS_ANSWERED, /* The writer holds the message but for its end. */
    DNS_FORWARD,  /* Not ours: ask upstream for the query's own name. */
    DNS_FOLLOW    /* The writer holds a CNAME that leads out: ask for the target. */
};

struct dns_answer {
    enum dns_outcome outcome;
    int rcode;
    struct dns_name target; /* DNS_FOLLOW. */
    bool ours;              /* The name is in the cluster's zone. */
};

/* spin: any number; turns the order of equal records. */
void dns_answer(const struct zone *z, const struct dns_query *q, uint32_t spin,
                struct dns_writer *w, struct dns_answer *ret);

/* Appends what upstream said, age_s seconds ago: all of it (DNS_FORWARD), or the
 * answers alone behind a CNAME (DNS_FOLLOW). False, and nothing useful in w, when it is damaged. */
bool dns_answer_reply(struct dns_writer *w, const uint8_t *msg, size_t len, uint32_t age_s,
                      bool answers_only, int *ret_rcode);
/* Seconds that upstream's answer may be kept, 0: not at all. -1: damaged, or
 * not an answer to this question. */
int64_t dns_reply_lifetime(const uint8_t *msg, size_t len, const struct dns_query *q);

#endif
