/* start_trace.h - where the time goes between a pod's first sight and its Running.
 *
 * A worker does one thing at a time, so that the parts add up; what they leave is the agent's own
 * work and waiting (back-offs, init containers). Pure. */
#ifndef KUBELET_START_TRACE_H
#define KUBELET_START_TRACE_H

#include "lib/base/base.h"

struct buf;

enum start_part {
    START_VOLUMES, /* Sources from the API, folders, mounts, the cgroup. */
    START_TURN,    /* Waiting for others' starts, see start_gate.h. */
    START_SANDBOX,
    START_IMAGE, /* Asking whether it is there. */
    START_PULL,
    START_CREATE,
    START_START,
    START_LOOK, /* Asking the runtime for what it holds. */
    START_PARTS,
};

struct start_trace {
    uint64_t begin_ns;
    uint64_t spent_ns[START_PARTS];
    bool over; /* It ran: nothing is added any more. */
};

void start_trace_begin(struct start_trace *t, uint64_t now_ns);
void start_trace_add(struct start_trace *t, enum start_part part, uint64_t ns);
/* "0.182s (sandbox 0.110s, create 0.021s, ..., other 0.004s)", parts below a millisecond left out.
 */
void start_trace_print(const struct start_trace *t, uint64_t now_ns, struct buf *b);

#endif
