/* extended_resource_toleration.c - ExtendedResourceToleration: pods that ask for
 * a device tolerate the taint that keeps others off its nodes. */
#include "api/core_v1.h"
#include "api/resource.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"

static bool tolerates(const struct core_v1_pod_spec *s, struct str key)
{
    for (size_t i = 0; i < s->tolerations_count; i++)
        if (str_eq(s->tolerations[i].key, key) && str_eqc(s->tolerations[i].operator, "Exists") &&
            str_eqc(s->tolerations[i].effect, "NoSchedule"))
            return true;
    return false;
}

/* The taints of extended resources have the resources' names as keys. */
static void tolerate(struct arena *a, struct core_v1_pod_spec *s, const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->resources.requests_count; i++) {
        struct str key = c->resources.requests[i].key;
        if (!is_extended_resource(key) || tolerates(s, key))
            continue;
        struct core_v1_toleration *t =
            ARENA_ARRAY(a, struct core_v1_toleration, s->tolerations_count + 1);
        if (s->tolerations_count != 0)
            memcpy(t, s->tolerations, s->tolerations_count * sizeof(*t));
        t[s->tolerations_count].key = key;
        t[s->tolerations_count].operator= STR("Exists");
        t[s->tolerations_count++].effect = STR("NoSchedule");
        s->tolerations = t;
    }
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    if (!admission_is(adm, "", "pods"))
        return NULL;
    struct core_v1_pod_spec *s = &((struct core_v1_pod *)adm->obj)->spec;
    for (size_t i = 0; i < s->containers_count; i++)
        tolerate(adm->ctx->arena, s, &s->containers[i]);
    for (size_t i = 0; i < s->init_containers_count; i++)
        tolerate(adm->ctx->arena, s, &s->init_containers[i]);
    return NULL;
}

const struct admission_plugin admission_extended_resource_toleration = {
    .name = "ExtendedResourceToleration", .off = true, .ops = ADMIT_WRITES, .mutate = mutate};
