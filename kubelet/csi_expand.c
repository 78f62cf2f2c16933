/* csi_expand.c - see csi_internal.h: a volume has grown, its file system follows, and its claim
 * says so. States, conditions and reasons are upstream's (KEP-1790).
 *
 *   claim: NodeResizeInProgress -> NodeExpandVolume -> claim: capacity, conditions gone
 *                                                   -> claim: NodeResizeInfeasible, NodeResizeError
 *
 * Who is stopped anywhere begins anew: drivers answer a size they have with success. */
#include "kubelet/csi_internal.h"

#include "kubelet/cri.h"
#include "kubelet/kubelet.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/client/client.h"
#include "lib/client/event_recorder.h"

#define CALL_TIMEOUT_MS 10000u
#define RESIZE_ERROR "NodeResizeError"

struct expansion {
    struct csi *csi;
    const struct csi_mount *m; /* Lives until done. */
    struct api_object *claim;  /* As last answered; NULL: as the plan has it. */
    int code;
    struct error err;
    void (*done)(int code, const struct error *err, void *arg);
    void *arg;
};

static void end(struct expansion *x)
{
    x->done(x->code, &x->err, x->arg);
    api_object_unref(x->claim);
    free(x);
}

static void end_with(struct expansion *x, int code, const char *what, const char *why)
{
    /* Somebody else wrote the claim first: with what it says now, soon. */
    x->code = error_set(&x->err, code == E_CONFLICT ? E_AGAIN : code, "%s: %s", what, why);
    end(x);
}

static void tell(const struct expansion *x, const char *type, const char *reason, const char *what)
{
    struct event_object about =
        event_object_from(api_kind_by_api_version(STR("v1"), STR("Pod")), x->m->pod);
    event_record(x->csi->k->events, &about, type, reason, "%s", what);
    about = event_object_from(api_kind_by_api_version(STR("v1"), STR("PersistentVolumeClaim")),
                              x->m->grown);
    event_record(x->csi->k->events, &about, type, reason, "%s", what);
}

/* --- the claim ------------------------------------------------------------------------------- */

/* state NULL: none any more. */
static void set_state(struct arena *a, struct core_v1_persistent_volume_claim_status *s,
                      const char *state)
{
    struct api_str_entry *all =
        ARENA_ARRAY(a, struct api_str_entry, s->allocated_resource_statuses_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->allocated_resource_statuses_count; i++)
        if (!str_eqc(s->allocated_resource_statuses[i].key, "storage"))
            all[n++] = s->allocated_resource_statuses[i];
    if (state != NULL)
        all[n++] = (struct api_str_entry){STR("storage"), str_of(state)};
    s->allocated_resource_statuses = all;
    s->allocated_resource_statuses_count = n;
}

/* Without what is said of a resize; error: the one condition that is, NULL: none. */
static void set_conditions(struct arena *a, struct core_v1_persistent_volume_claim_status *s,
                           bool finished, const char *error, int64_t now_ns)
{
    struct core_v1_persistent_volume_claim_condition *all =
        ARENA_ARRAY(a, struct core_v1_persistent_volume_claim_condition, s->conditions_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->conditions_count; i++) {
        struct str type = s->conditions[i].type;
        bool drop =
            str_eqc(type, RESIZE_ERROR) ||
            (finished && (str_eqc(type, "Resizing") || str_eqc(type, "FileSystemResizePending") ||
                          str_eqc(type, "ControllerResizeError")));
        if (!drop)
            all[n++] = s->conditions[i];
    }
    if (error != NULL)
        all[n++] = (struct core_v1_persistent_volume_claim_condition){.type = STR(RESIZE_ERROR),
                                                                      .status = STR("True"),
                                                                      .last_transition_time =
                                                                          time_from_ns(now_ns),
                                                                      .message = str_of(error)};
    s->conditions = all;
    s->conditions_count = n;
}

static void set_capacity(struct arena *a, struct core_v1_persistent_volume_claim_status *s,
                         struct str size)
{
    struct api_quantity_entry *all =
        ARENA_ARRAY(a, struct api_quantity_entry, s->capacity_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->capacity_count; i++)
        if (!str_eqc(s->capacity[i].key, "storage"))
            all[n++] = s->capacity[i];
    all[n++] = (struct api_quantity_entry){STR("storage"), {size}};
    s->capacity = all;
    s->capacity_count = n;
}

static const struct core_v1_persistent_volume_claim *claim_of(const struct expansion *x)
{
    return x->claim != NULL ? x->claim->msg : x->m->grown;
}

/* The version goes along: who reads an old claim writes nothing over a newer one. */
static void write_claim(struct expansion *x, const struct core_v1_persistent_volume_claim *c,
                        void (*done)(struct client_request *r, const struct client_result *result,
                                     void *arg))
{
    struct client_call call = {.verb = CLIENT_UPDATE,
                               .kind =
                                   api_kind_by_api_version(STR("v1"), STR("PersistentVolumeClaim")),
                               .namespace_name = c->metadata.namespace,
                               .name = c->metadata.name,
                               .subresource = "status",
                               .body = c,
                               .timeout_ms = CALL_TIMEOUT_MS,
                               .done = done,
                               .arg = x};
    struct error err;
    if (client_start(x->csi->k->client, &call, NULL, &err) != 0)
        end_with(x, err.code, "status of the claim", error_message(&err));
}

static void on_finished(struct client_request *r, const struct client_result *result, void *arg)
{
    struct expansion *x = arg;
    UNUSED(r);
    if (result->code != 0)
        end_with(x, result->code, "status of the claim after NodeExpandVolume", result->message);
    else
        end(x);
}

static void write_success(struct expansion *x)
{
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_persistent_volume_claim c = *claim_of(x);
    AUTO_FREE char *text = xasprintf("MountVolume.NodeExpandVolume succeeded for volume \"%s\" %s",
                                     x->m->pv_name, x->csi->k->node_name);
    set_state(a, &c.status, NULL);
    set_conditions(a, &c.status, true, NULL, 0);
    set_capacity(a, &c.status, x->m->grow_size);
    tell(x, EVENT_NORMAL, "FileSystemResizeSuccessful", text);
    write_claim(x, &c, on_finished);
}

/* Asking again would not help: the user has to change the size that is wanted. */
static void write_failure(struct expansion *x, const char *message)
{
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_persistent_volume_claim c = *claim_of(x);
    set_state(a, &c.status, "NodeResizeInfeasible");
    set_conditions(a, &c.status, false, message, (int64_t)kubelet_wall_s(x->csi->k) * 1000000000);
    write_claim(x, &c, on_finished);
}

/* --- the driver ------------------------------------------------------------------------------ */

static void on_expanded(const struct plugin_reply *reply, void *arg)
{
    struct expansion *x = arg;
    if (reply->code == 0) {
        write_success(x);
        return;
    }
    AUTO_FREE char *text =
        xasprintf("MountVolume.NodeExpandVolume failed for volume \"%s\" to %lld bytes: %s",
                  x->m->pv_name, (long long)x->m->grow_bytes, reply->message);
    tell(x, EVENT_WARNING, "FileSystemResizeFailed", text);
    /* InvalidArgument, OutOfRange, NotFound: what upstream takes for final. */
    if (reply->code == E_INVALID || reply->code == E_NOT_FOUND)
        write_failure(x, reply->message);
    else
        end_with(x, reply->code, "NodeExpandVolume", reply->message);
}

static void ask(struct expansion *x)
{
    const struct csi_mount *m = x->m;
    const struct csi_driver *d = csi_driver_find(x->csi, m->driver);
    if (d == NULL) {
        end_with(x, E_UNAVAILABLE, "NodeExpandVolume", "the driver has gone");
        return;
    }
    AUTO_ARENA *a = arena_new(0);
    Csi__V1__NodeExpandVolumeRequest *r =
        cri_new_message(a, &csi__v1__node_expand_volume_request__descriptor);
    Csi__V1__CapacityRange range = CSI__V1__CAPACITY_RANGE__INIT;
    range.required_bytes = m->grow_bytes;
    r->volume_id = (char *)(uintptr_t)m->handle;
    r->volume_path = (char *)(uintptr_t)m->target;
    if (d->stages)
        r->staging_target_path = (char *)(uintptr_t)m->stage;
    r->capacity_range = &range;
    r->volume_capability = csi_capability(a, d, m);
    for (size_t i = 0; i < m->expand_secrets.count; i++)
        cri_map_add(a, &csi__v1__node_expand_volume_request__secrets_entry__descriptor, &r->secrets,
                    &r->n_secrets, m->expand_secrets.items[i].key,
                    m->expand_secrets.items[i].value);
    plugin_call(d->client, "/csi.v1.Node/NodeExpandVolume", r,
                &csi__v1__node_expand_volume_response__descriptor, on_expanded, x);
}

static void on_begun(struct client_request *r, const struct client_result *result, void *arg)
{
    struct expansion *x = arg;
    UNUSED(r);
    if (result->code != 0) {
        end_with(x, result->code, "status of the claim before NodeExpandVolume", result->message);
        return;
    }
    x->claim = api_object_ref(result->object);
    ask(x);
}

void csi_expand(struct csi *c, const struct csi_mount *m,
                void (*done)(int code, const struct error *err, void *arg), void *arg)
{
    struct expansion *x = xzalloc(sizeof(*x));
    *x = (struct expansion){.csi = c, .m = m, .done = done, .arg = arg};
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_persistent_volume_claim claim = *m->grown;
    set_state(a, &claim.status, "NodeResizeInProgress");
    write_claim(x, &claim, on_begun);
}
