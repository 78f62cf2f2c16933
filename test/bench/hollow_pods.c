/* hollow_pods.c - the pods of hollow nodes: told Running when they were bound, removed when they
 * are deleted. */
#include "test/bench/hollow.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdio.h>
#include <stdlib.h>

static void act(struct hollow_pod *p);

static void pod_free(struct hollow_pod *p)
{
    map_remove(&p->node->pods, p->uid);
    h.pods--;
    free(p);
}

static void on_told(struct timed *t, const struct client_result *r)
{
    struct hollow_pod *p = t->pod;
    p->busy = false;
    if (r->code == 0 && p->stage == SEEN && !p->again) {
        p->stage = RUNNING;
        h.running++;
    }
    if (r->code == E_NOT_FOUND)
        p->stage = GONE;
    if (r->code == 0 ||
        p->stage != SEEN) /* What was refused waits for the next word about the pod. */
        act(p);
}

static void on_deleted(struct timed *t, const struct client_result *r)
{
    struct hollow_pod *p = t->pod;
    p->busy = false;
    if (r->code == 0 || r->code == E_NOT_FOUND)
        p->stage = GONE;
    act(p);
}

static void tell_running(struct hollow_pod *p)
{
    AUTO_ARENA *a = arena_new(0);
    struct str now = now_text(a);
    const struct node *n = p->node;
    struct str ip = STR_NULL;
    if (!p->addressed)
        ip = arena_printf(a, "\"podIP\":\"10.%zu.%zu.%u\",\"podIPs\":[{\"ip\":\"10.%zu.%zu.%u\"}],",
                          64 + n->index / 256 % 128, n->index % 256, p->address % 254 + 1,
                          64 + n->index / 256 % 128, n->index % 256, p->address % 254 + 1);
    static const char *const types[] = {"PodReadyToStartContainers", "Initialized", "Ready",
                                        "ContainersReady"};
    AUTO_BUF list = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        buf_printf(&list,
                   "%s{\"type\":\"%s\",\"status\":\"True\",\"lastProbeTime\":null,"
                   "\"lastTransitionTime\":\"" STR_FMT "\"}",
                   i != 0 ? "," : "", types[i], STR_ARG(now));
    AUTO_BUF containers = BUF_INIT;
    struct str rest = p->containers, name;
    for (unsigned i = 0; !str_empty(rest); i++) {
        str_cut(rest, ',', &name, &rest);
        buf_printf(
            &containers,
            "%s{\"name\":\"" STR_FMT "\",\"state\":{\"running\":{\"startedAt\":\"" STR_FMT
            "\"}},\"lastState\":{},\"ready\":true,\"restartCount\":0,\"image\":"
            "\"registry.example/pause:3.10\",\"imageID\":\"registry.example/pause@sha256:%064x\","
            "\"containerID\":\"containerd://%024zx%08x%032x\",\"started\":true}",
            i != 0 ? "," : "", STR_ARG(name), STR_ARG(now), 310u, n->index, p->address, i);
    }
    struct str host = arena_printf(a, "127.%zu.%zu.%zu", 16 + n->index / 65536,
                                   n->index / 256 % 256, n->index % 256);
    struct str body =
        arena_printf(a,
                     "{\"metadata\":{\"uid\":\"" STR_FMT
                     "\"},\"status\":{\"phase\":\"Running\",\"conditions\":[" STR_FMT
                     "],\"hostIP\":\"" STR_FMT "\",\"hostIPs\":[{\"ip\":\"" STR_FMT "\"}]," STR_FMT
                     "\"startTime\":\"" STR_FMT "\",\"containerStatuses\":[" STR_FMT "]}}",
                     STR_ARG(p->uid), STR_ARG(buf_str(&list)), STR_ARG(host), STR_ARG(host),
                     STR_ARG(ip), STR_ARG(now), STR_ARG(buf_str(&containers)));
    struct client_call call = {.verb = CLIENT_PATCH,
                               .kind = core_kind("Pod"),
                               .namespace_name = p->namespace_name,
                               .name = p->name,
                               .subresource = "status",
                               .patch_type = CLIENT_PATCH_STRATEGIC,
                               .raw_body = body,
                               .undecoded = true};
    p->again = false;
    p->busy = true;
    start_timed(p->node, p, POD_STATUS, &call, on_told);
}

static void remove_pod(struct hollow_pod *p)
{
    struct client_call call = {.verb = CLIENT_DELETE,
                               .kind = core_kind("Pod"),
                               .namespace_name = p->namespace_name,
                               .name = p->name,
                               .uid_precondition = p->uid,
                               .has_grace_period = true,
                               .undecoded = true};
    p->busy = true;
    start_timed(p->node, p, POD_DELETE, &call, on_deleted);
}

static void act(struct hollow_pod *p)
{
    if (p->busy)
        return;
    if (p->stage == SEEN)
        tell_running(p);
    else if (p->stage == ENDING)
        remove_pod(p);
    else if (p->stage == GONE)
        pod_free(p);
}

static struct hollow_pod *pod_new(const struct core_v1_pod *pod)
{
    AUTO_BUF names = BUF_INIT;
    for (size_t i = 0; i < pod->spec.containers_count; i++)
        buf_printf(&names, "%s" STR_FMT, i != 0 ? "," : "", STR_ARG(pod->spec.containers[i].name));
    struct str from[] = {pod->metadata.namespace, pod->metadata.name, pod->metadata.uid,
                         buf_str(&names)};
    size_t length = 0;
    for (size_t i = 0; i < ARRAY_SIZE(from); i++)
        length += from[i].len;
    struct hollow_pod *p = xzalloc(sizeof(*p) + length + 1);
    struct str *to[] = {&p->namespace_name, &p->name, &p->uid, &p->containers};
    char *text = (char *)(p + 1);
    for (size_t i = 0; i < ARRAY_SIZE(to); text += from[i++].len) {
        memcpy(text, from[i].data, from[i].len);
        *to[i] = str_n(text, from[i].len);
    }
    return p;
}

static bool is_running(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->status.conditions_count; i++)
        if (str_eqc(pod->status.conditions[i].type, "Ready"))
            return str_eqc(pod->status.phase, "Running") &&
                   str_eqc(pod->status.conditions[i].status, "True");
    return false;
}

void hollow_pod_event(struct node *n, const struct client_event *e)
{
    const struct core_v1_pod *pod = e->object->msg;
    struct hollow_pod *p = map_get(&n->pods, pod->metadata.uid);
    bool going = pod->metadata.deletion_timestamp != NULL, runs = is_running(pod);
    if (p == NULL) {
        if (e->type == CLIENT_DELETED)
            return;
        p = pod_new(pod);
        p->node = n;
        p->address = n->next_address++;
        p->addressed = !str_empty(pod->status.pod_ip);
        p->stage = runs ? RUNNING : SEEN;
        h.running += runs;
        h.pods++;
        map_set(&n->pods, p->uid, p);
    }
    p->epoch = n->epoch;
    if (p->stage == RUNNING && !runs && !p->busy &&
        !going) { /* Taken for lost: it is told again. */
        p->stage = SEEN;
        h.running--;
    }
    if ((e->type == CLIENT_DELETED || going) && p->stage == RUNNING)
        h.running--;
    if (e->type == CLIENT_DELETED)
        p->stage = GONE;
    else if (going && p->stage != GONE)
        p->stage = ENDING;
    act(p);
}

void hollow_pods_sweep(struct node *n)
{
    size_t pos = 0;
    struct str uid;
    void *value;
    while (map_next(&n->pods, &pos, &uid, &value)) {
        struct hollow_pod *p = value;
        if (p->epoch == n->epoch)
            continue;
        h.running -= p->stage == RUNNING;
        p->stage = GONE;
        act(p);
    }
}
