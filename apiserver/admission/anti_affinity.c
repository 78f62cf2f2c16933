/* anti_affinity.c - LimitPodHardAntiAffinityTopology: hard anti-affinity of pods
 * spreads over hosts, not over anything larger. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"

#define HOSTNAME "kubernetes.io/hostname"

static struct meta_v1_status *validate(const struct admission *adm)
{
    if (!admission_is(adm, "", "pods"))
        return NULL;
    const struct core_v1_affinity *a = ((const struct core_v1_pod *)adm->obj)->spec.affinity;
    const struct core_v1_pod_anti_affinity *anti = a != NULL ? a->pod_anti_affinity : NULL;
    for (size_t i = 0;
         anti != NULL && i < anti->required_during_scheduling_ignored_during_execution_count; i++) {
        struct str key = anti->required_during_scheduling_ignored_during_execution[i].topology_key;
        if (!str_eqc(key, HOSTNAME))
            return status_forbidden(
                adm->ctx->arena, adm->res->gr, adm->ctx->name,
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey " STR_FMT
                " but only key " HOSTNAME " is allowed",
                STR_ARG(key));
    }
    return NULL;
}

const struct admission_plugin admission_anti_affinity = {.name = "LimitPodHardAntiAffinityTopology",
                                                         .off = true,
                                                         .ops = ADMIT_WRITES,
                                                         .validate = validate};
