/* dra.c - see dra.h: operations on the claims of a pod.
 *
 *   prepare:   claims read -> remembered, saved -> drivers asked -> saved, done
 *   unprepare: drivers told, of claims that no other pod needs -> forgotten, saved
 *
 * What concerns one claim happens one after the other, in the order asked. */
#include "kubelet/dra_internal.h"

#include "kubelet/csi_internal.h"
#include "kubelet/kubelet.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/client/client.h"

#include <stdarg.h>
#include <stdio.h>

#define STATE_BYTES_MAX ((size_t)16 << 20)

static void write_state(const void *state, struct buf *out)
{
    dra_state_write(state, out);
}

struct dra *dra_new(struct kubelet *k)
{
    struct dra *d = xzalloc(sizeof(*d));
    AUTO_BUF text = BUF_INIT;
    struct error err = {0};
    d->k = k;
    file_saver_init(&d->file, k->loop, xasprintf("%s/dra_manager_state", k->config.root_dir),
                    write_state, &d->state);
    dra_state_init(&d->state);
    list_init(&d->ops);
    list_init(&d->gone);
    dra_health_init(&d->health);
    uv_timer_init(k->loop, &d->health_timer);
    d->health_timer.data = d;
    int rc = file_read(d->file.path, STATE_BYTES_MAX, &text, &err);
    if (rc == 0)
        rc = dra_state_read(&d->state, buf_str(&text), &err);
    if (rc != 0 && rc != E_NOT_FOUND)
        log_warning("%s: %s: claims of earlier pods are not known", d->file.path,
                    error_message(&err));
    return d;
}

/* --- operations --------------------------------------------------------------------------------
 */

static void op_run(struct dra_op *op);

static bool touches(const struct dra_op *op, const struct dra_op *other)
{
    if (!str_eq(op->namespace_name, other->namespace_name))
        return false;
    for (size_t i = 0; i < op->count; i++)
        for (size_t k = 0; k < other->count; k++)
            if (str_eq(op->claims[i].name, other->claims[k].name))
                return true;
    return false;
}

static bool has_to_wait(const struct dra_op *op)
{
    LIST_FOREACH (it, &op->dra->ops) {
        const struct dra_op *other = LIST_ENTRY(it, struct dra_op, link);
        if (other == op)
            return false;
        if (touches(op, other))
            return true;
    }
    return false;
}

static struct dra_op *runnable(const struct dra *d)
{
    LIST_FOREACH (it, &d->ops) {
        struct dra_op *op = LIST_ENTRY(it, struct dra_op, link);
        if (!op->running && !has_to_wait(op))
            return op;
    }
    return NULL;
}

static void run_waiting(struct dra *d)
{
    for (struct dra_op *op; (op = runnable(d)) != NULL;) {
        op->running = true;
        op_run(op);
    }
}

void dra_op_end(struct dra_op *op, int code, const struct error *err)
{
    struct dra *d = op->dra;
    void (*done)(int, const struct error *, void *) = op->done;
    void *arg = op->arg;
    struct error kept = {0};
    if (err != NULL)
        kept = *err;
    if (code != 0)
        error_prefix(&kept, "%s dynamic resources", op->prepare ? "prepare" : "unprepare");
    list_remove(&op->link);
    for (size_t i = 0; i < op->count; i++)
        api_object_unref(op->claims[i].object);
    api_object_unref(op->pod);
    arena_free(op->arena);
    free(op);
    done(code, &kept, arg);
    run_waiting(d);
}

void dra_op_fail(struct dra_op *op, int code, const char *fmt, ...)
{
    struct error err;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dra_op_end(op, code, (error_set(&err, code, "%s", text), &err));
}

static struct dra_op *op_new(struct dra *d, bool prepare, struct str uid,
                             void (*done)(int code, const struct error *err, void *arg), void *arg)
{
    struct dra_op *op = xzalloc(sizeof(*op));
    *op = (struct dra_op){.dra = d, .prepare = prepare, .done = done, .arg = arg};
    op->arena = arena_new(0);
    op->uid = arena_str(op->arena, uid);
    list_push_back(&d->ops, &op->link);
    return op;
}

/* --- preparing ----------------------------------------------------------------------------------
 */

static void on_remembered(int code, const struct error *err, void *arg)
{
    struct dra_op *op = arg;
    if (code != 0) {
        dra_op_fail(op, code, "checkpoint ResourceClaim cache: %s", error_message(err));
        return;
    }
    dra_ask(op);
}

/* All claims are there, and their drivers: from now on something may be prepared. */
static void remember(struct dra_op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        const struct resource_v1_resource_claim *from = op->claims[i].object->msg;
        struct dra_claim *c = dra_op_claim(op, i);
        if (c == NULL)
            c = dra_state_add(&op->dra->state, from);
        if (!str_eqc(from->metadata.uid, c->uid)) {
            dra_op_fail(op, E_CONFLICT,
                        "old ResourceClaim with same name %s and different UID %s still exists "
                        "(previous pod force-deleted?!)",
                        c->name, c->uid);
            return;
        }
        dra_claim_add_pod(c, op->uid);
    }
    file_saver_save_then(&op->dra->file, on_remembered, op);
}

static bool reserved(const struct resource_v1_resource_claim *c, struct str uid)
{
    for (size_t i = 0; i < c->status.reserved_for_count; i++)
        if (str_eq(c->status.reserved_for[i].uid, uid))
            return true;
    return false;
}

static bool owned(const struct resource_v1_resource_claim *c, struct str uid)
{
    for (size_t i = 0; i < c->metadata.owner_references_count; i++)
        if (c->metadata.owner_references[i].controller)
            return str_eq(c->metadata.owner_references[i].uid, uid);
    return false;
}

/* False: the op has ended. */
static bool check_claim(struct dra_op *op, const struct wanted_claim *x)
{
    const struct core_v1_pod *pod = op->pod->msg;
    const struct resource_v1_resource_claim *c = x->object->msg;
    const struct resource_v1_allocation_result *a = c->status.allocation;
    if (x->made_for_pod && !owned(c, op->uid)) {
        dra_op_fail(op, E_CONFLICT,
                    "ResourceClaim " STR_FMT "/" STR_FMT " was not created for Pod " STR_FMT
                    "/" STR_FMT " (Pod is not owner)",
                    STR_ARG(op->namespace_name), STR_ARG(x->name), STR_ARG(op->namespace_name),
                    STR_ARG(pod->metadata.name));
        return false;
    }
    if (!reserved(c, op->uid)) {
        dra_op_fail(op, E_FORBIDDEN,
                    "pod " STR_FMT " (" STR_FMT ") is not allowed to use ResourceClaim " STR_FMT
                    " (" STR_FMT ")",
                    STR_ARG(pod->metadata.name), STR_ARG(op->uid), STR_ARG(x->name),
                    STR_ARG(c->metadata.uid));
        return false;
    }
    if (a == NULL) {
        dra_op_fail(op, E_CONFLICT, "ResourceClaim " STR_FMT ": not allocated", STR_ARG(x->name));
        return false;
    }
    for (size_t i = 0; i < a->devices.results_count; i++) {
        struct str driver = a->devices.results[i].driver;
        if (dra_driver_find(op->dra->k->csi, str_c(arena_str(op->arena, driver))) != NULL)
            continue;
        dra_op_fail(op, E_AGAIN, "DRA driver " STR_FMT " is not registered", STR_ARG(driver));
        return false;
    }
    return true;
}

static void read_next(struct dra_op *op);

static void on_claim(struct client_request *r, const struct client_result *result, void *arg)
{
    struct dra_op *op = arg;
    struct wanted_claim *x = &op->claims[op->at];
    UNUSED(r);
    if (result->code != 0 || result->object == NULL) {
        dra_op_fail(op, result->code != 0 ? result->code : E_INTERNAL,
                    "fetch ResourceClaim " STR_FMT ": %s", STR_ARG(x->name), result->message);
        return;
    }
    x->object = api_object_ref(result->object);
    if (!check_claim(op, x))
        return;
    op->at++;
    read_next(op);
}

static void read_next(struct dra_op *op)
{
    if (op->at == op->count) {
        remember(op);
        return;
    }
    struct client_call call = {
        .verb = CLIENT_GET,
        .kind = api_kind_by_gvk(STR("resource.k8s.io"), STR("v1"), STR("ResourceClaim")),
        .namespace_name = op->namespace_name,
        .name = op->claims[op->at].name,
        .timeout_ms = 10000,
        .done = on_claim,
        .arg = op};
    struct error err = {0};
    if (op->dra->k->client == NULL)
        dra_op_fail(op, E_NOT_IMPLEMENTED, "there is no API server to ask for ResourceClaims");
    else if (client_start(op->dra->k->client, &call, NULL, &err) != 0)
        dra_op_fail(op, err.code, "fetch ResourceClaim: %s", error_message(&err));
}

/* Nothing needs to be asked: as after the first time. */
static bool all_prepared(const struct dra_op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        const struct dra_claim *c = dra_op_claim(op, i);
        if (c == NULL || !c->prepared || !dra_claim_has_pod(c, op->uid))
            return false;
    }
    return true;
}

static void op_run(struct dra_op *op)
{
    if (!op->prepare) {
        dra_ask(op);
    } else if (all_prepared(op)) {
        dra_op_end(op, 0, NULL);
    } else {
        read_next(op);
    }
}

void dra_prepare(struct dra *d, struct api_object *o,
                 void (*done)(int code, const struct error *err, void *arg), void *arg)
{
    const struct core_v1_pod *pod = o->msg;
    struct error err = {0};
    const struct core_v1_pod_extended_resource_claim_status *extended =
        pod->status.extended_resource_claim_status;
    if (pod->spec.resource_claims_count == 0 && extended == NULL) {
        done(0, &err, arg);
        return;
    }
    struct dra_op *op = op_new(d, true, pod->metadata.uid, done, arg);
    op->pod = api_object_ref(o);
    op->namespace_name = pod->metadata.namespace;
    op->claims = ARENA_ARRAY(op->arena, struct wanted_claim, pod->spec.resource_claims_count + 1);
    for (size_t i = 0; i < pod->spec.resource_claims_count; i++) {
        const struct core_v1_pod_resource_claim *x = &pod->spec.resource_claims[i];
        struct str name;
        if (dra_claim_name(pod, x, &name, &err) != 0) {
            dra_op_end(op, err.code, &err);
            return;
        }
        if (!str_empty(name))
            op->claims[op->count++] = (struct wanted_claim){
                .name = arena_str(op->arena, name), .made_for_pod = !x->has_resource_claim_name};
    }
    if (extended != NULL)
        op->claims[op->count++] = (struct wanted_claim){
            .name = arena_str(op->arena, extended->resource_claim_name), .made_for_pod = true};
    run_waiting(d);
}

/* --- giving back --------------------------------------------------------------------------------
 */

void dra_unprepare(struct dra *d, struct str pod_uid,
                   void (*done)(int code, const struct error *err, void *arg), void *arg)
{
    struct dra_op *op = op_new(d, false, pod_uid, done, arg);
    size_t pos = 0, cap = 0;
    void *v;
    while (map_next(&d->state.claims, &pos, NULL, &v)) {
        const struct dra_claim *c = v;
        if (!dra_claim_has_pod(c, pod_uid))
            continue;
        op->namespace_name = arena_strc(op->arena, c->namespace_name);
        op->claims = arena_grow(op->arena, op->claims, op->count, &cap, sizeof(*op->claims));
        op->claims[op->count++].name = arena_strc(op->arena, c->name);
    }
    if (op->count == 0)
        dra_op_end(op, 0, NULL);
    else
        run_waiting(d);
}

static void on_reconciled(int code, const struct error *err, void *arg)
{
    UNUSED(arg);
    if (code != 0)
        log_info("claims of a pod that is gone: %s, tried again", error_message(err));
}

void dra_reconcile(struct dra *d)
{
    AUTO_ARENA *a = arena_new(0);
    struct str *lost = NULL;
    size_t pos = 0, count = 0, cap = 0;
    void *v;
    if (!d->k->sources_ready)
        return;
    while (map_next(&d->state.claims, &pos, NULL, &v)) {
        const struct dra_claim *c = v;
        for (size_t i = 0; i < c->pod_count; i++) {
            if (map_has(&d->k->workers, str_of(c->pods[i])))
                continue;
            lost = arena_grow(a, lost, count, &cap, sizeof(*lost));
            lost[count++] = arena_strc(a, c->pods[i]);
        }
    }
    for (size_t i = 0; i < count; i++)
        dra_unprepare(d, lost[i], on_reconciled, NULL);
}
