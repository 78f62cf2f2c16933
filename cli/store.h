/* store.h - what the verbs share that speak to a store: trireme-raftstore, or an etcd. */
#ifndef CLI_STORE_H
#define CLI_STORE_H

#include "lib/net/etcd_client.h"

#include <stdio.h>

struct arena;

/* Runs trireme-raftstore, found beside this program or else in the PATH, with argv
 * (argv[0] is replaced) in this process' place. Returns only on failure. */
int store_exec(char **argv, struct error *err);

/* `trireme member ...` with --endpoints: args are what was not a flag. */
struct store_member_options {
    const char *peer_urls;
    bool learner;
    const char *data_dir; /* recover */
    const char *name;
    bool yes;
};
int store_member(const struct etcd_client_config *client, const struct store_member_options *o,
                 const char *const *args, size_t count, struct error *err);

#endif
