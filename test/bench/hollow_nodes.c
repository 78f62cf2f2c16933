/* hollow_nodes.c - many node agents in one process that run nothing: what they say to the API
 * servers is real, the containers are not.
 *
 *   hollow_nodes --kubeconfigs A[,B,...] --nodes N [options]
 *
 * Each node has a client of its own, thus a connection of its own, under its own name
 * (system:node:NAME in system:nodes, impersonated), so that it is authorized and admitted as a node
 * is. It
 *   - registers itself: capacity, addresses, conditions, a list of images;
 *   - renews its Lease each 10 s, sends its status each 5 minutes, as the real agent does
 * (nodeStatusReportFrequency);
 *   - watches its own Node, its pods, and, as the proxy of every node does, Services and
 * EndpointSlices;
 *   - tells Running and Ready of a pod that was bound to it, Succeeded of nothing;
 *   - ends a pod that is being deleted: a last status, then a deletion without grace.
 * The nodes' servers are dealt in turn. Options:
 *   --prefix P      names are P-00000 and so on (default: hollow)
 *   --lease S, --status S   seconds between two renewals, two statuses (10, 300)
 *   --rate R        registrations per second (default 500)
 *   --no-services   without watches of Services and EndpointSlices
 *   --cpu, --memory, --pods  of a node (32, 256Gi, 110)
 *
 * Prints "registered=N seconds=S" when all nodes are there. On SIGUSR1 prints a line of what was
 * done and the times of answers since the last one, on SIGTERM one more, and ends. */
#include "test/bench/hollow.h"

#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/client/client.h"
#include "lib/client/kubeconfig.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define LEASE_NAMESPACE "kube-node-lease"
#define LEASE_SECONDS 40
#define IMAGES 20
#define RETRY_MS 2000
#define WATCHES 4

struct hollow h = {
    .prefix = "hollow",
    .cpu = "32",
    .memory = "256Gi",
    .capacity_pods = "110",
    .lease_s = 10,
    .status_s = 300,
    .rate = 500,
    .services = true,
    .verbs = {
        {.name = "lease"}, {.name = "status"}, {.name = "pod_status"}, {.name = "pod_delete"}}};

/* What goes wrong is counted; the first ones are shown. */
void note_failure(const char *what, const char *name, const char *message)
{
    if (h.said++ < 20)
        fprintf(stderr, "hollow_nodes: %s %s: %s\n", what, name, message);
}

const struct api_kind *core_kind(const char *kind)
{
    return api_kind_by_gvk(STR(""), STR("v1"), str_of(kind));
}

static void on_timed(struct client_request *r, const struct client_result *result, void *arg)
{
    struct timed *t = arg;
    (void)r;
    if (result->code == 0)
        load_times_add(&h.verbs[t->verb].times, uv_hrtime() - t->sent_ns);
    else if (result->code != E_NOT_FOUND && result->code != E_EXISTS) {
        h.verbs[t->verb].failed++;
        note_failure(h.verbs[t->verb].name, t->node->name, result->message);
    }
    t->then(t, result);
    free(t);
}

void start_timed(struct node *n, struct hollow_pod *p, enum verb verb, struct client_call *call,
                 void (*then)(struct timed *, const struct client_result *))
{
    struct timed *t = xzalloc(sizeof(*t));
    *t = (struct timed){.verb = verb, .sent_ns = uv_hrtime(), .node = n, .pod = p, .then = then};
    call->done = on_timed;
    call->arg = t;
    struct error err;
    if (client_start(n->client, call, NULL, &err) != 0) {
        fprintf(stderr, "hollow_nodes: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
}

/* --- the Lease -------------------------------------------------------------------------------- */

static void renew(struct node *n);

static void on_lease_timer(uv_timer_t *t)
{
    renew(t->data);
}

static void note_lease(struct node *n, const struct client_result *r)
{
    n->lease_version_len = 0;
    if (r->code == 0) {
        struct str version = api_object_meta(r->object)->resource_version;
        n->lease_version_len = MIN_OF(version.len, sizeof(n->lease_version));
        memcpy(n->lease_version, version.data, n->lease_version_len);
    }
    n->lease_there = r->code != E_NOT_FOUND;
}

static void on_lease(struct timed *t, const struct client_result *r)
{
    struct node *n = t->node;
    note_lease(n, r);
    if (r->code == E_CONFLICT)
        n->lease_there = false; /* Found out anew. */
    /* Up to 4 % later than due, as real agents do: those that began together do not stay together.
     */
    uint64_t ms = h.lease_s * UINT64_C(1000);
    uv_timer_start(&n->lease_timer, on_lease_timer, ms + ms * (uint64_t)(rand() % 40) / 1000, 0);
}

static void on_lease_read(struct client_request *r, const struct client_result *result, void *arg)
{
    struct node *n = arg;
    (void)r;
    note_lease(n, result);
    if (result->code == 0)
        renew(n);
    else
        uv_timer_start(&n->lease_timer, on_lease_timer, RETRY_MS, 0);
}

static void on_lease_there(struct timed *t, const struct client_result *r)
{
    struct error err;
    if (r->code != E_EXISTS) {
        on_lease(t, r);
        return;
    }
    struct client_call call = {
        .verb = CLIENT_GET, /* Of an agent before: its version is needed. */
        .kind = api_kind_by_gvk(STR("coordination.k8s.io"), STR("v1"), STR("Lease")),
        .namespace_name = STR(LEASE_NAMESPACE),
        .name = str_of(t->node->name),
        .done = on_lease_read,
        .arg = t->node};
    if (client_start(t->node->client, &call, NULL, &err) != 0)
        exit(EXIT_FAILURE);
}

static void renew(struct node *n)
{
    struct meta_v1_micro_time now;
    uv_timeval64_t tv;
    uv_gettimeofday(&tv);
    now = (struct meta_v1_micro_time){.seconds = tv.tv_sec, .nanos = tv.tv_usec * 1000};
    struct meta_v1_owner_reference owner = {.api_version = STR("v1"),
                                            .kind = STR("Node"),
                                            .name = str_of(n->name),
                                            .uid = str_of(n->uid)};
    bool there = n->lease_there;
    struct coordination_v1_lease lease = {
        .metadata = {.name = str_of(n->name),
                     .namespace = STR(LEASE_NAMESPACE),
                     .resource_version = str_n(n->lease_version, n->lease_version_len),
                     .owner_references = &owner,
                     .owner_references_count = 1},
        .spec = {.has_holder_identity = true,
                 .holder_identity = str_of(n->name),
                 .has_lease_duration_seconds = true,
                 .lease_duration_seconds = LEASE_SECONDS,
                 .renew_time = &now},
    };
    struct client_call call = {
        .verb = there ? CLIENT_UPDATE : CLIENT_CREATE,
        .kind = api_kind_by_gvk(STR("coordination.k8s.io"), STR("v1"), STR("Lease")),
        .namespace_name = STR(LEASE_NAMESPACE),
        .name = there ? str_of(n->name) : STR_NULL,
        .body = &lease};
    start_timed(n, NULL, LEASE, &call, there ? on_lease : on_lease_there);
}

/* --- the Node --------------------------------------------------------------------------------- */

struct str now_text(struct arena *a)
{
    uv_timeval64_t tv;
    char text[TIME_TEXT_MAX];
    uv_gettimeofday(&tv);
    size_t n = time_format(&(struct meta_v1_time){.seconds = tv.tv_sec}, text);
    return arena_str(a, str_n(text, n));
}

static struct str conditions(struct arena *a)
{
    static const struct {
        const char *type, *status, *reason, *message;
    } all[] = {
        {"MemoryPressure", "False", "KubeletHasSufficientMemory",
         "kubelet has sufficient memory available"},
        {"DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
        {"PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
        {"Ready", "True", "KubeletReady", "kubelet is posting ready status"},
    };
    AUTO_BUF b = BUF_INIT;
    struct str now = now_text(a);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        buf_printf(&b,
                   "%s{\"type\":\"%s\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":\"%s\","
                   "\"lastHeartbeatTime\":\"" STR_FMT "\",\"lastTransitionTime\":\"" STR_FMT "\"}",
                   i != 0 ? "," : "", all[i].type, all[i].status, all[i].reason, all[i].message,
                   STR_ARG(now), STR_ARG(now));
    return arena_str(a, buf_str(&b));
}

static struct str node_body(struct arena *a, const struct node *n)
{
    AUTO_BUF images = BUF_INIT;
    for (int i = 0; i < IMAGES; i++)
        buf_printf(&images,
                   "%s{\"names\":[\"registry.example/team-%d/"
                   "image-%d@sha256:%064d\",\"registry.example/team-%d/"
                   "image-%d:v1.%d.0\"],\"sizeBytes\":%d}",
                   i != 0 ? "," : "", i % 4, i, i, i % 4, i, i, 10000000 + i);
    struct str amounts = arena_printf(a,
                                      "{\"cpu\":\"%s\",\"memory\":\"%s\",\"pods\":\"%s\","
                                      "\"ephemeral-storage\":\"500Gi\",\"hugepages-2Mi\":\"0\"}",
                                      h.cpu, h.memory, h.capacity_pods);
    return arena_printf(
        a,
        "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":{"
        "\"kubernetes.io/"
        "hostname\":\"%s\",\"kubernetes.io/os\":\"linux\",\"kubernetes.io/"
        "arch\":\"amd64\",\"topology.kubernetes.io/"
        "zone\":\"zone-%zu\",\"topology.kubernetes.io/"
        "region\":\"region\"}},\"status\":{\"capacity\":" STR_FMT ",\"allocatable\":" STR_FMT
        ",\"conditions\":[" STR_FMT "],\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.%"
        "zu.%zu.%zu\"},{\"type\":\"Hostname\",\"address\":"
        "\"%s\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":10250}},\"nodeInfo\":{"
        "\"machineID\":\"%032zx\","
        "\"systemUUID\":\"%032zx\",\"bootID\":\"%032zx\",\"kernelVersion\":\"6.1.0\",\"osImage\":"
        "\"Debian GNU/Linux 12 "
        "(bookworm)\",\"containerRuntimeVersion\":\"containerd://"
        "1.6.20\",\"kubeletVersion\":\"v1.36.2\","
        "\"kubeProxyVersion\":\"v1.36.2\",\"operatingSystem\":\"linux\",\"architecture\":\"amd64\"}"
        ",\"images\":[" STR_FMT "]}}",
        n->name, n->name, n->index % 3, STR_ARG(amounts), STR_ARG(amounts), STR_ARG(conditions(a)),
        16 + n->index / 65536, n->index / 256 % 256, n->index % 256, n->name, n->index, n->index,
        n->index, STR_ARG(buf_str(&images)));
}

static void send_status(uv_timer_t *t);

static void on_status(struct timed *t, const struct client_result *r)
{
    (void)r;
    uv_timer_start(&t->node->status_timer, send_status, h.status_s * UINT64_C(1000), 0);
}

static void patch_status(struct node *n)
{
    AUTO_ARENA *a = arena_new(0);
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = core_kind("Node"),
        .name = str_of(n->name),
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body =
            arena_printf(a, "{\"status\":{\"conditions\":[" STR_FMT "]}}", STR_ARG(conditions(a))),
        .undecoded = true};
    start_timed(n, NULL, STATUS, &call, on_status);
}

static void send_status(uv_timer_t *t)
{
    patch_status(t->data);
}

/* --- watches ---------------------------------------------------------------------------------- */

struct watching {
    struct node *node;
    const char *group, *kind, *selector; /* A format with the node's name; NULL: everything. */
    uv_timer_t again;
    bool complete; /* The first bookmark has come. */
};

static const struct watching watches[WATCHES] = {
    {.group = "", .kind = "Pod", .selector = "spec.nodeName=%s"},
    {.group = "", .kind = "Node", .selector = "metadata.name=%s"},
    {.group = "", .kind = "Service"},
    {.group = "discovery.k8s.io", .kind = "EndpointSlice"},
};

static void watch(struct watching *w);

static void on_event(struct client_watch *c, const struct client_event *e, void *arg)
{
    struct watching *w = arg;
    (void)c;
    h.events++;
    if (w->kind != watches[0].kind)
        return;
    if (e->type != CLIENT_BOOKMARK)
        hollow_pod_event(w->node, e);
    else if (!w->complete) {
        w->complete = true;
        hollow_pods_sweep(w->node);
    }
}

static void on_again(uv_timer_t *t)
{
    watch(t->data);
}

static void on_end(struct client_watch *c, const struct client_result *r, void *arg)
{
    struct watching *w = arg;
    (void)c;
    h.watch_ends++;
    if (r->code != 0)
        note_failure("watch", w->node->name, r->message);
    uv_timer_start(&w->again, on_again, r->code == 0 ? 1 : RETRY_MS, 0);
}

static void watch(struct watching *w)
{
    AUTO_ARENA *a = arena_new(256);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    struct str selector =
        w->selector != NULL ? arena_printf(a, w->selector, w->node->name) : STR_NULL;
#pragma GCC diagnostic pop
    struct client_watch_config config = {
        .kind = api_kind_by_gvk(str_of(w->group), STR("v1"), str_of(w->kind)),
        .list = {.field_selector = selector, .resource_version_match = STR("NotOlderThan")},
        .send_initial_events = true,
        .on_event = on_event,
        .on_end = on_end,
        .arg = w};
    struct error err;
    w->complete = false;
    w->node->epoch += w->kind == watches[0].kind;
    if (client_watch_start(w->node->client, &config, NULL, &err) != 0) {
        fprintf(stderr, "hollow_nodes: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
}

static void begin(struct node *n)
{
    renew(n);
    if (n->taken_over) /* Lost meanwhile, perhaps: the first word is that it is there again. */
        patch_status(n);
    else
        uv_timer_start(&n->status_timer, send_status,
                       (uint64_t)h.status_s * 1000 * n->index / h.count, 0);
    for (size_t i = 0; i < (h.services ? WATCHES : 2); i++) {
        struct watching *w = xzalloc(sizeof(*w));
        *w = watches[i];
        w->node = n;
        uv_timer_init(h.loop, &w->again);
        w->again.data = w;
        watch(w);
    }
    if (++h.registered == h.count) {
        printf("registered=%zu seconds=%.1f\n", h.count, (double)(uv_hrtime() - h.begun_ns) / 1e9);
        fflush(stdout);
    }
}

/* --- registration ----------------------------------------------------------------------------- */

static void enlist(struct node *n);

static void on_start_timer(uv_timer_t *t)
{
    enlist(t->data);
}

static void on_enlisted(struct client_request *r, const struct client_result *result, void *arg)
{
    struct node *n = arg;
    (void)r;
    if (result->code == E_EXISTS) {
        n->taken_over = true; /* An agent of this name ran before: its object is taken over. */
        struct client_call call = {.verb = CLIENT_GET,
                                   .kind = core_kind("Node"),
                                   .name = str_of(n->name),
                                   .done = on_enlisted,
                                   .arg = n};
        struct error err;
        if (client_start(n->client, &call, NULL, &err) != 0)
            exit(EXIT_FAILURE);
        return;
    }
    if (result->code != 0) {
        note_failure("registration", n->name, result->message);
        uv_timer_start(&n->start_timer, on_start_timer, RETRY_MS, 0);
        return;
    }
    snprintf(n->uid, sizeof(n->uid), STR_FMT, STR_ARG(api_object_meta(result->object)->uid));
    begin(n);
}

static void enlist(struct node *n)
{
    AUTO_ARENA *a = arena_new(0);
    struct client_call call = {.verb = CLIENT_CREATE,
                               .kind = core_kind("Node"),
                               .raw_body = node_body(a, n),
                               .done = on_enlisted,
                               .arg = n};
    struct error err;
    if (client_start(n->client, &call, NULL, &err) != 0) {
        fprintf(stderr, "hollow_nodes: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
}

static void connect_node(struct node *n, size_t i)
{
    static const char *const groups[] = {"system:nodes", "system:authenticated", NULL};
    struct kubeconfig *k;
    struct error err;
    struct client_options options = {.user_agent = "hollow-node/1"};
    snprintf(n->name, sizeof(n->name), "%s-%05zu", h.prefix, i);
    n->index = i;
    map_init(&n->pods);
    uv_timer_init(h.loop, &n->lease_timer);
    uv_timer_init(h.loop, &n->status_timer);
    uv_timer_init(h.loop, &n->start_timer);
    n->lease_timer.data = n->status_timer.data = n->start_timer.data = n;
    if (kubeconfig_load(h.kubeconfigs[i % h.server_count], NULL, &k, &err) != 0) {
        fprintf(stderr, "hollow_nodes: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
    k->impersonate_user = arena_printf(k->arena, "system:node:%s", n->name).data;
    k->impersonate_groups = groups;
    if (client_new(h.loop, k, &options, &n->client, &err) != 0) {
        fprintf(stderr, "hollow_nodes: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
    enlist(n);
}

static void on_starter(uv_timer_t *t)
{
    size_t due = (size_t)((double)(uv_hrtime() - h.begun_ns) / 1e9 * h.rate) + 1;
    while (h.started < h.count && h.started < due) {
        connect_node(&h.nodes[h.started], h.started);
        h.started++;
    }
    if (h.started == h.count)
        uv_timer_stop(t);
}

/* --- reports ---------------------------------------------------------------------------------- */

static void report(void)
{
    printf("nodes=%zu pods=%zu running=%zu events=%zu watch_ends=%zu", h.registered, h.pods,
           h.running, h.events, h.watch_ends);
    for (size_t i = 0; i < VERBS; i++) {
        struct verb_times *v = &h.verbs[i];
        printf(" %s=%zu,%.2f,%.2f,%.2f,%zu", v->name, v->times.count, load_times_ms(&v->times, 500),
               load_times_ms(&v->times, 990), (double)v->times.max_us / 1e3, v->failed);
        load_times_done(&v->times);
        v->failed = 0;
    }
    printf("\n");
    fflush(stdout);
    h.events = h.watch_ends = 0;
}

static void on_signal(uv_signal_t *s, int number)
{
    (void)s;
    report();
    if (number != SIGUSR1)
        uv_stop(h.loop);
}

static void on_signals(uv_signal_t *s, int number)
{
    uv_signal_init(h.loop, s);
    uv_signal_start(s, on_signal, number);
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: hollow_nodes --kubeconfigs A[,B...] --nodes N [--prefix P] [--rate R] [--lease S] "
        "[--status S] [--cpu N] [--memory N] [--pods N] [--no-services]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"kubeconfigs", 1, NULL, 'k'},
                                          {"nodes", 1, NULL, 'n'},
                                          {"prefix", 1, NULL, 'p'},
                                          {"rate", 1, NULL, 'r'},
                                          {"lease", 1, NULL, 'l'},
                                          {"status", 1, NULL, 's'},
                                          {"cpu", 1, NULL, 'c'},
                                          {"memory", 1, NULL, 'm'},
                                          {"pods", 1, NULL, 'o'},
                                          {"no-services", 0, NULL, 'x'},
                                          {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'k':
            for (char *p = strtok(xstrdup(optarg), ","); p != NULL && h.server_count < SERVERS_MAX;
                 p = strtok(NULL, ","))
                h.kubeconfigs[h.server_count++] = p;
            break;
        case 'n':
            h.count = strtoul(optarg, NULL, 10);
            break;
        case 'p':
            h.prefix = optarg;
            break;
        case 'r':
            h.rate = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'l':
            h.lease_s = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            h.status_s = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            h.cpu = optarg;
            break;
        case 'm':
            h.memory = optarg;
            break;
        case 'o':
            h.capacity_pods = optarg;
            break;
        case 'x':
            h.services = false;
            break;
        default:
            return usage();
        }
    }
    if (h.server_count == 0 || h.count == 0 || h.rate == 0 || h.lease_s == 0 || h.status_s == 0 ||
        optind != argc || strlen(h.prefix) > 40)
        return usage();
    struct rlimit files = {.rlim_cur = 65536, .rlim_max = 65536};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    h.loop = uv_default_loop();
    h.nodes = xzalloc(h.count * sizeof(*h.nodes));
    on_signals(&h.usr1, SIGUSR1);
    on_signals(&h.term, SIGTERM);
    on_signals(&h.intr, SIGINT);
    h.begun_ns = uv_hrtime();
    uv_timer_init(h.loop, &h.starter);
    uv_timer_start(&h.starter, on_starter, 0, 5);
    uv_run(h.loop, UV_RUN_DEFAULT);
    return 0;
}
