/* audit.h - what was asked, by whom, and how it ended: events of audit.k8s.io/v1,
 * one JSON line each, as the policy wants them.
 *
 *   authenticated -> begin -> (RequestReceived) -> decision, impersonation
 *       -> (ResponseStarted of watches and streams) -> (ResponseComplete)
 *
 * Every function takes a request that is not recorded and does nothing then. */
#ifndef APISERVER_AUDIT_H
#define APISERVER_AUDIT_H

#include "apiserver/audit_log.h"
#include "apiserver/audit_webhook.h"

struct arena;
struct audit;
struct audit_event;
struct meta_v1_status;
struct net_bytes;
struct req;

enum audit_mode { AUDIT_BATCH, AUDIT_BLOCKING, AUDIT_BLOCKING_STRICT };

struct audit_config {
    const char *policy_file; /* NULL: nothing is recorded. */
    struct audit_log_config log;
    bool legacy; /* Lines of text in the log. */
    enum audit_mode log_mode, webhook_mode;
    struct audit_webhook_config webhook;
    int64_t log_event_bytes, webhook_event_bytes; /* Larger events are cut; 0: none are. */
};

/* *ret is NULL when nothing is to be recorded. */
int audit_open(const struct audit_config *config, struct audit **ret, struct error *err);
void audit_close(struct audit *a); /* NULL is a no-op. */

/* The request is known, and who makes it (nobody when that failed). next runs once it may go
 * on, now or later; in mode blocking-strict it is answered instead when the event cannot be
 * stored. In the blocking modes answers, too, wait for their events. */
void audit_begin_then(struct req *r, void (*next)(struct req *r));
/* The server ends: what is waited for is given up in a few seconds. NULL is a no-op. */
void audit_hurry(struct audit *a);
/* reason of a permission or a refusal. */
void audit_decision(struct req *r, bool allowed, struct str reason);
/* Is the reason of a permission wanted? */
bool audit_wants_reason(const struct req *r);
/* An annotation beside those of the decision; the last value of a key stands.
 * The texts are copied. */
void audit_annotate(struct audit_event *e, struct arena *a, struct str key, struct str value);
/* What is answered: a Status, or bytes of a content type. */
void audit_status(struct req *r, const struct meta_v1_status *s);
void audit_answer(struct req *r, const char *content_type, const struct net_bytes *b);
/* A long-running request begins to answer. */
void audit_started(struct req *r, int http_status);
void audit_complete(struct req *r, int http_status);

#endif
