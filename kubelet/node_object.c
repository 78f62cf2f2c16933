/* node_object.c - see node_object.h. */
#include "kubelet/node_object.h"

#include "kubelet/device_manager.h"
#include "kubelet/pod_support.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

#include "api/core_v1.h"

#include <stdio.h>

#define IMAGES_MAX 50
#define IMAGE_NAMES_MAX 5
/* What upstream's default eviction thresholds keep free. */

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

static int by_resource(const void *x, const void *y)
{
    return str_cmp(((const struct api_quantity_entry *)x)->key,
                   ((const struct api_quantity_entry *)y)->key);
}

static int labels(struct arena *a, const struct node_inputs *in, struct meta_v1_object_meta *m,
                  struct error *err)
{
    struct api_str_entry base[] = {
        {STR("beta.kubernetes.io/arch"), str_of(in->machine->architecture)},
        {STR("beta.kubernetes.io/os"), STR("linux")},
        {STR("kubernetes.io/arch"), str_of(in->machine->architecture)},
        {STR("kubernetes.io/hostname"), str_of(in->node_name)},
        {STR("kubernetes.io/os"), STR("linux")},
    };
    m->labels = ARENA_ARRAY(a, struct api_str_entry, ARRAY_SIZE(base) + in->labels->count);
    memcpy(m->labels, base, sizeof(base));
    m->labels_count = ARRAY_SIZE(base);
    for (size_t i = 0; i < in->labels->count; i++) {
        struct str key, value;
        if (!str_cut(str_of(in->labels->items[i]), '=', &key, &value) || str_empty(key))
            return error_set(err, E_INVALID, "--node-labels: '%s' is not of the form key=value",
                             in->labels->items[i]);
        size_t at = 0;
        while (at < m->labels_count && !str_eq(m->labels[at].key, key))
            at++;
        m->labels[at] = (struct api_str_entry){key, value};
        m->labels_count = MAX_OF(m->labels_count, at + 1);
    }
    qsort(m->labels, m->labels_count, sizeof(*m->labels), by_key);
    return 0;
}

static int taints(struct arena *a, const struct node_inputs *in, struct core_v1_node_spec *s,
                  struct error *err)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute"};
    s->taints = ARENA_ARRAY(a, struct core_v1_taint, in->taints->count + 1);
    for (size_t i = 0; i < in->taints->count; i++) {
        struct str text = str_of(in->taints->items[i]), key, effect;
        bool known = false;
        str_cut(text, ':', &key, &effect);
        for (size_t k = 0; k < ARRAY_SIZE(effects); k++)
            known = known || str_eqc(effect, effects[k]);
        if (!known)
            return error_set(err, E_INVALID,
                             "--register-with-taints: '%s' is not of the form key=value:effect",
                             in->taints->items[i]);
        struct core_v1_taint *t = &s->taints[s->taints_count++];
        str_cut(key, '=', &t->key, &t->value);
        t->effect = effect;
    }
    return 0;
}

/* --- resources -------------------------------------------------------------------- */

static void add(struct arena *a, struct api_quantity_entry *list, size_t *count, struct str key,
                int64_t value, enum quantity_format format)
{
    struct quantity q = quantity_from_int(value, format);
    list[*count].key = key;
    quantity_store(a, &q, &list[(*count)++].value);
}

static void add_milli(struct arena *a, struct api_quantity_entry *list, size_t *count,
                      struct str key, int64_t milli)
{
    struct quantity q = quantity_from_milli(milli, QUANTITY_DECIMAL_SI);
    list[*count].key = key;
    quantity_store(a, &q, &list[(*count)++].value);
}

/* The sum of what --system-reserved and --kube-reserved keep back, in milli. */
static int64_t reserved_milli(const struct node_inputs *in, const char *resource)
{
    const struct flag_list *lists[] = {in->system_reserved, in->kube_reserved};
    int64_t sum = 0;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (size_t k = 0; k < lists[i]->count; k++) {
            struct str key, value;
            struct quantity q;
            if (str_cut(str_of(lists[i]->items[k]), '=', &key, &value) && str_eqc(key, resource) &&
                quantity_parse(value, &q, NULL) == 0)
                sum += quantity_milli_value(&q);
        }
    }
    return sum;
}

static int64_t reserved(const struct node_inputs *in, const char *resource)
{
    return reserved_milli(in, resource) / 1000;
}

int64_t node_pods_memory(const struct node_inputs *in)
{
    return in->machine->memory_bytes - reserved(in, "memory");
}

/* Extended resources are what anybody may say that a node has: example.com/dongles. */
static bool is_extended(struct str name)
{
    return str_find_str(name, STR("/")) >= 0 && str_find_str(name, STR("kubernetes.io/")) < 0;
}

static bool is_of_plugin(const struct node_inputs *in, struct str name)
{
    for (size_t i = 0; i < in->device_count; i++)
        if (str_eq(in->devices[i].name, name))
            return true;
    return false;
}

static void resources(struct arena *a, const struct node_inputs *in,
                      const struct core_v1_node_status *old, struct core_v1_node_status *s)
{
    const struct machine *m = in->machine;
    size_t foreign = old != NULL ? old->capacity_count : 0;
    size_t max = 4 + m->hugepage_count + foreign + in->device_count;
    int64_t huge = 0, disk = in->usage.disk_total_bytes;
    s->capacity = ARENA_ARRAY(a, struct api_quantity_entry, max);
    s->allocatable = ARENA_ARRAY(a, struct api_quantity_entry, max);
    for (size_t i = 0; i < m->hugepage_count; i++) {
        int64_t bytes = m->hugepages[i].size_bytes, total = bytes * m->hugepages[i].count;
        struct quantity size = quantity_from_int(bytes, QUANTITY_BINARY_SI);
        struct str key = arena_printf(a, "hugepages-%s", str_c(quantity_str(a, &size)));
        add(a, s->capacity, &s->capacity_count, key, total, QUANTITY_BINARY_SI);
        add(a, s->allocatable, &s->allocatable_count, key, total, QUANTITY_BINARY_SI);
        huge += total;
    }
    add(a, s->capacity, &s->capacity_count, STR("cpu"), m->cpus, QUANTITY_DECIMAL_SI);
    add_milli(a, s->allocatable, &s->allocatable_count, STR("cpu"),
              MAX_OF(m->cpus * 1000 - reserved_milli(in, "cpu"), (int64_t)0));
    add(a, s->capacity, &s->capacity_count, STR("ephemeral-storage"), disk / 1024 * 1024,
        QUANTITY_BINARY_SI);
    add(a, s->allocatable, &s->allocatable_count, STR("ephemeral-storage"),
        MAX_OF(disk - eviction_hard_amount(in->eviction, EVICTION_NODEFS, disk) -
                   reserved(in, "ephemeral-storage"),
               (int64_t)0),
        QUANTITY_DECIMAL_SI);
    int64_t memory = m->memory_bytes;
    add(a, s->capacity, &s->capacity_count, STR("memory"), memory / 1024 * 1024,
        QUANTITY_BINARY_SI);
    add(a, s->allocatable, &s->allocatable_count, STR("memory"),
        MAX_OF((memory - eviction_hard_amount(in->eviction, EVICTION_MEMORY, memory) - huge -
                reserved(in, "memory")) /
                   1024 * 1024,
               (int64_t)0),
        QUANTITY_BINARY_SI);
    add(a, s->capacity, &s->capacity_count, STR("pods"), in->max_pods, QUANTITY_DECIMAL_SI);
    add(a, s->allocatable, &s->allocatable_count, STR("pods"), in->max_pods, QUANTITY_DECIMAL_SI);
    for (size_t i = 0; i < foreign; i++)
        if (is_extended(old->capacity[i].key) && !is_of_plugin(in, old->capacity[i].key)) {
            s->capacity[s->capacity_count++] = old->capacity[i];
            s->allocatable[s->allocatable_count++] = old->capacity[i];
        }
    for (size_t i = 0; i < in->device_count; i++) {
        const struct device_amount *d = &in->devices[i];
        add(a, s->capacity, &s->capacity_count, d->name, d->capacity, QUANTITY_DECIMAL_SI);
        add(a, s->allocatable, &s->allocatable_count, d->name, d->allocatable, QUANTITY_DECIMAL_SI);
    }
    qsort(s->capacity, s->capacity_count, sizeof(*s->capacity), by_resource);
    qsort(s->allocatable, s->allocatable_count, sizeof(*s->allocatable), by_resource);
}

/* --- conditions ---------------------------------------------------------------------- */

static void add_condition(const struct node_inputs *in, const struct core_v1_node_status *old,
                          struct core_v1_node_status *s, const char *type, bool value,
                          const char *reason, const char *message)
{
    struct core_v1_node_condition *c = &s->conditions[s->conditions_count++];
    *c = (struct core_v1_node_condition){
        .type = str_of(type),
        .status = value ? STR("True") : STR("False"),
        .last_heartbeat_time = {.seconds = in->now_s},
        .last_transition_time = {.seconds = in->now_s},
        .reason = str_of(reason),
        .message = str_of(message),
    };
    for (size_t i = 0; old != NULL && i < old->conditions_count; i++) {
        if (str_eqc(old->conditions[i].type, type) && str_eq(old->conditions[i].status, c->status))
            c->last_transition_time = old->conditions[i].last_transition_time;
    }
}

static bool is_own(struct str type)
{
    return str_eqc(type, "MemoryPressure") || str_eqc(type, "DiskPressure") ||
           str_eqc(type, "PIDPressure") || str_eqc(type, "Ready");
}

static void conditions(struct arena *a, const struct node_inputs *in,
                       const struct core_v1_node_status *old, struct core_v1_node_status *s)
{
    const bool *pressure = in->eviction->conditions;
    bool memory = pressure[EVICTION_MEMORY_PRESSURE], disk = pressure[EVICTION_DISK_PRESSURE],
         pids = pressure[EVICTION_PID_PRESSURE];
    size_t foreign = old != NULL ? old->conditions_count : 0;
    s->conditions = ARENA_ARRAY(a, struct core_v1_node_condition, foreign + 4);
    for (size_t i = 0; i < foreign; i++) {
        if (!is_own(old->conditions[i].type))
            s->conditions[s->conditions_count++] = old->conditions[i];
    }
    add_condition(in, old, s, "MemoryPressure", memory,
                  memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
                  memory ? "kubelet has insufficient memory available"
                         : "kubelet has sufficient memory available");
    add_condition(in, old, s, "DiskPressure", disk,
                  disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
                  disk ? "kubelet has disk pressure" : "kubelet has no disk pressure");
    add_condition(in, old, s, "PIDPressure", pids,
                  pids ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
                  pids ? "kubelet has insufficient PID available"
                       : "kubelet has sufficient PID available");
    add_condition(in, old, s, "Ready", in->problem == NULL,
                  in->problem == NULL ? "KubeletReady" : "KubeletNotReady",
                  in->problem == NULL ? "kubelet is posting ready status" : in->problem);
}

/* --- the rest ------------------------------------------------------------------------- */

static void addresses(struct arena *a, const struct node_inputs *in, struct core_v1_node_status *s)
{
    s->addresses = ARENA_ARRAY(a, struct core_v1_node_address, in->machine->ip_count + 1);
    for (size_t i = 0; i < in->machine->ip_count; i++)
        s->addresses[s->addresses_count++] =
            (struct core_v1_node_address){STR("InternalIP"), str_of(in->machine->ips[i])};
    s->addresses[s->addresses_count++] =
        (struct core_v1_node_address){STR("Hostname"), str_of(in->node_name)};
}

static int by_size(const void *x, const void *y)
{
    int64_t a = ((const struct core_v1_container_image *)x)->size_bytes;
    int64_t b = ((const struct core_v1_container_image *)y)->size_bytes;
    return (a < b) - (a > b);
}

static void images(struct arena *a, const struct node_inputs *in, struct core_v1_node_status *s)
{
    s->images = ARENA_ARRAY(a, struct core_v1_container_image, in->image_count + 1);
    for (size_t i = 0; i < in->image_count; i++) {
        struct core_v1_container_image *x = &s->images[s->images_count++];
        size_t n = MIN_OF(in->images[i].name_count, (size_t)IMAGE_NAMES_MAX);
        x->names = ARENA_ARRAY(a, struct str, n + 1);
        for (size_t k = 0; k < n; k++)
            x->names[x->names_count++] = arena_strc(a, in->images[i].names[k]);
        x->size_bytes = in->images[i].size_bytes;
    }
    qsort(s->images, s->images_count, sizeof(*s->images), by_size);
    s->images_count = MIN_OF(s->images_count, (size_t)IMAGES_MAX);
}

/* What the runtime has told of itself; an older one tells nothing, and so does the status. */
static void features(struct arena *a, const struct node_support *n, struct core_v1_node_status *s)
{
    if (n == NULL || !n->features_known)
        return;
    s->features = ARENA_NEW(a, struct core_v1_node_features);
    s->features->has_supplemental_groups_policy = true;
    s->features->supplemental_groups_policy = n->strict_groups;
    s->runtime_handlers = ARENA_ARRAY(a, struct core_v1_node_runtime_handler, n->handler_count);
    for (size_t i = 0; i < n->handler_count; i++) {
        const struct runtime_handler *h = &n->handlers[i];
        struct core_v1_node_runtime_handler *out =
            &s->runtime_handlers[s->runtime_handlers_count++];
        out->name = arena_strc(a, h->name);
        out->features = ARENA_NEW(a, struct core_v1_node_runtime_handler_features);
        *out->features = (struct core_v1_node_runtime_handler_features){
            .has_recursive_read_only_mounts = true,
            .recursive_read_only_mounts = h->recursive_read_only,
            .has_user_namespaces = true,
            .user_namespaces = h->user_namespaces,
        };
    }
}

void node_status(struct arena *a, const struct node_inputs *in,
                 const struct core_v1_node_status *old, struct core_v1_node_status *ret)
{
    const struct machine *m = in->machine;
    struct core_v1_node_status s = {0};
    resources(a, in, old, &s);
    conditions(a, in, old, &s);
    addresses(a, in, &s);
    images(a, in, &s);
    features(a, in->support, &s);
    s.daemon_endpoints.kubelet_endpoint.port = in->port;
    s.node_info = (struct core_v1_node_system_info){
        .machine_id = str_of(m->machine_id),
        .system_uuid = str_of(m->system_uuid),
        .boot_id = str_of(m->boot_id),
        .kernel_version = str_of(m->kernel_version),
        .os_image = str_of(m->os_image),
        .container_runtime_version =
            in->runtime_name != NULL
                ? arena_printf(a, "%s://%s", in->runtime_name, in->runtime_version)
                : STR_NULL,
        .kubelet_version = STR(KUBELET_VERSION),
        .operating_system = STR("linux"),
        .architecture = str_of(m->architecture),
    };
    s.volumes_in_use = (struct str *)(uintptr_t)in->volumes_in_use;
    s.volumes_in_use_count = in->volumes_in_use_count;
    if (old != NULL) {
        s.volumes_attached = old->volumes_attached;
        s.volumes_attached_count = old->volumes_attached_count;
    }
    *ret = s;
}

int node_object(struct arena *a, const struct node_inputs *in, struct core_v1_node *ret,
                struct error *err)
{
    struct core_v1_node n = {0};
    n.metadata.name = str_of(in->node_name);
    n.metadata.annotations = ARENA_ARRAY(a, struct api_str_entry, 1);
    n.metadata.annotations[n.metadata.annotations_count++] = (struct api_str_entry){
        STR("volumes.kubernetes.io/controller-managed-attach-detach"), STR("true")};
    int rc = labels(a, in, &n.metadata, err);
    if (rc == 0)
        rc = taints(a, in, &n.spec, err);
    if (rc != 0)
        return rc;
    if (in->provider_id != NULL)
        n.spec.provider_id = str_of(in->provider_id);
    node_status(a, in, NULL, &n.status);
    *ret = n;
    return 0;
}

bool node_status_same(const struct core_v1_node_status *x, const struct core_v1_node_status *y)
{
    struct core_v1_node_status a = *x, b = *y;
    if (a.conditions_count != b.conditions_count)
        return false;
    for (size_t i = 0; i < a.conditions_count; i++) {
        bool found = false;
        for (size_t k = 0; k < b.conditions_count && !found; k++) {
            struct core_v1_node_condition c = a.conditions[i], d = b.conditions[k];
            if (!str_eq(c.type, d.type))
                continue;
            c.last_heartbeat_time = d.last_heartbeat_time;
            found = api_msg_equal(&core_v1_node_condition_msg, &c, &d);
        }
        if (!found)
            return false;
    }
    a.conditions = b.conditions = NULL;
    a.conditions_count = b.conditions_count = 0;
    return api_msg_equal(&core_v1_node_status_msg, &a, &b);
}

/* Maps merge: what is gone from one has to be said. */
static void add_removals(struct arena *a, const struct json *before, struct json *now)
{
    for (size_t i = 0; before->type == JSON_OBJECT && i < before->object.count; i++)
        if (json_get(now, before->object.members[i].key) == NULL)
            json_set(a, now, before->object.members[i].key, json_null(a));
}

struct json *node_status_patch(struct arena *a, const struct core_v1_node_status *have,
                               const struct core_v1_node_status *want)
{
    struct json *old = api_json_tree(a, &core_v1_node_status_msg, have, STR_NULL, STR_NULL);
    struct json *new = api_json_tree(a, &core_v1_node_status_msg, want, STR_NULL, STR_NULL);
    struct json *diff = json_object(a);
    for (size_t i = 0; i < new->object.count; i++) {
        const struct json_member *m = &new->object.members[i];
        const struct json *before = json_get(old, m->key);
        if (before != NULL && json_equal(before, m->value))
            continue;
        if (str_eqc(m->key, "addresses") && before != NULL) {
            struct json *mark = json_object(a);
            json_setc(a, mark, "$patch", json_string(a, STR("replace")));
            json_insert(a, m->value, 0, mark);
        }
        if (before != NULL && (str_eqc(m->key, "capacity") || str_eqc(m->key, "allocatable")))
            add_removals(a, before, m->value);
        json_set(a, diff, m->key, m->value);
    }
    static const char *const lists[] = {"volumesInUse", "runtimeHandlers"};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        if (json_getc(old, lists[i]) != NULL && json_getc(new, lists[i]) == NULL)
            json_setc(a, diff, lists[i], json_null(a));
    struct json *patch = json_object(a);
    json_setc(a, patch, "status", diff);
    return patch;
}
