/* always_pull_images.c - AlwaysPullImages: an image that is on a node already is
 * used by those alone who may pull it. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"

static bool concerned(const struct admission *adm)
{
    return admission_is_any(adm, "", "pods") &&
           (adm->subresource[0] == '\0' || strcmp(adm->subresource, "ephemeralcontainers") == 0);
}

/* Calls f for the policy of each container and image volume; returns the number
 * of those that f is true for. */
static size_t each(struct core_v1_pod_spec *s, struct field_errors *errs,
                   bool (*f)(struct str *policy, struct field_errors *errs,
                             const struct field_path *at))
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    size_t n = 0;
    for (size_t i = 0; i < s->init_containers_count; i++)
        n += f(&s->init_containers[i].image_pull_policy, errs,
               PATH_INDEX(PATH(spec, "initContainers"), i));
    for (size_t i = 0; i < s->containers_count; i++)
        n += f(&s->containers[i].image_pull_policy, errs, PATH_INDEX(PATH(spec, "containers"), i));
    for (size_t i = 0; i < s->ephemeral_containers_count; i++)
        n += f(&s->ephemeral_containers[i].ephemeral_container_common.image_pull_policy, errs,
               PATH_INDEX(PATH(spec, "ephemeralContainers"), i));
    for (size_t i = 0; i < s->volumes_count; i++)
        if (s->volumes[i].volume_source.image != NULL)
            n += f(&s->volumes[i].volume_source.image->pull_policy, errs,
                   PATH(PATH_INDEX(PATH(spec, "volumes"), i), "image"));
    return n;
}

static bool set_always(struct str *policy, struct field_errors *errs, const struct field_path *at)
{
    UNUSED(errs), UNUSED(at);
    *policy = STR("Always");
    return true;
}

static bool refuse_other(struct str *policy, struct field_errors *errs, const struct field_path *at)
{
    static const char *const always[] = {"Always", NULL};
    if (str_eqc(*policy, "Always"))
        return false;
    field_not_supported(errs, PATH(at, "imagePullPolicy"), *policy, always);
    return true;
}

static bool listed(const struct core_v1_container *c, size_t count, struct str image)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(c[i].image, image))
            return true;
    return false;
}

/* An update without new images leaves the pod alone. */
static bool no_new_images(const struct admission *adm)
{
    const struct core_v1_pod *pod = adm->obj, *old = adm->old;
    if (old == NULL || pod->spec.ephemeral_containers_count != old->spec.ephemeral_containers_count)
        return false;
    for (size_t i = 0; i < pod->spec.containers_count; i++)
        if (!listed(old->spec.containers, old->spec.containers_count,
                    pod->spec.containers[i].image))
            return false;
    for (size_t i = 0; i < pod->spec.init_containers_count; i++)
        if (!listed(old->spec.init_containers, old->spec.init_containers_count,
                    pod->spec.init_containers[i].image))
            return false;
    return true;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    if (concerned(adm) && !no_new_images(adm))
        each(&((struct core_v1_pod *)adm->obj)->spec, NULL, set_always);
    return NULL;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    struct arena *a = adm->ctx->arena;
    struct field_errors errs = {.arena = a};
    if (!concerned(adm) || no_new_images(adm) ||
        each(&((struct core_v1_pod *)adm->obj)->spec, &errs, refuse_other) == 0)
        return NULL;
    return status_forbidden(a, adm->res->gr, adm->ctx->name, STR_FMT,
                            STR_ARG(field_errors_text(a, &errs)));
}

const struct admission_plugin admission_always_pull_images = {.name = "AlwaysPullImages",
                                                              .off = true,
                                                              .ops = ADMIT_WRITES,
                                                              .mutate = mutate,
                                                              .validate = validate};
