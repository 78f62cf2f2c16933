/* leader_election.h - one active instance among several, by a coordination.k8s.io
 * Lease.
 *
 * Loop-confined. Time is measured with the local monotonic clock from when a
 * record was seen to change, so clocks may differ between machines. A leader
 * that cannot renew until renew_deadline stops leading and contends again; the
 * program goes on running.
 *
 *   CONTENDING --acquired--> LEADING --deadline, lost, stop--> CONTENDING */
#ifndef CLIENT_LEADER_ELECTION_H
#define CLIENT_LEADER_ELECTION_H

#include "lib/base/str.h"

struct client;
struct error;
struct leader_election;

struct leader_election_config {
    struct client *client;
    const char *namespace_name;    /* "kube-system". Copied, as all strings here. */
    const char *name;              /* "kube-scheduler" */
    const char *identity;          /* Unique per instance; NULL: host name and a UUID. */
    uint32_t lease_duration_ms;    /* 0: 15000 */
    uint32_t renew_deadline_ms;    /* 0: 10000; less than lease_duration_ms */
    uint32_t retry_period_ms;      /* 0: 2000 */
    void (*on_started)(void *arg); /* We lead. */
    void (*on_stopped)(void *arg); /* We do not lead any more. */
    void (*on_new_leader)(const char *identity, void *arg); /* NULL: nobody cares. */
    void *arg;
};

int leader_election_new(const struct leader_election_config *config, struct leader_election **ret,
                        struct error *err);
void leader_election_start(struct leader_election *e);
bool leader_election_is_leader(const struct leader_election *e);
/* "" while unknown. */
const char *leader_election_holder(const struct leader_election *e);
/* Stops leading (on_stopped runs inside), gives the lease back so that another
 * instance need not wait, then frees e and runs on_closed (may be NULL). */
void leader_election_close(struct leader_election *e, void (*on_closed)(void *arg), void *arg);

#endif
