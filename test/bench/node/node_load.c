/* node_load.c - starts pods on one node, and the same with nothing but calls to the runtime.
 *
 *   node_load --kubeconfig FILE --node NAME STEP...
 *   node_load --socket PATH --dir DIR STEP...
 *
 *   COUNT:FLIGHT   COUNT pods, FLIGHT of them at a time
 *
 * With --kubeconfig: times from the answer to a pod's creation until a watch shows it Running. With
 * --socket: RunPodSandbox, CreateContainer and StartContainer, one after another for each pod. Each
 * step prints a line of name=value pairs; its pods are removed again unless --keep is given. */
#include "kubelet/cri.h"
#include "kubelet/cri_config.h"
#include "kubelet/static_pods.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/client/client.h"
#include "lib/client/kubeconfig.h"
#include "test/bench/load_stats.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define NAMESPACE "bench"
#define COUNT_MAX 1000
#define LIMIT_MS 120000u

struct load;

struct one {
    struct load *load;
    size_t number;
    uint64_t from_ns;
    bool running;
    char *sandbox, *container;
    struct arena *arena;
    struct api_object *pod;
    CRI(PodSandboxConfig) * config;
};

struct load {
    uv_loop_t *loop;
    uv_timer_t limit;
    const char *node, *image;
    struct client *client;
    struct cri *cri;
    const char *dir;    /* Logs of the bare ones, and their files. */
    const char *cgroup; /* Above theirs. */
    bool keep;
    struct one list[COUNT_MAX];
    size_t first; /* Names are not used twice. */
    size_t count, flight, made, done, gone;
    uint64_t begin_ns, end_ns;
    struct load_times times;
};

static void die(const char *what, const char *message)
{
    fprintf(stderr, "node_load: %s: %s\n", what, message);
    exit(EXIT_FAILURE);
}

static void on_limit(uv_timer_t *t)
{
    struct load *l = t->data;
    char text[80];
    snprintf(text, sizeof(text), "%zu of %zu started, %zu gone", l->done, l->count, l->gone);
    die("too slow", text);
}

static void start_one(struct load *l);

static void note_running(struct one *o)
{
    struct load *l = o->load;
    uint64_t now = uv_hrtime();
    o->running = true;
    load_times_add(&l->times, now - o->from_ns);
    l->end_ns = now;
    if (++l->done == l->count)
        uv_stop(l->loop);
    else if (l->made < l->count)
        start_one(l);
}

static void note_gone(struct load *l)
{
    if (++l->gone == l->count)
        uv_stop(l->loop);
}

static struct str pod_text(struct arena *a, const char *name, const char *node, const char *image)
{
    return arena_printf(
        a,
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
        "\"" NAMESPACE "\"},"
        "\"spec\":{\"nodeName\":\"%s\",\"terminationGracePeriodSeconds\":0,\"containers\":[{"
        "\"name\":\"c\",\"image\":\"%s\",\"imagePullPolicy\":\"IfNotPresent\",\"resources\":{"
        "\"requests\":{\"cpu\":\"1m\",\"memory\":\"1Mi\"}}}]}}",
        name, node, image);
}

/* --- through the API ------------------------------------------------------------------------- */

static void on_created(struct client_request *r, const struct client_result *result, void *arg)
{
    struct one *o = arg;
    UNUSED(r);
    if (result->code != 0)
        die("create", result->message);
    o->from_ns = uv_hrtime();
}

static void create_pod(struct one *o)
{
    struct load *l = o->load;
    AUTO_ARENA *a = arena_new(0);
    struct error err;
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
        .namespace_name = STR(NAMESPACE),
        .raw_body = pod_text(a, str_c(arena_printf(a, "pod-%06zu", l->first + o->number)), l->node,
                             l->image),
        .undecoded = true,
        .done = on_created,
        .arg = o,
    };
    if (client_start(l->client, &call, NULL, &err) != 0)
        die("create", error_message(&err));
}

static void on_event(struct client_watch *w, const struct client_event *e, void *arg)
{
    struct load *l = arg;
    UNUSED(w);
    if (e->type != CLIENT_ADDED && e->type != CLIENT_MODIFIED && e->type != CLIENT_DELETED)
        return;
    const struct core_v1_pod *pod = e->object->msg;
    size_t n = strtoul(pod->metadata.name.data + 4, NULL, 10);
    if (n < l->first || n >= l->first + l->count)
        return;
    struct one *o = &l->list[n - l->first];
    if (e->type == CLIENT_DELETED)
        note_gone(l);
    else if (!o->running && str_eqc(pod->status.phase, "Running") && o->from_ns != 0)
        note_running(o);
}

static void on_watch_end(struct client_watch *w, const struct client_result *result, void *arg)
{
    UNUSED(w);
    UNUSED(arg);
    die("watch", result->message);
}

static void on_deleted(struct client_request *r, const struct client_result *result, void *arg)
{
    UNUSED(r);
    UNUSED(arg);
    if (result->code != 0)
        die("delete", result->message);
}

static void delete_pod(struct one *o)
{
    AUTO_ARENA *a = arena_new(0);
    struct error err;
    struct client_call call = {
        .verb = CLIENT_DELETE,
        .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
        .namespace_name = STR(NAMESPACE),
        .name = arena_printf(a, "pod-%06zu", o->load->first + o->number),
        .has_grace_period = true,
        .grace_period_s = 1,
        .undecoded = true,
        .done = on_deleted,
        .arg = o,
    };
    if (client_start(o->load->client, &call, NULL, &err) != 0)
        die("delete", error_message(&err));
}

static void on_setup(struct client_request *r, const struct client_result *result, void *arg)
{
    UNUSED(r);
    if (result->code != 0 && result->code != E_EXISTS)
        die("set up", result->message);
    uv_stop(arg);
}

static void make_object(struct load *l, const char *kind, struct str body)
{
    struct error err;
    const struct api_kind *k = api_kind_by_gvk(STR(""), STR("v1"), str_of(kind));
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = k,
        .namespace_name = k->namespaced ? STR(NAMESPACE) : STR_NULL,
        .raw_body = body,
        .undecoded = true,
        .done = on_setup,
        .arg = l->loop,
    };
    if (client_start(l->client, &call, NULL, &err) != 0)
        die(kind, error_message(&err));
    uv_run(l->loop, UV_RUN_DEFAULT);
}

static void connect_api(struct load *l, const char *path)
{
    struct kubeconfig *k;
    struct error err;
    struct client_options options = {.user_agent = "node-load/1"};
    if (kubeconfig_load(path, NULL, &k, &err) != 0 ||
        client_new(l->loop, k, &options, &l->client, &err) != 0)
        die("--kubeconfig", error_message(&err));
    make_object(l, "Namespace",
                STR("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":"
                    "\"" NAMESPACE "\"}}"));
    make_object(l, "ServiceAccount",
                STR("{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":"
                    "\"default\"},\"automountServiceAccountToken\":false}"));
    struct client_watch_config config = {
        .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
        .namespace_name = STR(NAMESPACE),
        .timeout_s = 3600,
        .on_event = on_event,
        .on_end = on_watch_end,
        .arg = l,
    };
    if (client_watch_start(l->client, &config, NULL, &err) != 0)
        die("watch", error_message(&err));
}

/* --- the runtime alone -------------------------------------------------------------------------
 */

static void need(const struct cri_reply *reply, const char *what)
{
    if (reply->code != 0)
        die(what, reply->message);
}

static void on_container_started(const struct cri_reply *reply, void *arg)
{
    need(reply, "StartContainer");
    note_running(arg);
}

static void on_container_created(const struct cri_reply *reply, void *arg)
{
    struct one *o = arg;
    need(reply, "CreateContainer");
    const CRI(CreateContainerResponse) *r = reply->msg;
    o->container = arena_strdup(o->arena, r->container_id);
    CRI(StartContainerRequest) q;
    runtime__v1__start_container_request__init(&q);
    q.container_id = o->container;
    cri_call(o->load->cri, CRI_START_CONTAINER, &q, CRI_TIMEOUT_MS, on_container_started, o);
}

static void on_sandbox_run(const struct cri_reply *reply, void *arg)
{
    struct one *o = arg;
    need(reply, "RunPodSandbox");
    const CRI(RunPodSandboxResponse) *r = reply->msg;
    struct arena *a = o->arena;
    struct error err;
    const struct core_v1_pod *pod = o->pod->msg;
    const char *const dir = o->load->dir;
    struct container_mount mounts[] = {
        {.container_path = "/etc/hosts",
         .host_path = str_c(arena_printf(a, "%s/hosts", dir)),
         .read_only = false},
        {.container_path = "/dev/termination-log",
         .host_path = str_c(arena_printf(a, "%s/end", dir))},
    };
    struct env_list env = {0};
    struct container_inputs in = {
        .pod = pod,
        .container = &pod->spec.containers[0],
        .hash = 1,
        .image_ref = o->load->image,
        .env = &env,
        .mounts = mounts,
        .mount_count = ARRAY_SIZE(mounts),
        .memory_capacity = (int64_t)8 << 30,
        .image_uid = -1,
        .image_user = "",
        .seccomp_root = dir,
    };
    o->sandbox = arena_strdup(a, r->pod_sandbox_id);
    CRI(CreateContainerRequest) *q = CRI_NEW(a, CreateContainerRequest, create_container_request);
    q->pod_sandbox_id = o->sandbox;
    q->sandbox_config = o->config;
    if (container_config(a, &in, &q->config, &err) != 0)
        die("container", error_message(&err));
    q->config->n_labels = 0;
    cri_call(o->load->cri, CRI_CREATE_CONTAINER, q, CRI_TIMEOUT_MS, on_container_created, o);
}

/* As the node agent asks for it, but without a uid, so that none takes it for a pod of its own. */
static void run_sandbox(struct one *o)
{
    struct arena *a = o->arena = arena_new(0);
    struct error err;
    CRI(RunPodSandboxRequest) *q = CRI_NEW(a, RunPodSandboxRequest, run_pod_sandbox_request);
    const char *name = str_c(arena_printf(a, "raw-%06zu", o->load->first + o->number));
    if (static_pod_parse(pod_text(a, name, "raw", o->load->image), "raw", "raw", &o->pod, &err) !=
        0)
        die("pod", error_message(&err));
    const struct dns_settings dns = {0};
    struct sandbox_inputs in = {
        .pod = o->pod->msg,
        .hostname = name,
        .log_dir = o->load->dir,
        .cgroup_parent = str_c(arena_printf(a, "%s/%s", o->load->cgroup, name)),
        .dns = &dns,
        .seccomp_root = o->load->dir,
    };
    q->config = o->config = sandbox_config(a, &in);
    q->config->metadata->uid = arena_strdup(a, "");
    q->config->n_labels = 0;
    o->from_ns = uv_hrtime();
    cri_call(o->load->cri, CRI_RUN_POD_SANDBOX, q, CRI_SANDBOX_TIMEOUT_MS, on_sandbox_run, o);
}

static void on_sandbox_removed(const struct cri_reply *reply, void *arg)
{
    struct one *o = arg;
    need(reply, "RemovePodSandbox");
    api_object_unref(take(o->pod));
    arena_free(take(o->arena));
    note_gone(o->load);
}

static void on_sandbox_stopped(const struct cri_reply *reply, void *arg)
{
    struct one *o = arg;
    need(reply, "StopPodSandbox");
    CRI(RemovePodSandboxRequest) q;
    runtime__v1__remove_pod_sandbox_request__init(&q);
    q.pod_sandbox_id = o->sandbox;
    cri_call(o->load->cri, CRI_REMOVE_POD_SANDBOX, &q, CRI_SANDBOX_TIMEOUT_MS, on_sandbox_removed,
             o);
}

static void stop_sandbox(struct one *o)
{
    CRI(StopPodSandboxRequest) q;
    runtime__v1__stop_pod_sandbox_request__init(&q);
    q.pod_sandbox_id = o->sandbox;
    cri_call(o->load->cri, CRI_STOP_POD_SANDBOX, &q, CRI_SANDBOX_TIMEOUT_MS, on_sandbox_stopped, o);
}

/* --- steps -------------------------------------------------------------------------------------
 */

static void start_one(struct load *l)
{
    struct one *o = &l->list[l->made];
    *o = (struct one){.load = l, .number = l->made++};
    if (l->cri != NULL)
        run_sandbox(o);
    else
        create_pod(o);
}

static bool run(struct load *l, const char *step)
{
    char *rest;
    l->count = strtoul(step, &rest, 10);
    l->flight = *rest == ':' ? strtoul(rest + 1, &rest, 10) : 1;
    if (l->count == 0 || l->count > COUNT_MAX || l->flight == 0 || *rest != '\0')
        return false;
    l->made = l->done = l->gone = 0;
    load_times_done(&l->times);
    uv_timer_start(&l->limit, on_limit, LIMIT_MS, 0);
    l->begin_ns = uv_hrtime();
    for (size_t i = 0; i < MIN_OF(l->flight, l->count); i++)
        start_one(l);
    uv_run(l->loop, UV_RUN_DEFAULT);
    printf("mode=%s count=%zu flight=%zu p50_ms=%.1f p99_ms=%.1f max_ms=%.1f total_s=%.2f\n",
           l->cri != NULL ? "raw" : "pods", l->count, l->flight, load_times_ms(&l->times, 500),
           load_times_ms(&l->times, 990), (double)l->times.max_us / 1e3,
           (double)(l->end_ns - l->begin_ns) / 1e9);
    fflush(stdout);
    if (!l->keep) {
        for (size_t i = 0; i < l->count; i++)
            l->cri != NULL ? stop_sandbox(&l->list[i]) : delete_pod(&l->list[i]);
        uv_run(l->loop, UV_RUN_DEFAULT);
    }
    uv_timer_stop(&l->limit);
    l->first += l->count;
    return true;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"kubeconfig", 1, NULL, 'k'}, {"node", 1, NULL, 'n'},   {"socket", 1, NULL, 's'},
        {"image", 1, NULL, 'i'},      {"keep", 0, NULL, 'K'},   {"first", 1, NULL, 'f'},
        {"dir", 1, NULL, 'd'},        {"cgroup", 1, NULL, 'c'}, {0}};
    static struct load l = {.image = "trireme.local/pause:1", .cgroup = "/bench-node"};
    const char *kubeconfig = NULL, *socket = NULL;
    struct error err;
    int c;
    l.loop = uv_default_loop();
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'k':
            kubeconfig = optarg;
            break;
        case 'n':
            l.node = optarg;
            break;
        case 's':
            socket = optarg;
            break;
        case 'i':
            l.image = optarg;
            break;
        case 'c':
            l.cgroup = optarg;
            break;
        case 'd':
            l.dir = optarg;
            break;
        case 'f':
            l.first = strtoul(optarg, NULL, 10);
            break;
        case 'K':
            l.keep = true;
            break;
        default:
            return 2;
        }
    }
    if (optind == argc || (kubeconfig == NULL || l.node == NULL) == (socket == NULL) ||
        (socket != NULL && l.dir == NULL)) {
        fprintf(stderr, "usage: node_load --kubeconfig FILE --node NAME | --socket PATH --dir DIR "
                        "[--image IMAGE] [--keep] COUNT:FLIGHT...\n");
        return 2;
    }
    uv_timer_init(l.loop, &l.limit);
    l.limit.data = &l;
    if (socket != NULL && cri_new(l.loop, socket, &l.cri, &err) != 0)
        die("--socket", error_message(&err));
    if (socket == NULL)
        connect_api(&l, kubeconfig);
    for (; optind < argc; optind++)
        if (!run(&l, argv[optind])) {
            fprintf(stderr, "node_load: bad step %s\n", argv[optind]);
            return 2;
        }
    return 0;
}
