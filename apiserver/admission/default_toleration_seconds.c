/* default_toleration_seconds.c - pods stay five minutes on a node that is not
 * ready or not reachable, unless they say otherwise. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "lib/base/arena.h"

#define SECONDS 300

static bool tolerates(const struct core_v1_pod_spec *s, struct str key)
{
    for (size_t i = 0; i < s->tolerations_count; i++) {
        const struct core_v1_toleration *t = &s->tolerations[i];
        if ((str_eq(t->key, key) || t->key.len == 0) &&
            (t->effect.len == 0 || str_eqc(t->effect, "NoExecute")))
            return true;
    }
    return false;
}

static void add(struct arena *a, struct core_v1_pod_spec *s, struct str key)
{
    struct core_v1_toleration *t =
        ARENA_ARRAY(a, struct core_v1_toleration, s->tolerations_count + 1);
    if (s->tolerations_count != 0)
        memcpy(t, s->tolerations, s->tolerations_count * sizeof(*t));
    t[s->tolerations_count++] = (struct core_v1_toleration){.key = key,
                                                            .operator= STR("Exists"),
                                                            .effect = STR("NoExecute"),
                                                            .has_toleration_seconds = true,
                                                            .toleration_seconds = SECONDS};
    s->tolerations = t;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    static const char *const keys[] = {"node.kubernetes.io/not-ready",
                                       "node.kubernetes.io/unreachable"};
    if ((adm->op != ADMIT_CREATE && adm->op != ADMIT_UPDATE) || !admission_is(adm, "", "pods"))
        return NULL;
    struct core_v1_pod *pod = adm->obj;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (!tolerates(&pod->spec, str_of(keys[i])))
            add(adm->ctx->arena, &pod->spec, str_of(keys[i]));
    return NULL;
}

const struct admission_plugin admission_default_toleration_seconds = {
    .name = "DefaultTolerationSeconds",
    .ops = ADMIT_WRITES,
    .mutate = mutate,
};
