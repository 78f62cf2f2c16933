/* reclaim.c - see reclaim.h. */
#include "lib/client/reclaim.h"

#include "api/core_v1.h"
#include "lib/client/labels.h"

bool pod_reclaims(const struct core_v1_pod *pod)
{
    if (!pod->spec.has_priority || pod->spec.priority >= 0)
        return false;
    const struct str *label = label_get(&pod->metadata, RECLAIM_LABEL);
    return label != NULL && str_eqc(*label, "true");
}
