/* logind.h - holds the machine's shutdown up through systemd-logind, and hears of it.
 *
 * An inhibitor lock of mode "delay" (org.freedesktop.login1.Manager.Inhibit): logind waits for it
 * up to its InhibitDelayMaxSec. Loop-confined; never blocks. A lost bus is looked for again. */
#ifndef KUBELET_LOGIND_H
#define KUBELET_LOGIND_H

#include "lib/base/error.h"

struct logind;
struct uv_loop_s;

struct logind_config {
    struct uv_loop_s *loop;
    uint64_t wanted_ms; /* A shorter InhibitDelayMaxSec is told in the log. */
    /* The machine is about to go down; false: it is not after all, and the lock was taken again. */
    void (*on_prepare)(bool down, void *arg);
    void *arg;
};

/* E_NOT_IMPLEMENTED: built without it. A bus that is not there (yet) is waited for. */
int logind_start(const struct logind_config *config, struct logind **ret, struct error *err);
/* Nothing is left to wait for. */
void logind_release(struct logind *l); /* NULL is a no-op. */

#endif
