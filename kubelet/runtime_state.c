/* runtime_state.c - see runtime_state.h. */
#include "kubelet/runtime_state.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"

struct rt_pod *rt_pod_new(const char *uid)
{
    struct arena *a = arena_new(0);
    struct rt_pod *p = ARENA_NEW(a, struct rt_pod);
    p->arena = a;
    p->uid = arena_strdup(a, uid);
    p->name = p->namespace_name = "";
    return p;
}

void rt_pod_free(struct rt_pod *p)
{
    if (p != NULL)
        arena_free(p->arena);
}

static const char *dup(struct rt_pod *p, const char *s)
{
    return s != NULL && s[0] != '\0' ? arena_strdup(p->arena, s) : "";
}

static uint64_t parse_u64(const char *s, int base)
{
    return s != NULL ? strtoull(s, NULL, base) : 0;
}

static enum rt_state container_state(CRI(ContainerState) s)
{
    switch (s) {
    case CRI_ENUM(CONTAINER_STATE__CONTAINER_CREATED):
        return RT_CREATED;
    case CRI_ENUM(CONTAINER_STATE__CONTAINER_RUNNING):
        return RT_RUNNING;
    case CRI_ENUM(CONTAINER_STATE__CONTAINER_EXITED):
        return RT_EXITED;
    default:
        return RT_UNKNOWN;
    }
}

static int by_sandbox_age(const void *x, const void *y)
{
    const struct rt_sandbox *a = x, *b = y;
    return (a->created_ns < b->created_ns) - (a->created_ns > b->created_ns);
}

static int by_container_age(const void *x, const void *y)
{
    const struct rt_container *a = x, *b = y;
    return (a->created_ns < b->created_ns) - (a->created_ns > b->created_ns);
}

void rt_pod_set_sandboxes(struct rt_pod *p, const CRI(ListPodSandboxResponse) * list)
{
    p->sandboxes = ARENA_ARRAY(p->arena, struct rt_sandbox, list->n_items);
    p->sandbox_count = list->n_items;
    for (size_t i = 0; i < list->n_items; i++) {
        const CRI(PodSandbox) *s = list->items[i];
        p->sandboxes[i] = (struct rt_sandbox){
            .id = dup(p, s->id),
            .handler = dup(p, s->runtime_handler),
            .ready = s->state == CRI_ENUM(POD_SANDBOX_STATE__SANDBOX_READY),
            .attempt = s->metadata != NULL ? s->metadata->attempt : 0,
            .created_ns = s->created_at,
        };
        if (s->metadata != NULL) {
            p->name = dup(p, s->metadata->name);
            p->namespace_name = dup(p, s->metadata->namespace_);
        }
    }
    qsort(p->sandboxes, p->sandbox_count, sizeof(*p->sandboxes), by_sandbox_age);
}

static void set_container(struct rt_pod *p, struct rt_container *c, const CRI(Container) * from)
{
    const char *grace = cri_map_get(from->annotations, from->n_annotations, ANNOTATION_POD_GRACE);
    const char *deletion =
        cri_map_get(from->annotations, from->n_annotations, ANNOTATION_POD_DELETION_GRACE);
    *c = (struct rt_container){
        .id = dup(p, from->id),
        .sandbox_id = dup(p, from->pod_sandbox_id),
        .name = dup(p, from->metadata != NULL ? from->metadata->name : ""),
        .image = dup(p, from->image != NULL ? from->image->image : ""),
        .image_ref = dup(p, from->image_ref),
        .reason = "",
        .message = "",
        .log_path = "",
        .term_path = "",
        .term_policy =
            dup(p, cri_map_get(from->annotations, from->n_annotations, ANNOTATION_TERM_POLICY)),
        .state = container_state(from->state),
        .attempt = from->metadata != NULL ? from->metadata->attempt : 0,
        .created_ns = from->created_at,
        .hash = parse_u64(cri_map_get(from->annotations, from->n_annotations, ANNOTATION_HASH), 16),
        .grace_s = deletion != NULL ? (int64_t)parse_u64(deletion, 10)
                   : grace != NULL  ? (int64_t)parse_u64(grace, 10)
                                    : -1,
    };
}

void rt_pod_set_containers(struct rt_pod *p, const CRI(ListContainersResponse) * list)
{
    p->containers = ARENA_ARRAY(p->arena, struct rt_container, list->n_containers);
    p->container_count = list->n_containers;
    for (size_t i = 0; i < list->n_containers; i++)
        set_container(p, &p->containers[i], list->containers[i]);
    for (size_t i = 0; i < p->sandbox_count; i++)
        for (size_t k = 0; k < p->container_count; k++)
            p->sandboxes[i].used |= strcmp(p->containers[k].sandbox_id, p->sandboxes[i].id) == 0;
    qsort(p->containers, p->container_count, sizeof(*p->containers), by_container_age);
}

void rt_sandbox_set_status(struct rt_pod *p, struct rt_sandbox *s,
                           const CRI(PodSandboxStatus) * status)
{
    s->has_status = true;
    s->ready = status->state == CRI_ENUM(POD_SANDBOX_STATE__SANDBOX_READY);
    if (status->linux != NULL && status->linux->namespaces != NULL &&
        status->linux->namespaces->options != NULL)
        s->host_network =
            status->linux->namespaces->options->network == CRI_ENUM(NAMESPACE_MODE__NODE);
    const CRI(PodSandboxNetworkStatus) *net = status->network;
    if (s->host_network || net == NULL || net->ip == NULL || net->ip[0] == '\0')
        return;
    const char **ips = ARENA_ARRAY(p->arena, const char *, 1 + net->n_additional_ips);
    ips[s->ip_count++] = dup(p, net->ip);
    for (size_t i = 0; i < net->n_additional_ips; i++)
        ips[s->ip_count++] = dup(p, net->additional_ips[i]->ip);
    s->ips = ips;
}

void rt_sandbox_order_ips(struct rt_pod *p, struct rt_sandbox *s, bool v6_first)
{
    const char **ips = ARENA_ARRAY(p->arena, const char *, 2);
    size_t n = 0;
    for (unsigned round = 0; round < 2; round++)
        for (size_t i = 0; i < s->ip_count; i++)
            if ((strchr(s->ips[i], ':') != NULL) == ((round == 0) == v6_first)) {
                ips[n++] = s->ips[i];
                break;
            }
    s->ips = ips;
    s->ip_count = n;
}

int64_t rt_info_pid(struct str info_json)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *j;
    if (json_parse(a, info_json, &j, NULL) != 0)
        return 0;
    return json_get_int(j, "pid", 0);
}

static void set_user(struct rt_pod *p, struct rt_container *c, const CRI(ContainerStatus) * s)
{
    if (s->user == NULL || s->user->linux == NULL)
        return;
    const CRI(LinuxContainerUser) *u = s->user->linux;
    c->user_known = true;
    c->uid = u->uid;
    c->gid = u->gid;
    c->groups = u->n_supplemental_groups == 0
                    ? NULL
                    : arena_memdup(p->arena, u->supplemental_groups,
                                   u->n_supplemental_groups * sizeof(int64_t));
    c->group_count = u->n_supplemental_groups;
}

/* SIGRTMINPLUS3 is "SIGRTMIN+3" in the API. */
static void set_stop_signal(struct rt_pod *p, struct rt_container *c,
                            const CRI(ContainerStatus) * s)
{
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&runtime__v1__signal__descriptor, (int)s->stop_signal);
    if (v == NULL || s->stop_signal == CRI_ENUM(SIGNAL__RUNTIME_DEFAULT))
        return;
    const char *plus = strstr(v->name, "PLUS"), *minus = strstr(v->name, "MINUS");
    const char *at = plus != NULL ? plus : minus;
    c->stop_signal = at == NULL ? dup(p, v->name)
                                : str_c(arena_printf(p->arena, "%.*s%s%s", (int)(at - v->name),
                                                     v->name, plus != NULL ? "+" : "-",
                                                     at + strlen(plus != NULL ? "PLUS" : "MINUS")));
}

void rt_container_set_status(struct rt_pod *p, struct rt_container *c,
                             const CRI(ContainerStatusResponse) * response)
{
    const CRI(ContainerStatus) *s = response->status;
    if (s == NULL)
        return;
    c->has_status = true;
    c->state = container_state(s->state);
    c->started_ns = s->started_at;
    c->finished_ns = s->finished_at;
    c->exit_code = s->exit_code;
    c->reason = dup(p, s->reason);
    c->message = dup(p, s->message);
    c->log_path = dup(p, s->log_path);
    if (s->image != NULL && s->image->image != NULL && s->image->image[0] != '\0')
        c->image = dup(p, s->image->image);
    if (s->image_ref != NULL && s->image_ref[0] != '\0')
        c->image_ref = dup(p, s->image_ref);
    const char *term = cri_map_get(s->annotations, s->n_annotations, ANNOTATION_TERM_PATH);
    for (size_t i = 0; term != NULL && i < s->n_mounts; i++) {
        if (strcmp(s->mounts[i]->container_path, term) == 0)
            c->term_path = dup(p, s->mounts[i]->host_path);
    }
    set_user(p, c, s);
    set_stop_signal(p, c, s);
    const char *info = cri_map_get(response->info, response->n_info, "info");
    if (c->state == RT_RUNNING && info != NULL)
        c->pid = rt_info_pid(str_of(info));
}

void rt_container_copy_status(struct rt_pod *p, struct rt_container *c,
                              const struct rt_container *old)
{
    c->has_status = old->has_status;
    c->state = old->state;
    c->started_ns = old->started_ns;
    c->finished_ns = old->finished_ns;
    c->exit_code = old->exit_code;
    c->pid = old->pid;
    c->image = dup(p, old->image);
    c->image_ref = dup(p, old->image_ref);
    c->reason = dup(p, old->reason);
    c->message = dup(p, old->message);
    c->stop_signal = old->stop_signal != NULL ? dup(p, old->stop_signal) : NULL;
    c->log_path = dup(p, old->log_path);
    c->term_path = dup(p, old->term_path);
    c->user_known = old->user_known;
    c->uid = old->uid;
    c->gid = old->gid;
    c->groups = old->group_count == 0
                    ? NULL
                    : arena_memdup(p->arena, old->groups, old->group_count * sizeof(int64_t));
    c->group_count = old->group_count;
}

const struct rt_container *rt_pod_find_nth(const struct rt_pod *p, struct str name, size_t n)
{
    for (size_t i = 0; p != NULL && i < p->container_count; i++) {
        if (str_eqc(name, p->containers[i].name) && n-- == 0)
            return &p->containers[i];
    }
    return NULL;
}

const struct rt_container *rt_pod_find(const struct rt_pod *p, struct str name)
{
    return rt_pod_find_nth(p, name, 0);
}

struct rt_container *rt_pod_find_id(const struct rt_pod *p, const char *id)
{
    for (size_t i = 0; p != NULL && i < p->container_count; i++) {
        if (strcmp(p->containers[i].id, id) == 0)
            return &p->containers[i];
    }
    return NULL;
}

const struct rt_sandbox *rt_pod_sandbox(const struct rt_pod *p)
{
    return p != NULL && p->sandbox_count > 0 ? &p->sandboxes[0] : NULL;
}

bool rt_pod_any_running(const struct rt_pod *p)
{
    for (size_t i = 0; p != NULL && i < p->container_count; i++) {
        if (p->containers[i].state == RT_RUNNING)
            return true;
    }
    return false;
}
