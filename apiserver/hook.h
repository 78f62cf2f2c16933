/* hook.h - a webhook of the server itself, as a kubeconfig file names it: where
 * it is, whom to trust, who we are to it.
 *
 * Immutable and counted once loaded; any thread. */
#ifndef APISERVER_HOOK_H
#define APISERVER_HOOK_H

#include "apiserver/webhook_client.h"

struct hook;

/* Reads files: for the start and for workers. what: the flag or field, for errors. */
int hook_load(const char *what, const char *path, struct hook **ret, struct error *err);
struct hook *hook_ref(struct hook *h);
void hook_unref(struct hook *h); /* NULL is a no-op. */
void hook_unhold(void *h);       /* The same, for those that hold it by a pointer. */

const struct webhook_target *hook_target(const struct hook *h);
/* What is wrong with an answer, as upstream tells it; empty: a 2xx is there. */
struct str hook_problem(const struct hook *h, struct arena *a, const struct webhook_answer *w);
/* Where url points to, with what is given by the caller already; E_INVALID. */
int hook_target_of_url(struct arena *a, struct str url, struct webhook_target *t,
                       struct error *err);

#endif
