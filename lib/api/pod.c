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

bool pod_has_container(const struct core_v1_pod_spec *s, struct str name)
{
    for (size_t i = 0; i < s->containers_count; i++)
        if (str_eq(s->containers[i].name, name))
            return true;
    for (size_t i = 0; i < s->init_containers_count; i++)
        if (str_eq(s->init_containers[i].name, name))
            return true;
    for (size_t i = 0; i < s->ephemeral_containers_count; i++)
        if (str_eq(s->ephemeral_containers[i].ephemeral_container_common.name, name))
            return true;
    return false;
}
