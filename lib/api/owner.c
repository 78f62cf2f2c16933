/* owner.c - see owner.h. */
#include "lib/api/owner.h"

#include "api/meta_v1.h"
#include "lib/base/base.h"

const struct meta_v1_owner_reference *owner_controller(const struct meta_v1_object_meta *m)
{
    for (size_t i = 0; i < m->owner_references_count; i++)
        if (m->owner_references[i].has_controller && m->owner_references[i].controller)
            return &m->owner_references[i];
    return NULL;
}
