/* clock.h - notices that the wall clock was set, or that the machine slept.
 *
 * Delays run on a clock that neither jumps nor counts sleep, while what a
 * controller waits for (a deadline, a schedule, a time to live) stands in
 * objects as wall time. After a jump every delay that was computed from the
 * difference is wrong; whoever is told here works them out anew.
 *
 * Loop-confined. */
#ifndef CONTROLLERS_CLOCK_H
#define CONTROLLERS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock_watch;
struct env;
struct uv_loop_s;

/* Differences below this are slewing (NTP's adjustments are below 0.05 %) and delayed timers. */
#define CLOCK_JUMP_NS 1000000000

/* Where both clocks stood when they were last compared. */
struct clock_pair {
    uint64_t steady_ms;
    int64_t wall_ns;
};

/* How far the wall clock went beyond the steady one since *p, which moves on; 0 for
 * less than CLOCK_JUMP_NS. Negative: it went back. */
int64_t clock_jump(struct clock_pair *p, uint64_t steady_ms, int64_t wall_ns);

/* Compares once a second. on_jump may close it. */
struct clock_watch *clock_watch_start(struct uv_loop_s *loop, struct env *env,
                                      void (*on_jump)(int64_t by_ns, void *arg), void *arg);
void clock_watch_close(struct clock_watch *w); /* NULL is a no-op. */

#endif
