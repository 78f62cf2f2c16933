/* expectations.h - what a controller has asked for and not yet seen in its
 * cache, so that it does not act twice on stale state.
 *
 * Loop-confined. Per controller key: creations are counted, deletions are
 * tracked by the uid of what is to go. Unmet expectations expire after five
 * minutes: a missed event must not stop a controller for ever. */
#ifndef CLIENT_EXPECTATIONS_H
#define CLIENT_EXPECTATIONS_H

#include "lib/base/str.h"

struct env;
struct expectations;

#define EXPECTATIONS_TTL_MS (5u * 60 * 1000)
#define EXPECTATIONS_DOUBT_MS 5000u

struct expectations *expectations_new(struct env *env);
void expectations_free(struct expectations *e);

void expectations_expect_creations(struct expectations *e, struct str key, unsigned count);
/* Adds one uid to those whose deletion is awaited. */
void expectations_expect_deletion(struct expectations *e, struct str key, struct str uid);
/* Seen, or failed to be asked for. */
void expectations_creation_observed(struct expectations *e, struct str key);
void expectations_deletion_observed(struct expectations *e, struct str key, struct str uid);
/* Nobody knows whether something that was asked for happened: if it did, the
 * cache shows it soon. What the key awaits expires after EXPECTATIONS_DOUBT_MS. */
void expectations_doubt(struct expectations *e, struct str key);
/* True when nothing is awaited, or it expired, or the key is new. */
bool expectations_satisfied(struct expectations *e, struct str key);
/* Until what is awaited expires; 0: nothing is. */
uint64_t expectations_left_ms(const struct expectations *e, struct str key);
/* The key's controller is gone. */
void expectations_forget(struct expectations *e, struct str key);

#endif
