/* component.h - what the scheduler and the controller manager have in common:
 * flags, kubeconfig, leader election, health and metrics, signals.
 *
 *   component_main: parse flags -> client -> health server -> contend
 *   lease won -> start() ... lease lost or SIGTERM -> stop() -> contend or exit */
#ifndef CLIENT_COMPONENT_H
#define CLIENT_COMPONENT_H

#include "lib/base/str.h"

struct buf;
struct client;
struct error;
struct flag_set;
struct uv_loop_s;

struct component_config {
    const char *name;       /* "trireme-scheduler"; the user agent too. */
    const char *component;  /* Whose part it plays: "kube-scheduler", on /statusz and /flagz. */
    const char *lease_name; /* Default of --leader-elect-resource-name. */
    int64_t secure_port;    /* Default of --secure-port. */
    double qps;             /* Defaults of --kube-api-qps and -burst. */
    int64_t burst;
    void (*add_flags)(struct flag_set *f); /* NULL: none of its own. */
    /* Once, before contending: what must be right at start-up. NULL: nothing. */
    int (*prepare)(struct error *err);
    /* Appends the configuration that holds, as JSON, for /configz. NULL: there is none. */
    void (*tell_config)(struct buf *b);
    /* Begins the work; never fails: what can go wrong is retried. */
    void (*start)(struct client *c);
    /* Ends it at once. start() may follow on the same client. */
    void (*stop)(void);
};

/* The whole program; returns its exit status. */
int component_main(const struct component_config *config, int argc, char **argv);

#endif
