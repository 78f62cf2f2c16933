/* finalizers.c - see finalizers.h. Pure. */
#include "apiserver/kinds/finalizers.h"

#include "api/meta_v1.h"
#include "lib/base/arena.h"

void finalizer_add(struct arena *a, struct meta_v1_object_meta *m, struct str finalizer)
{
    struct str *list = ARENA_ARRAY(a, struct str, m->finalizers_count + 1);
    for (size_t i = 0; i < m->finalizers_count; i++) {
        if (str_eq(m->finalizers[i], finalizer))
            return;
        list[i] = m->finalizers[i];
    }
    list[m->finalizers_count++] = finalizer;
    m->finalizers = list;
}
