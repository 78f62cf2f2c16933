/* dra_ask.c - what the drivers of an operation's claims are asked: NodePrepareResources or
 * NodeUnprepareResources, one driver after the other, about all of its claims at once. */
#include "kubelet/dra_internal.h"

#include "kubelet/csi_internal.h"
#include "kubelet/kubelet.h"

#include "lib/base/arena.h"
#include "pb/csi/dra_v1.pb-c.h"

/* Claims that this driver is to be asked about. */
static bool concerns(const struct dra_op *op, const struct dra_claim *c, const char *driver)
{
    if (c == NULL || dra_claim_driver(c, driver) == NULL || !dra_claim_has_pod(c, op->uid))
        return false;
    return op->prepare ? !c->prepared : c->pod_count == 1;
}

static void ask_next(struct dra_op *op);

static struct dra_claim *claim_by_uid(const struct dra_op *op, const char *uid)
{
    for (size_t i = 0; i < op->count; i++) {
        struct dra_claim *c = dra_op_claim(op, i);
        if (c != NULL && strcmp(c->uid, uid) == 0)
            return c;
    }
    return NULL;
}

static void take_devices(struct dra_driver *d, const Dra__V1__NodePrepareResourceResponse *r)
{
    dra_driver_clear(d);
    for (size_t i = 0; i < r->n_devices; i++) {
        const Dra__V1__Device *from = r->devices[i];
        struct dra_device *x = dra_driver_add(d);
        x->pool = xstrdup(from->pool_name);
        x->device = xstrdup(from->device_name);
        if (from->share_id[0] != '\0')
            x->share = xstrdup(from->share_id);
        for (size_t k = 0; k < from->n_request_names; k++)
            dra_list_add(&x->requests, &x->request_count, str_of(from->request_names[k]));
        for (size_t k = 0; k < from->n_cdi_device_ids; k++)
            dra_list_add(&x->cdi, &x->cdi_count, str_of(from->cdi_device_ids[k]));
    }
}

static size_t asked_about(const struct dra_op *op)
{
    size_t n = 0;
    for (size_t i = 0; i < op->count; i++)
        n += concerns(op, dra_op_claim(op, i), op->drivers[op->driver_at]);
    return n;
}

static void on_prepared(const struct plugin_reply *reply, void *arg)
{
    struct dra_op *op = arg;
    const char *driver = op->drivers[op->driver_at];
    const Dra__V1__NodePrepareResourcesResponse *r = reply->msg;
    if (reply->code != 0) {
        dra_op_fail(op, reply->code, "NodePrepareResources: %s", reply->message);
        return;
    }
    for (size_t i = 0; i < r->n_claims; i++) {
        struct dra_claim *c = claim_by_uid(op, r->claims[i]->key);
        const Dra__V1__NodePrepareResourceResponse *x = r->claims[i]->value;
        if (c == NULL || !concerns(op, c, driver)) {
            dra_op_fail(op, E_INTERNAL,
                        "NodePrepareResources returned result for unknown claim UID %s",
                        r->claims[i]->key);
            return;
        }
        if (x != NULL && x->error[0] != '\0') {
            dra_op_fail(op, E_INTERNAL, "NodePrepareResources failed for ResourceClaim %s: %s",
                        c->name, x->error);
            return;
        }
        if (x != NULL)
            take_devices(dra_claim_driver(c, driver), x);
    }
    if (r->n_claims < asked_about(op)) {
        dra_op_fail(op, E_INTERNAL, "NodePrepareResources skipped %zu ResourceClaims",
                    asked_about(op) - r->n_claims);
        return;
    }
    op->driver_at++;
    ask_next(op);
}

static void on_unprepared(const struct plugin_reply *reply, void *arg)
{
    struct dra_op *op = arg;
    const Dra__V1__NodeUnprepareResourcesResponse *r = reply->msg;
    if (reply->code != 0) {
        dra_op_fail(op, reply->code, "NodeUnprepareResources: %s", reply->message);
        return;
    }
    for (size_t i = 0; i < r->n_claims; i++) {
        const struct dra_claim *c = claim_by_uid(op, r->claims[i]->key);
        const Dra__V1__NodeUnprepareResourceResponse *x = r->claims[i]->value;
        if (x == NULL || x->error[0] == '\0')
            continue;
        dra_op_fail(op, E_INTERNAL, "NodeUnprepareResources failed for ResourceClaim %s: %s",
                    c != NULL ? c->name : r->claims[i]->key, x->error);
        return;
    }
    if (r->n_claims < asked_about(op)) {
        dra_op_fail(op, E_INTERNAL, "NodeUnprepareResources skipped %zu ResourceClaims",
                    asked_about(op) - r->n_claims);
        return;
    }
    op->driver_at++;
    ask_next(op);
}

/* Both requests are lists of the same claims. */
static void ask(struct dra_op *op, struct csi_driver *driver)
{
    Dra__V1__NodePrepareResourcesRequest prepare = DRA__V1__NODE_PREPARE_RESOURCES_REQUEST__INIT;
    Dra__V1__NodeUnprepareResourcesRequest undo = DRA__V1__NODE_UNPREPARE_RESOURCES_REQUEST__INIT;
    Dra__V1__Claim **list = ARENA_ARRAY(op->arena, Dra__V1__Claim *, op->count + 1);
    size_t n = 0;
    for (size_t i = 0; i < op->count; i++) {
        const struct dra_claim *c = dra_op_claim(op, i);
        if (!concerns(op, c, op->drivers[op->driver_at]))
            continue;
        Dra__V1__Claim *x = ARENA_NEW(op->arena, Dra__V1__Claim);
        dra__v1__claim__init(x);
        x->namespace_ = c->namespace_name;
        x->uid = c->uid;
        x->name = c->name;
        list[n++] = x;
    }
    prepare.claims = undo.claims = list;
    prepare.n_claims = undo.n_claims = n;
    const char *method =
        str_c(arena_printf(op->arena, "/k8s.io.kubelet.pkg.apis.dra.%s.DRAPlugin/Node%sResources",
                           driver->dra_version, op->prepare ? "Prepare" : "Unprepare"));
    if (op->prepare)
        plugin_call(driver->client, method, &prepare,
                    &dra__v1__node_prepare_resources_response__descriptor, on_prepared, op);
    else
        plugin_call(driver->client, method, &undo,
                    &dra__v1__node_unprepare_resources_response__descriptor, on_unprepared, op);
}

static void on_all_saved(int code, const struct error *err, void *arg)
{
    struct dra_op *op = arg;
    if (code != 0)
        dra_op_fail(op, code, "checkpoint ResourceClaim state: %s", error_message(err));
    else
        dra_op_end(op, 0, NULL);
}

static void all_asked(struct dra_op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        struct dra_claim *c = dra_op_claim(op, i);
        if (c == NULL || !dra_claim_has_pod(c, op->uid))
            continue;
        if (op->prepare)
            c->prepared = true;
        else if (c->pod_count == 1)
            dra_state_remove(&op->dra->state, c);
        else
            dra_claim_drop_pod(c, op->uid);
    }
    file_saver_save_then(&op->dra->file, on_all_saved, op);
}

static void ask_next(struct dra_op *op)
{
    while (op->driver_at < op->driver_count && asked_about(op) == 0)
        op->driver_at++;
    if (op->driver_at == op->driver_count) {
        all_asked(op);
        return;
    }
    const char *name = op->drivers[op->driver_at];
    struct csi_driver *driver = dra_driver_find(op->dra->k->csi, name);
    if (driver == NULL)
        dra_op_fail(op, E_AGAIN, "DRA driver %s is not registered", name);
    else
        ask(op, driver);
}

/* Every driver of the op's claims once. */
static void collect_drivers(struct dra_op *op)
{
    size_t cap = 0;
    for (size_t i = 0; i < op->count; i++) {
        const struct dra_claim *c = dra_op_claim(op, i);
        for (size_t k = 0; c != NULL && k < c->driver_count; k++) {
            bool have = false;
            for (size_t n = 0; n < op->driver_count; n++)
                have |= strcmp(op->drivers[n], c->drivers[k].name) == 0;
            if (have)
                continue;
            op->drivers =
                arena_grow(op->arena, op->drivers, op->driver_count, &cap, sizeof(char *));
            op->drivers[op->driver_count++] = arena_strdup(op->arena, c->drivers[k].name);
        }
    }
}

void dra_ask(struct dra_op *op)
{
    collect_drivers(op);
    ask_next(op);
}
