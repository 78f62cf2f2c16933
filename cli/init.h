/* init.h - the steps of `trireme init` and `trireme join`, shared with `up`. */
#ifndef CLI_INIT_H
#define CLI_INIT_H

#include "cli/bootstrap.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct error;
struct host;

/* Writes everything for the first control-plane host and starts it. Repeating
 * it on a host that is set up starts what does not run. */
int init_host(struct arena *a, struct host *h, uint64_t timeout_ms, struct error *err);
/* Makes a join token on a running control-plane host. ttl_s 0: for ever. */
int init_token(struct arena *a, const struct host *h, bool control_plane, int64_t ttl_s,
               struct join_token *ret, struct error *err);

struct join_config {
    const char *addresses; /* "HOST:PORT,HOST:PORT": control-plane hosts to try in turn. */
    struct join_token token;
    const char *ca_hash;
    uint64_t timeout_ms;
};
int join_host(struct arena *a, struct host *h, const struct join_config *config, struct error *err);

#endif
