/* claim_calls.c - what is asked of the API about ResourceClaims beside writing what was given to
 * them, which is device_wait.c's: those for extended resources of pods are created, noted in the
 * pod's status and removed; claims are released by a pod, and deallocated. */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "scheduler/devices/devices.h"
#include "scheduler/devices/extended.h"
#include "scheduler/plugins/plugins.h"

int extended_claim_create(struct scheduler *s, const struct resource_v1_resource_claim *claim,
                          claim_done *done, void *arg, struct client_request **ret,
                          struct error *err)
{
    struct resource_v1_resource_claim c = *claim;
    c.metadata.name = c.metadata.uid = STR_NULL;
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = api_kind_by_gvk(STR("resource.k8s.io"), STR("v1"), STR("ResourceClaim")),
        .namespace_name = c.metadata.namespace,
        .body = &c,
        .done = done,
        .arg = arg};
    return client_start(s->client, &call, ret, err);
}

static void put(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, "\"%s\":", name);
    json_write_string(value, b);
}

int extended_claim_note(struct scheduler *s, const struct api_object *pod,
                        const struct resource_v1_resource_claim *claim, claim_done *done, void *arg,
                        struct client_request **ret, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct core_v1_pod_extended_resource_claim_status status;
    const struct meta_v1_object_meta *m = api_object_meta(pod);
    extended_claim_status(a, pod->msg, claim, &status);
    buf_puts(&b, "{\"metadata\":{");
    put(&b, "uid", m->uid);
    buf_puts(&b, "},\"status\":{\"extendedResourceClaimStatus\":{");
    put(&b, "resourceClaimName", status.resource_claim_name);
    buf_puts(&b, ",\"requestMappings\":[");
    for (size_t i = 0; i < status.request_mappings_count; i++) {
        buf_puts(&b, i == 0 ? "{" : ",{");
        put(&b, "containerName", status.request_mappings[i].container_name);
        buf_putc(&b, ',');
        put(&b, "resourceName", status.request_mappings[i].resource_name);
        buf_putc(&b, ',');
        put(&b, "requestName", status.request_mappings[i].request_name);
        buf_putc(&b, '}');
    }
    buf_puts(&b, "]}}}");
    struct client_call call = {.verb = CLIENT_PATCH,
                               .kind = pod->kind,
                               .namespace_name = m->namespace,
                               .name = m->name,
                               .subresource = "status",
                               .patch_type = CLIENT_PATCH_STRATEGIC,
                               .raw_body = buf_str(&b),
                               .done = done,
                               .arg = arg};
    return client_start(s->client, &call, ret, err);
}

/* Both are sent at once: whichever comes second finds what it needs. */
void extended_claim_remove(struct scheduler *s, const struct api_object *claim)
{
    const struct meta_v1_object_meta *m = api_object_meta(claim);
    AUTO_BUF b = BUF_INIT;
    struct error err = {0};
    buf_puts(&b, "{\"metadata\":{");
    put(&b, "uid", m->uid);
    buf_puts(&b, ",\"$deleteFromPrimitiveList/finalizers\":[\"" DEVICE_CLAIM_FINALIZER "\"]}}");
    struct client_call release = {.verb = CLIENT_PATCH,
                                  .kind = claim->kind,
                                  .namespace_name = m->namespace,
                                  .name = m->name,
                                  .patch_type = CLIENT_PATCH_STRATEGIC,
                                  .raw_body = buf_str(&b),
                                  .undecoded = true};
    struct client_call drop = {.verb = CLIENT_DELETE,
                               .kind = claim->kind,
                               .namespace_name = m->namespace,
                               .name = m->name,
                               .uid_precondition = m->uid,
                               .undecoded = true};
    if (client_start(s->client, &release, NULL, &err) != 0 ||
        client_start(s->client, &drop, NULL, &err) != 0)
        log_warning("cannot remove claim " STR_FMT "/" STR_FMT ": %s", STR_ARG(m->namespace),
                    STR_ARG(m->name), error_message(&err));
}

void claim_release(struct scheduler *s, const struct api_object *claim, struct str pod_uid)
{
    const struct meta_v1_object_meta *m = api_object_meta(claim);
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "{\"metadata\":{\"uid\":");
    json_write_string(m->uid, &b);
    buf_puts(&b, "},\"status\":{\"reservedFor\":[{\"$patch\":\"delete\",\"uid\":");
    json_write_string(pod_uid, &b);
    buf_puts(&b, "}]}}");
    struct client_call call = {.verb = CLIENT_PATCH,
                               .kind = claim->kind,
                               .namespace_name = m->namespace,
                               .name = m->name,
                               .subresource = "status",
                               .patch_type = CLIENT_PATCH_STRATEGIC,
                               .raw_body = buf_str(&b),
                               .undecoded = true};
    struct error err = {0};
    if (client_start(s->client, &call, NULL, &err) != 0)
        log_warning("cannot release claim " STR_FMT "/" STR_FMT ": %s", STR_ARG(m->namespace),
                    STR_ARG(m->name), error_message(&err));
}

void device_deallocate(struct scheduler *s, struct cycle *c)
{
    bool any;
    const struct api_object *o = dynamic_resources_idle_claim(c, &any);
    const struct api_object *stale = dynamic_resources_stale_claim(c);
    struct error err = {0};
    if (stale != NULL) {
        extended_claim_remove(s, stale);
        c->claims_note = "deletion of ResourceClaim completed";
        return;
    }
    if (any)
        c->claims_note = "still not schedulable";
    if (o == NULL)
        return;
    struct resource_v1_resource_claim claim = *(const struct resource_v1_resource_claim *)o->msg;
    claim.status = (struct resource_v1_resource_claim_status){0};
    struct client_call call = {.verb = CLIENT_UPDATE,
                               .kind = o->kind,
                               .namespace_name = claim.metadata.namespace,
                               .name = claim.metadata.name,
                               .subresource = "status",
                               .body = &claim,
                               .undecoded = true};
    if (client_start(s->client, &call, NULL, &err) != 0)
        log_warning("cannot deallocate claim " STR_FMT "/" STR_FMT ": %s",
                    STR_ARG(claim.metadata.namespace), STR_ARG(claim.metadata.name),
                    error_message(&err));
    else
        c->claims_note = "deallocation of ResourceClaim completed";
}
