/* watchdog.h - notices that somebody else has removed a table of ours, or
 * chains, sets, maps or rules of it: "nft flush ruleset", a firewall that is
 * loaded anew.
 *
 * Loop-confined. One small request every 5 s while nobody changes any rules, two
 * more when somebody has. Not seen: elements that went. */
#ifndef KUBELET_POLICY_WATCHDOG_H
#define KUBELET_POLICY_WATCHDOG_H

#include "lib/base/base.h"

#include <uv.h>

#define WATCHDOG_MS 5000u

struct watchdog_config {
    const char *what; /* For the log. */
    uint8_t family;   /* NFPROTO_INET */
    const char *table;
    /* It is not as it was noted; told again every 5 s until it is noted anew. */
    void (*on_damage)(void *arg);
    void *arg;
};

struct watchdog_look {
    uint64_t handle; /* 0: there is no table, and none is looked for. */
    uint64_t rules;
    uint64_t use; /* Chains, sets and maps. */
};

struct watchdog {
    struct watchdog_config config;
    uv_timer_t timer;
    uint32_t generation;
    struct watchdog_look noted;
};

void watchdog_start(struct watchdog *w, uv_loop_t *loop, const struct watchdog_config *config);
/* We have just changed the table: this is how it is to stand. */
void watchdog_note(struct watchdog *w);

#endif
