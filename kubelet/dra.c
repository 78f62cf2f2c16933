/* dra.c - see dra.h: operations on the claims of a pod.
 *
 *   prepare:   claims read -> remembered, saved -> drivers asked -> saved, done
 *   unprepare: drivers told, of claims that no other pod needs -> forgotten, saved
 *
 * What concerns one claim happens one after the other, in the order asked. */
#include "kubelet/dra.h"

#include "kubelet/csi_internal.h"
#include "kubelet/dra_state.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/client/client.h"
#include "pb/csi/dra_v1.pb-c.h"

#include <stdarg.h>
#include <stdio.h>

#define STATE_BYTES_MAX ((size_t)16 << 20)
#define WIPE_DELAY_MS 30000u /* Upstream's: long enough for a driver to be replaced. */
#define RECONCILE_MS 60000u

struct wanted_claim {
    struct str name; /* In the op's arena. */
    bool made_for_pod;
    struct api_object *object; /* Once read; one reference. */
};

struct dra_op {
    struct list link; /* In dra.ops, oldest first. */
    struct dra *dra;
    struct arena *arena;
    bool prepare, running;
    struct api_object *pod; /* Of prepare; one reference. */
    struct str namespace_name, uid;
    struct wanted_claim *claims;
    size_t count, at;
    const char **drivers; /* To be asked. */
    size_t driver_count, driver_at;
    void (*done)(int code, const struct error *err, void *arg);
    void *arg;
};

/* A driver that went. */
struct gone {
    struct list link; /* In dra.gone */
    char *driver;
    uint64_t due_ms;
};

struct dra {
    struct kubelet *k;
    struct dra_state state;
    struct list ops;
    struct list gone;
    char *path;
    bool saving;
    struct list savers; /* struct saver: wait for what they changed to be on disk. */
    uv_timer_t timer;
};

struct saver {
    struct list link;
    bool covered; /* By the write under way. */
    void (*saved)(struct dra_op *op, int code, const struct error *err);
    struct dra_op *op;
};

struct dra *dra_new(struct kubelet *k)
{
    struct dra *d = xzalloc(sizeof(*d));
    AUTO_BUF text = BUF_INIT;
    struct error err = {0};
    d->k = k;
    d->path = xasprintf("%s/dra_manager_state", k->config.root_dir);
    dra_state_init(&d->state);
    list_init(&d->ops);
    list_init(&d->gone);
    list_init(&d->savers);
    int rc = file_read(d->path, STATE_BYTES_MAX, &text, &err);
    if (rc == 0)
        rc = dra_state_read(&d->state, buf_str(&text), &err);
    if (rc != 0 && rc != E_NOT_FOUND)
        log_warning("%s: %s: claims of earlier pods are not known", d->path, error_message(&err));
    return d;
}

/* --- saving ------------------------------------------------------------------------------------
 */

struct save {
    struct dra *dra;
    struct buf text;
    int code;
    struct error err;
};

static void save_start(struct dra *d);

static void run_save(void *arg)
{
    struct save *s = arg;
    s->code = file_write_atomic(s->dra->path, s->text.data, s->text.len, 0600, &s->err);
}

static void on_saved(void *arg)
{
    struct save *s = arg;
    struct dra *d = s->dra;
    struct list ready;
    list_init(&ready);
    d->saving = false;
    LIST_FOREACH_SAFE (it, &d->savers) {
        if (!LIST_ENTRY(it, struct saver, link)->covered)
            continue;
        list_remove(it);
        list_push_back(&ready, it);
    }
    if (!list_empty(&d->savers))
        save_start(d);
    for (struct list *n; (n = list_pop_front(&ready)) != NULL;) {
        struct saver *x = LIST_ENTRY(n, struct saver, link);
        x->saved(x->op, s->code, &s->err);
        free(x);
    }
    buf_done(&s->text);
    free(s);
}

static void save_start(struct dra *d)
{
    struct save *s = xzalloc(sizeof(*s));
    s->dra = d;
    dra_state_write(&d->state, &s->text);
    d->saving = true;
    LIST_FOREACH (it, &d->savers)
        LIST_ENTRY(it, struct saver, link)->covered = true;
    job_start(d->k->loop, run_save, on_saved, s);
}

/* saved runs when all that the state holds now is on disk. */
static void save(struct dra_op *op,
                 void (*saved)(struct dra_op *op, int code, const struct error *err))
{
    struct dra *d = op->dra;
    struct saver *x = xzalloc(sizeof(*x));
    *x = (struct saver){.saved = saved, .op = op};
    list_push_back(&d->savers, &x->link);
    if (!d->saving)
        save_start(d);
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

static void op_end(struct dra_op *op, int code, const struct error *err)
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

static void op_fail(struct dra_op *op, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void op_fail(struct dra_op *op, int code, const char *fmt, ...)
{
    struct error err;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    op_end(op, code, (error_set(&err, code, "%s", text), &err));
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

static struct dra_claim *known(const struct dra_op *op, size_t i)
{
    return dra_state_find(&op->dra->state, op->namespace_name, op->claims[i].name);
}

/* --- asking drivers -----------------------------------------------------------------------------
 */

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
        struct dra_claim *c = known(op, i);
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
        n += concerns(op, known(op, i), op->drivers[op->driver_at]);
    return n;
}

static void on_prepared(const struct plugin_reply *reply, void *arg)
{
    struct dra_op *op = arg;
    const char *driver = op->drivers[op->driver_at];
    const Dra__V1__NodePrepareResourcesResponse *r = reply->msg;
    if (reply->code != 0) {
        op_fail(op, reply->code, "NodePrepareResources: %s", reply->message);
        return;
    }
    for (size_t i = 0; i < r->n_claims; i++) {
        struct dra_claim *c = claim_by_uid(op, r->claims[i]->key);
        const Dra__V1__NodePrepareResourceResponse *x = r->claims[i]->value;
        if (c == NULL || !concerns(op, c, driver)) {
            op_fail(op, E_INTERNAL, "NodePrepareResources returned result for unknown claim UID %s",
                    r->claims[i]->key);
            return;
        }
        if (x != NULL && x->error[0] != '\0') {
            op_fail(op, E_INTERNAL, "NodePrepareResources failed for ResourceClaim %s: %s", c->name,
                    x->error);
            return;
        }
        if (x != NULL)
            take_devices(dra_claim_driver(c, driver), x);
    }
    if (r->n_claims < asked_about(op)) {
        op_fail(op, E_INTERNAL, "NodePrepareResources skipped %zu ResourceClaims",
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
        op_fail(op, reply->code, "NodeUnprepareResources: %s", reply->message);
        return;
    }
    for (size_t i = 0; i < r->n_claims; i++) {
        const struct dra_claim *c = claim_by_uid(op, r->claims[i]->key);
        const Dra__V1__NodeUnprepareResourceResponse *x = r->claims[i]->value;
        if (x == NULL || x->error[0] == '\0')
            continue;
        op_fail(op, E_INTERNAL, "NodeUnprepareResources failed for ResourceClaim %s: %s",
                c != NULL ? c->name : r->claims[i]->key, x->error);
        return;
    }
    if (r->n_claims < asked_about(op)) {
        op_fail(op, E_INTERNAL, "NodeUnprepareResources skipped %zu ResourceClaims",
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
        const struct dra_claim *c = known(op, i);
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

static void on_all_saved(struct dra_op *op, int code, const struct error *err)
{
    if (code != 0)
        op_fail(op, code, "checkpoint ResourceClaim state: %s", error_message(err));
    else
        op_end(op, 0, NULL);
}

static void all_asked(struct dra_op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        struct dra_claim *c = known(op, i);
        if (c == NULL || !dra_claim_has_pod(c, op->uid))
            continue;
        if (op->prepare)
            c->prepared = true;
        else if (c->pod_count == 1)
            dra_state_remove(&op->dra->state, c);
        else
            dra_claim_drop_pod(c, op->uid);
    }
    save(op, on_all_saved);
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
        op_fail(op, E_AGAIN, "DRA driver %s is not registered", name);
    else
        ask(op, driver);
}

/* Every driver of the op's claims once. */
static void collect_drivers(struct dra_op *op)
{
    size_t cap = 0;
    for (size_t i = 0; i < op->count; i++) {
        const struct dra_claim *c = known(op, i);
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

/* --- preparing ----------------------------------------------------------------------------------
 */

static void on_remembered(struct dra_op *op, int code, const struct error *err)
{
    if (code != 0) {
        op_fail(op, code, "checkpoint ResourceClaim cache: %s", error_message(err));
        return;
    }
    collect_drivers(op);
    ask_next(op);
}

/* All claims are there, and their drivers: from now on something may be prepared. */
static void remember(struct dra_op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        const struct resource_v1_resource_claim *from = op->claims[i].object->msg;
        struct dra_claim *c = known(op, i);
        if (c == NULL)
            c = dra_state_add(&op->dra->state, from);
        if (!str_eqc(from->metadata.uid, c->uid)) {
            op_fail(op, E_CONFLICT,
                    "old ResourceClaim with same name %s and different UID %s still exists "
                    "(previous pod force-deleted?!)",
                    c->name, c->uid);
            return;
        }
        dra_claim_add_pod(c, op->uid);
    }
    save(op, on_remembered);
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
        op_fail(op, E_CONFLICT,
                "ResourceClaim " STR_FMT "/" STR_FMT " was not created for Pod " STR_FMT "/" STR_FMT
                " (Pod is not owner)",
                STR_ARG(op->namespace_name), STR_ARG(x->name), STR_ARG(op->namespace_name),
                STR_ARG(pod->metadata.name));
        return false;
    }
    if (!reserved(c, op->uid)) {
        op_fail(op, E_FORBIDDEN,
                "pod " STR_FMT " (" STR_FMT ") is not allowed to use ResourceClaim " STR_FMT
                " (" STR_FMT ")",
                STR_ARG(pod->metadata.name), STR_ARG(op->uid), STR_ARG(x->name),
                STR_ARG(c->metadata.uid));
        return false;
    }
    if (a == NULL) {
        op_fail(op, E_CONFLICT, "ResourceClaim " STR_FMT ": not allocated", STR_ARG(x->name));
        return false;
    }
    for (size_t i = 0; i < a->devices.results_count; i++) {
        struct str driver = a->devices.results[i].driver;
        if (dra_driver_find(op->dra->k->csi, str_c(arena_str(op->arena, driver))) != NULL)
            continue;
        op_fail(op, E_AGAIN, "DRA driver " STR_FMT " is not registered", STR_ARG(driver));
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
        op_fail(op, result->code != 0 ? result->code : E_INTERNAL,
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
        op_fail(op, E_NOT_IMPLEMENTED, "there is no API server to ask for ResourceClaims");
    else if (client_start(op->dra->k->client, &call, NULL, &err) != 0)
        op_fail(op, err.code, "fetch ResourceClaim: %s", error_message(&err));
}

/* Nothing needs to be asked: as after the first time. */
static bool all_prepared(const struct dra_op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        const struct dra_claim *c = known(op, i);
        if (c == NULL || !c->prepared || !dra_claim_has_pod(c, op->uid))
            return false;
    }
    return true;
}

static void op_run(struct dra_op *op)
{
    if (!op->prepare) {
        collect_drivers(op);
        ask_next(op);
    } else if (all_prepared(op)) {
        op_end(op, 0, NULL);
    } else {
        read_next(op);
    }
}

/* The claim behind an entry of the pod. 0: *ret is empty when none is needed. */
static int claim_name(const struct core_v1_pod *pod, const struct core_v1_pod_resource_claim *x,
                      struct str *ret, struct error *err)
{
    *ret = x->resource_claim_name;
    if (x->has_resource_claim_name)
        return 0;
    for (size_t i = 0; i < pod->status.resource_claim_statuses_count; i++) {
        const struct core_v1_pod_resource_claim_status *s = &pod->status.resource_claim_statuses[i];
        if (!str_eq(s->name, x->name))
            continue;
        *ret = s->has_resource_claim_name ? s->resource_claim_name : STR_NULL;
        return 0;
    }
    return error_set(err, E_AGAIN, "pod \"" STR_FMT "/" STR_FMT "\": ResourceClaim not created yet",
                     STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name));
}

void dra_prepare(struct dra *d, struct api_object *o,
                 void (*done)(int code, const struct error *err, void *arg), void *arg)
{
    const struct core_v1_pod *pod = o->msg;
    struct error err = {0};
    if (pod->spec.resource_claims_count == 0) {
        done(0, &err, arg);
        return;
    }
    struct dra_op *op = op_new(d, true, pod->metadata.uid, done, arg);
    op->pod = api_object_ref(o);
    op->namespace_name = pod->metadata.namespace;
    op->claims = ARENA_ARRAY(op->arena, struct wanted_claim, pod->spec.resource_claims_count);
    for (size_t i = 0; i < pod->spec.resource_claims_count; i++) {
        const struct core_v1_pod_resource_claim *x = &pod->spec.resource_claims[i];
        struct str name;
        if (claim_name(pod, x, &name, &err) != 0) {
            op_end(op, err.code, &err);
            return;
        }
        if (!str_empty(name))
            op->claims[op->count++] = (struct wanted_claim){
                .name = arena_str(op->arena, name), .made_for_pod = !x->has_resource_claim_name};
    }
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
        op_end(op, 0, NULL);
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

/* --- for the runtime -----------------------------------------------------------------------------
 */

int dra_devices(const struct dra *d, struct arena *a, const struct core_v1_pod *pod,
                const struct core_v1_container *c, const char *const **ret, size_t *ret_count,
                struct error *err)
{
    const char **list = NULL;
    size_t cap = 0;
    *ret_count = 0;
    for (size_t i = 0; i < c->resources.claims_count; i++) {
        const struct core_v1_resource_claim *want = &c->resources.claims[i];
        for (size_t k = 0; k < pod->spec.resource_claims_count; k++) {
            struct str name = STR_NULL;
            if (!str_eq(pod->spec.resource_claims[k].name, want->name))
                continue;
            int rc = claim_name(pod, &pod->spec.resource_claims[k], &name, err);
            if (rc != 0)
                return rc;
            const struct dra_claim *x =
                str_empty(name) ? NULL : dra_state_find(&d->state, pod->metadata.namespace, name);
            if (x == NULL && !str_empty(name))
                return error_set(
                    err, E_NOT_FOUND,
                    "internal error: unable to get claim info for ResourceClaim " STR_FMT
                    " in namespace " STR_FMT,
                    STR_ARG(name), STR_ARG(pod->metadata.namespace));
            if (x != NULL)
                dra_claim_cdi(x, a, want->request, &list, ret_count, &cap);
        }
    }
    *ret = list;
    return 0;
}

/* --- slices --------------------------------------------------------------------------------------
 */

/* driver NULL: of all. */
static void wipe(struct dra *d, const char *driver)
{
    AUTO_ARENA *a = arena_new(0);
    struct str selector = arena_printf(a, "spec.nodeName=%s", d->k->node_name);
    if (driver != NULL)
        selector = arena_printf(a, STR_FMT ",spec.driver=%s", STR_ARG(selector), driver);
    struct client_call call = {
        .verb = CLIENT_DELETE_COLLECTION,
        .kind = api_kind_by_gvk(STR("resource.k8s.io"), STR("v1"), STR("ResourceSlice")),
        .list = {.field_selector = selector},
        .undecoded = true};
    struct error err = {0};
    if (d->k->client == NULL)
        return;
    log_info("removing the ResourceSlices of %s", driver != NULL ? driver : "this node");
    if (client_start(d->k->client, &call, NULL, &err) != 0)
        log_warning("ResourceSlices: %s", error_message(&err));
}

static void on_timer(uv_timer_t *t)
{
    struct dra *d = t->data;
    uint64_t now = kubelet_now_ms(d->k), next = now + RECONCILE_MS;
    LIST_FOREACH_SAFE (it, &d->gone) {
        struct gone *g = LIST_ENTRY(it, struct gone, link);
        bool back = dra_driver_find(d->k->csi, g->driver) != NULL;
        if (!back && g->due_ms > now) {
            next = MIN_OF(next, g->due_ms);
            continue;
        }
        if (!back)
            wipe(d, g->driver);
        list_remove(it);
        free(g->driver);
        free(g);
    }
    dra_reconcile(d);
    uv_timer_start(&d->timer, on_timer, next - now, 0);
}

void dra_driver_gone(struct dra *d, const char *driver)
{
    struct gone *g = xzalloc(sizeof(*g));
    g->driver = xstrdup(driver);
    g->due_ms = kubelet_now_ms(d->k) + WIPE_DELAY_MS;
    list_push_back(&d->gone, &g->link);
    uv_timer_start(&d->timer, on_timer, WIPE_DELAY_MS, 0);
}

/* None of the drivers can be used before it is registered: no pod is to come for them until then.
 */
void dra_start(struct dra *d)
{
    uv_timer_init(d->k->loop, &d->timer);
    d->timer.data = d;
    wipe(d, NULL);
    uv_timer_start(&d->timer, on_timer, RECONCILE_MS, 0);
}
