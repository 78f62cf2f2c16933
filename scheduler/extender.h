/* extender.h - HTTP extenders of the scheduler: connections to them, and calls.
 *
 * Loop-confined. Source: KubeSchedulerConfiguration's `extenders`, and the protocol of
 * extender_wire.h. */
#ifndef SCHEDULER_EXTENDER_H
#define SCHEDULER_EXTENDER_H

#include "lib/base/str.h"
#include "scheduler/config.h"

struct core_v1_pod;
struct error;
struct extender_call;
struct extenders;
struct net_bytes;
struct uv_loop_s;

/* E_INVALID or the like when files of its TLS configuration cannot be used. */
int extenders_check(const struct sched_config *c, struct error *err);
/* NULL: there are none. The configuration is borrowed and was checked. */
struct extenders *extenders_new(struct uv_loop_s *loop, const struct sched_config *c);
/* No call may be under way. NULL is a no-op. */
void extenders_close(struct extenders *x);

/* Of all extenders, one after the other: start with *pos = 0. NULL at the end; x may be NULL. */
const struct extender_config *extenders_next(const struct extenders *x,
                                             const struct core_v1_pod *pod, size_t *pos);
/* Of those that look after the pod: the one that binds it; NULL: we do. */
const struct extender_config *extenders_binder(const struct extenders *x,
                                               const struct core_v1_pod *pod);
/* Is any asked before the pod can be placed? */
bool extenders_are_asked(const struct extenders *x, const struct core_v1_pod *pod);

/* POSTs the body (JSON) and hands the answer's to done, once, later on the loop; err is
 * NULL after a 200. body is borrowed for the callback. */
struct extender_call *
extender_post(struct extenders *x, const struct extender_config *e, const char *verb,
              struct str body, void (*done)(const struct error *err, struct str body, void *arg),
              void *arg);
void extender_cancel(struct extender_call *call); /* done does not run. */

#endif
