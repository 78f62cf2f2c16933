/* node_lease.c - see node_lease.h. */
#include "kubelet/node_lease.h"

#include "kubelet/kubelet.h"

#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/client/client.h"

#include "api/coordination_v1.h"
#include "api/core_v1.h"

#define LEASE_DURATION_S 40
#define LEASE_PERIOD_MS 10000u
#define LEASE_NAMESPACE "kube-node-lease"
#define RETRY_MS 1000u
#define CALL_TIMEOUT_MS 10000u

struct node_lease {
    struct kubelet *k;
    uv_timer_t timer;
    bool busy, stopped;
    struct api_object *object; /* As last seen, or NULL. */
};

static void lease_start(struct node_lease *n);

static void on_lease_timer(uv_timer_t *t)
{
    lease_start(t->data);
}

static void on_lease(struct client_request *r, const struct client_result *result, void *arg)
{
    struct node_lease *n = arg;
    UNUSED(r);
    n->busy = false;
    if (n->stopped)
        return;
    uint64_t next = LEASE_PERIOD_MS;
    if (result->code == 0 && result->object != NULL) {
        api_object_unref(n->object);
        n->object = api_object_ref(result->object);
    } else if (result->code != 0) {
        /* Made by an earlier run, changed by somebody, or gone: look again. */
        if (result->code == E_EXISTS || result->code == E_CONFLICT || result->code == E_NOT_FOUND)
            api_object_unref(take(n->object));
        else
            log_warning("node lease: %s", result->message);
        next = RETRY_MS;
    }
    uv_timer_start(&n->timer, on_lease_timer, next, 0);
}

static void lease_write(struct node_lease *n, bool create)
{
    struct kubelet *k = n->k;
    const struct core_v1_node *node = k->node != NULL ? k->node->msg : NULL;
    struct coordination_v1_lease lease = {0};
    struct meta_v1_owner_reference owner = {
        .api_version = STR("v1"), .kind = STR("Node"), .name = str_of(k->node_name)};
    struct meta_v1_micro_time now = micro_time_from_ns(env_wall_ns(k->env));
    if (n->object != NULL)
        lease = *(const struct coordination_v1_lease *)n->object->msg;
    lease.metadata.name = str_of(k->node_name);
    lease.metadata.namespace = STR(LEASE_NAMESPACE);
    lease.spec.has_holder_identity = true;
    lease.spec.holder_identity = str_of(k->node_name);
    lease.spec.has_lease_duration_seconds = true;
    lease.spec.lease_duration_seconds = LEASE_DURATION_S;
    lease.spec.renew_time = &now;
    if (lease.metadata.owner_references_count == 0 && node != NULL) {
        owner.uid = node->metadata.uid;
        lease.metadata.owner_references = &owner;
        lease.metadata.owner_references_count = 1;
    }
    struct client_call call = {
        .verb = create ? CLIENT_CREATE : CLIENT_UPDATE,
        .kind = api_kind_by_api_version(STR("coordination.k8s.io/v1"), STR("Lease")),
        .namespace_name = STR(LEASE_NAMESPACE),
        .name = create ? STR_NULL : str_of(k->node_name),
        .body = &lease,
        .timeout_ms = CALL_TIMEOUT_MS,
        .done = on_lease,
        .arg = n,
    };
    struct error err;
    if (client_start(k->client, &call, NULL, &err) != 0)
        log_error("node lease: %s", error_message(&err));
}

static void on_lease_read(struct client_request *r, const struct client_result *result, void *arg)
{
    struct node_lease *n = arg;
    UNUSED(r);
    if (n->stopped)
        return;
    if (result->code == 0 && result->object != NULL) {
        api_object_unref(n->object);
        n->object = api_object_ref(result->object);
        lease_write(n, false);
    } else if (result->code == E_NOT_FOUND) {
        lease_write(n, true);
    } else {
        on_lease(r, result, n);
    }
}

static void lease_start(struct node_lease *n)
{
    if (n->busy)
        return;
    n->busy = true;
    if (n->object != NULL) {
        lease_write(n, false);
        return;
    }
    struct client_call call = {
        .verb = CLIENT_GET,
        .kind = api_kind_by_api_version(STR("coordination.k8s.io/v1"), STR("Lease")),
        .namespace_name = STR(LEASE_NAMESPACE),
        .name = str_of(n->k->node_name),
        .timeout_ms = CALL_TIMEOUT_MS,
        .done = on_lease_read,
        .arg = n,
    };
    struct error err;
    if (client_start(n->k->client, &call, NULL, &err) != 0)
        log_error("node lease: %s", error_message(&err));
}

struct node_lease *node_lease_new(struct kubelet *k)
{
    struct node_lease *n = xzalloc(sizeof(*n));
    n->k = k;
    uv_timer_init(k->loop, &n->timer);
    n->timer.data = n;
    return n;
}

void node_lease_kick(struct node_lease *n)
{
    lease_start(n);
}

void node_lease_stop(struct node_lease *n)
{
    n->stopped = true;
    uv_timer_stop(&n->timer);
}
