/* authn_webhook.h - an authenticator elsewhere: a TokenReview is sent to it for
 * tokens that nobody here knows. Any thread. */
#ifndef APISERVER_AUTHN_WEBHOOK_H
#define APISERVER_AUTHN_WEBHOOK_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct asks;
struct authn_webhook;
struct error;
struct user;

/* Reads the kubeconfig file. version: "v1" or "v1beta1". */
int authn_webhook_new(const char *file, const char *version, int64_t ttl_ns,
                      struct authn_webhook **ret, struct error *err);
void authn_webhook_free(struct authn_webhook *w); /* NULL is a no-op. */

/* E_AGAIN: the question is noted. *ret_audiences: for which it is good, when the
 * webhook said so; else none. */
int authn_webhook_token(struct authn_webhook *w, struct arena *a, struct asks *asks,
                        struct str token, const struct str *audiences, size_t audience_count,
                        struct user **ret, struct str **ret_audiences, size_t *ret_audience_count,
                        struct error *err);

#endif
