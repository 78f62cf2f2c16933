/* pod.c - see pod.h. */
#include "lib/api/pod.h"

#include "api/core_v1.h"

bool pod_phase_is_final(struct str phase)
{
    return str_eqc(phase, "Succeeded") || str_eqc(phase, "Failed");
}

bool pod_is_terminal(const struct core_v1_pod *p)
{
    return pod_phase_is_final(p->status.phase);
}
