/* gang_key.c - see gang_key.h. */
#include "lib/client/gang_key.h"

#include "api/core_v1.h"
#include "lib/client/labels.h"

#include <stdio.h>

static struct str group_of(const struct core_v1_pod *pod)
{
    const struct str *name = label_get(&pod->metadata, GANG_LABEL);
    return name != NULL ? *name : STR_NULL;
}

bool pod_has_gang(const struct core_v1_pod *pod)
{
    return !str_empty(group_of(pod));
}

struct str gang_key(const struct core_v1_pod *pod, char buffer[GANG_KEY_MAX])
{
    struct str name = group_of(pod);
    if (str_empty(name))
        return STR_NULL;
    int n = snprintf(buffer, GANG_KEY_MAX, STR_FMT "/" STR_FMT, STR_ARG(pod->metadata.namespace),
                     STR_ARG(name));
    return str_n(buffer, (size_t)MIN_OF(n, GANG_KEY_MAX - 1));
}

bool pods_share_gang(const struct core_v1_pod *x, const struct core_v1_pod *y)
{
    struct str name = group_of(x);
    return !str_empty(name) && str_eq(name, group_of(y)) &&
           str_eq(x->metadata.namespace, y->metadata.namespace);
}
