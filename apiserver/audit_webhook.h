/* audit_webhook.h - events sent to a webhook, in batches, by a thread of its own.
 *
 * Events wait in a bounded buffer, and what does not fit is counted and told. A
 * batch that fails is sent again a few times. Who hands a ticket in is told. */
#ifndef APISERVER_AUDIT_WEBHOOK_H
#define APISERVER_AUDIT_WEBHOOK_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct audit_ticket;
struct audit_webhook;
struct error;

struct audit_webhook_config {
    const char *file; /* Kubeconfig; NULL: there is none. */
    int64_t buffer_count, batch_count, running_max;
    int64_t wait_ns; /* Until a batch goes that is not full. */
    bool throttle;
    double qps;
    int64_t burst;
    int64_t backoff_ns;  /* Before a failed batch is sent again the first time. */
    int64_t batch_bytes; /* 0: any size. */
};

int audit_webhook_open(const struct audit_webhook_config *config, struct audit_webhook **ret,
                       struct error *err);
/* Sends what is waiting, for a few seconds at most. NULL is a no-op. */
void audit_webhook_close(struct audit_webhook *w);
/* Events that somebody waits for are given up a few seconds later: the server ends. */
void audit_webhook_hurry(struct audit_webhook *w);
/* Any thread; event is copied. ticket: as audit_log_write(). */
void audit_webhook_write(struct audit_webhook *w, struct str event, struct audit_ticket *ticket);
uint64_t audit_webhook_dropped(const struct audit_webhook *w);

#endif
