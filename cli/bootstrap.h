/* bootstrap.h - what init and join ask of a running API server. */
#ifndef CLI_BOOTSTRAP_H
#define CLI_BOOTSTRAP_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct error;
struct host;
struct sync_client;

/* "abcdef.0123456789abcdef", and for control planes a third part, the key that
 * opens the shared secrets and never reaches the server. */
struct join_token {
    struct str id;
    struct str secret;
    struct str key; /* Empty for workers. */
};
int join_token_parse(struct str text, struct join_token *ret, struct error *err);
void join_token_generate(struct arena *a, bool control_plane, struct join_token *ret);
struct str join_token_text(struct arena *a, const struct join_token *t);

/* A client for this host's own API server as the administrator. */
int bootstrap_admin_client(struct arena *a, const struct host *h, struct sync_client **ret,
                           struct error *err);
/* Waits until /readyz says ok. E_TIMEOUT tells the last answer. */
int bootstrap_wait_ready(struct arena *a, const struct host *h, uint64_t timeout_ms,
                         struct error *err);
/* Waits until the store counts this host as a voter: before that the cluster
 * does not survive one loss more. E_TIMEOUT says where to look. */
int bootstrap_wait_voter(struct arena *a, const struct host *h, uint64_t timeout_ms,
                         struct error *err);
/* kube-public/cluster-info, which joining hosts read before they trust us. */
int bootstrap_publish(struct arena *a, const struct host *h, struct sync_client *c,
                      struct error *err);
/* Stores the token, and for a control-plane token the sealed secrets. */
int bootstrap_create_token(struct arena *a, const struct host *h, struct sync_client *c,
                           const struct join_token *t, int64_t ttl_s, struct error *err);

/* Fetches the cluster's CA from address (HOST:PORT), trusting only a server
 * whose CA has this hash. */
int bootstrap_discover(struct arena *a, const char *address, const char *ca_hash,
                       struct str *ret_ca, struct error *err);

#endif
