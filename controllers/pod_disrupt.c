/* pod_disrupt.c - see pod_disrupt.h. */
#include "controllers/pod_disrupt.h"

#include "api/core_v1.h"
#include "controllers/controller.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"

static void on_marked(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct core_v1_pod *pod = arg;
    if (result->code == E_NOT_FOUND || result->code == E_CONFLICT)
        return; /* Gone, or another of its name. */
    reconcile_delete(c, api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")), &pod->metadata);
}

void pod_disrupt(struct reconcile *c, const struct api_object *pod, const char *reason,
                 const char *message)
{
    struct core_v1_pod *copy = reconcile_copy(c, pod);
    char now[TIME_TEXT_MAX];
    struct meta_v1_time t = time_from_ns(env_wall_ns(c->run->env));
    time_format(&t, now);
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = pod->kind,
        .namespace_name = copy->metadata.namespace,
        .name = copy->metadata.name,
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body = arena_printf(
            c->arena,
            "{\"metadata\":{\"uid\":\"" STR_FMT "\"},\"status\":{\"conditions\":[{\"type\":"
            "\"DisruptionTarget\",\"status\":\"True\",\"lastTransitionTime\":\"%s\","
            "\"reason\":\"%s\",\"message\":\"%s\"}]}}",
            STR_ARG(copy->metadata.uid), now, reason, message),
    };
    reconcile_call(c, &call, on_marked, copy);
}
