/* sched_load.c - load on a whole control plane: nodes as objects, then pods, and a
 * watch that sees them bound.
 *
 *   sched_load --kubeconfigs A[,B,...] [--connections N] [--flight N] STEP...
 *
 *   nodes=N         creates N nodes: 4 CPUs, 32Gi, 110 pods, three zones
 *   pods=N          creates N pods of 100m and 500Mi as fast as it can: pods/s until all are bound
 *   steady=R:S      R pods a second for S seconds: times from sending one's creation until
 *                   the watch shows it bound
 *   deployment=N    a Deployment of N replicas: time until all are bound
 *   deployments=C:N the same of C Deployments together
 *
 * Steps run in the order given; each prints a line of name=value pairs. Exit code 1
 * when a call failed or a step took more than 100 s. */
#include "api/core_v1.h"
#include "lib/api/codec.h"
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

#define CONNECTIONS_MAX 64
#define SERVERS_MAX 8
#define PODS_MAX 1000000
#define STEP_MS_MAX 300000
#define NAMESPACE "bench"

struct load {
    uv_loop_t *loop;
    const char *kubeconfigs[SERVERS_MAX];
    size_t server_count;
    struct client *clients[CONNECTIONS_MAX];
    unsigned connections, flight;
    uv_timer_t tick, limit;
    /* Of this step. */
    struct str (*body)(struct load *l, struct arena *a, size_t i);
    const struct api_kind *kind;
    size_t made, count, answered, failed, in_flight;
    double rate; /* Per second; 0: as fast as flight allows. */
    uint64_t start_ns, created_ns;
    /* Of the pods. */
    uint64_t *sent_ns; /* By number. */
    size_t first, bound, bound_wanted;
    size_t deployments; /* Made by earlier steps. */
    uint64_t bound_ns;
    struct load_times times;
    bool over;
};

static struct client *connect_to(struct load *l, size_t i)
{
    struct kubeconfig *k;
    struct client *c;
    struct error err;
    struct client_options options = {.user_agent = "sched-load/1"};
    if (kubeconfig_load(l->kubeconfigs[i % l->server_count], NULL, &k, &err) != 0 ||
        client_new(l->loop, k, &options, &c, &err) != 0) {
        fprintf(stderr, "sched_load: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
    return c;
}

static void check_end(struct load *l)
{
    bool created = l->answered == l->count;
    if (created && l->created_ns == 0)
        l->created_ns = uv_hrtime();
    if (created && l->bound >= l->bound_wanted) {
        l->over = true;
        uv_stop(l->loop);
    }
}

/* --- creating --------------------------------------------------------------------------------- */

static void fill(struct load *l);

static void on_created(struct client_request *r, const struct client_result *result, void *arg)
{
    struct load *l = arg;
    (void)r;
    if (result->code != 0 && result->code != E_EXISTS) {
        if (l->failed++ < 5)
            fprintf(stderr, "sched_load: %s\n", result->message);
    }
    l->answered++;
    l->in_flight--;
    fill(l);
    check_end(l);
}

static void create_one(struct load *l)
{
    AUTO_ARENA *a = arena_new(0);
    size_t i = l->made++;
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = l->kind,
        .namespace_name = l->kind->namespaced ? STR(NAMESPACE) : STR_NULL,
        .raw_body = l->body(l, a, i),
        .undecoded = true,
        .done = on_created,
        .arg = l,
    };
    struct error err;
    if (l->sent_ns != NULL && l->first + i < PODS_MAX)
        l->sent_ns[l->first + i] = uv_hrtime();
    l->in_flight++;
    if (client_start(l->clients[i % l->connections], &call, NULL, &err) != 0) {
        fprintf(stderr, "sched_load: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
}

static void fill(struct load *l)
{
    size_t due = l->count;
    if (l->rate > 0)
        due = MIN_OF(due, (size_t)((double)(uv_hrtime() - l->start_ns) / 1e9 * l->rate));
    while (l->made < due && (l->rate > 0 || l->in_flight < (size_t)l->flight * l->connections))
        create_one(l);
}

static void on_tick(uv_timer_t *t)
{
    fill(t->data);
}

static void on_limit(uv_timer_t *t)
{
    uv_stop(((struct load *)t->data)->loop);
}

static void run_step(struct load *l, const char *kind, const char *group, size_t count,
                     struct str (*body)(struct load *, struct arena *, size_t))
{
    l->kind = api_kind_by_gvk(str_of(group), STR("v1"), str_of(kind));
    l->body = body;
    l->count = count;
    l->made = l->answered = l->bound = 0;
    l->created_ns = l->bound_ns = 0;
    l->over = false;
    l->start_ns = uv_hrtime();
    fill(l);
    if (l->rate > 0)
        uv_timer_start(&l->tick, on_tick, 1, 1);
    uv_timer_start(&l->limit, on_limit, STEP_MS_MAX, 0);
    uv_run(l->loop, UV_RUN_DEFAULT);
    uv_timer_stop(&l->tick);
    uv_timer_stop(&l->limit);
    if (!l->over) {
        fprintf(stderr, "sched_load: %zu of %zu created, %zu of %zu bound after %d s\n",
                l->answered, l->count, l->bound, l->bound_wanted, STEP_MS_MAX / 1000);
        exit(EXIT_FAILURE);
    }
}

static double since(uint64_t from, uint64_t to)
{
    return (double)(to - from) / 1e9;
}

/* --- objects ---------------------------------------------------------------------------------- */

static struct str namespace_body(struct load *l, struct arena *a, size_t i)
{
    (void)l, (void)a, (void)i;
    return STR("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" NAMESPACE
               "\"}}");
}

static struct str account_body(struct load *l, struct arena *a, size_t i)
{
    (void)l, (void)a, (void)i;
    return STR("{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":"
               "\"default\"},\"automountServiceAccountToken\":false}");
}

static struct str node_body(struct load *l, struct arena *a, size_t i)
{
    (void)l;
#define AMOUNTS "{\"cpu\":\"4\",\"memory\":\"32Gi\",\"pods\":\"110\"}"
    return arena_printf(
        a,
        "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node-%05zu\",\"labels\":"
        "{\"kubernetes.io/hostname\":\"node-%05zu\",\"topology.kubernetes.io/zone\":\"zone-%zu\"}},"
        "\"status\":{\"capacity\":" AMOUNTS ",\"allocatable\":" AMOUNTS ",\"conditions\":["
        "{\"type\":\"Ready\",\"status\":\"True\"}]}}",
        i, i, i % 3);
}

static struct str pod_body(struct load *l, struct arena *a, size_t i)
{
    return arena_printf(
        a,
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"pod-%06zu\"},\"spec\":{"
        "\"automountServiceAccountToken\":false,\"containers\":[{\"name\":\"pause\",\"image\":"
        "\"registry.k8s.io/pause:3.10\",\"ports\":[{\"containerPort\":80}],\"resources\":{"
        "\"requests\":{\"cpu\":\"100m\",\"memory\":\"500Mi\"},\"limits\":{\"cpu\":\"100m\","
        "\"memory\":\"500Mi\"}}}]}}",
        l->first + i);
}

static size_t replicas;

static struct str deployment_body(struct load *l, struct arena *a, size_t i)
{
    return arena_printf(
        a,
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web-%zu\"},"
        "\"spec\":{\"replicas\":%zu,\"selector\":{\"matchLabels\":{\"app\":\"web-%zu\"}},"
        "\"template\":{"
        "\"metadata\":{\"labels\":{\"app\":\"web-%zu\"}},\"spec\":{"
        "\"automountServiceAccountToken\":"
        "false,\"containers\":[{\"name\":\"pause\",\"image\":\"registry.k8s.io/pause:3.10\","
        "\"resources\":{\"requests\":{\"cpu\":\"10m\",\"memory\":\"10Mi\"}}}]}}}}",
        l->deployments + i, replicas, l->deployments + i, l->deployments + i);
}

/* --- the watch -------------------------------------------------------------------------------- */

/* Pods with a node alone are watched: an addition is a binding. */
static void on_event(struct client_watch *w, const struct client_event *e, void *arg)
{
    struct load *l = arg;
    (void)w;
    if (e->type != CLIENT_ADDED)
        return;
    struct str name = ((const struct core_v1_pod *)e->object->msg)->metadata.name;
    uint64_t now = uv_hrtime();
    if (str_has_prefix(name, STR("pod-"))) {
        size_t i = strtoul(name.data + 4, NULL, 10);
        if (i < l->first || i >= PODS_MAX || l->sent_ns[i] == 0)
            return;
        load_times_add(&l->times, now - l->sent_ns[i]);
    }
    l->bound++;
    l->bound_ns = now;
    check_end(l);
}

static void on_watch_end(struct client_watch *w, const struct client_result *result, void *arg)
{
    (void)w, (void)arg;
    fprintf(stderr, "sched_load: the watch ended: %s\n", result->message);
    exit(EXIT_FAILURE);
}

static void watch_bindings(struct load *l)
{
    struct client_watch_config config = {
        .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
        .namespace_name = STR(NAMESPACE),
        .list = {.field_selector = STR("spec.nodeName!=")},
        .timeout_s = 3600,
        .on_event = on_event,
        .on_end = on_watch_end,
        .arg = l,
    };
    struct error err;
    if (client_watch_start(connect_to(l, 0), &config, NULL, &err) != 0) {
        fprintf(stderr, "sched_load: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
}

/* --- steps ------------------------------------------------------------------------------------ */

static void pods_step(struct load *l, size_t count, double rate)
{
    l->rate = rate;
    l->bound_wanted = count;
    load_times_done(&l->times);
    run_step(l, "Pod", "", count, pod_body);
    printf("step=%s count=%zu rate=%.0f created_s=%.2f bound_s=%.2f pods_s=%.0f p50_ms=%.1f "
           "p99_ms=%.1f max_ms=%.1f\n",
           rate > 0 ? "steady" : "pods", count, rate, since(l->start_ns, l->created_ns),
           since(l->start_ns, l->bound_ns), (double)count / since(l->start_ns, l->bound_ns),
           load_times_ms(&l->times, 500), load_times_ms(&l->times, 990),
           (double)l->times.max_us / 1e3);
    l->first += count;
    l->rate = 0;
}

static void deployments_step(struct load *l, size_t count, size_t each)
{
    replicas = each;
    l->bound_wanted = count * each;
    run_step(l, "Deployment", "apps", count, deployment_body);
    printf("step=deployment count=%zu seconds=%.2f\n", count * each,
           since(l->start_ns, l->bound_ns));
    l->deployments += count;
}

static bool run(struct load *l, const char *step)
{
    const char *value = strchr(step, '=');
    char *rest = NULL;
    size_t n = value != NULL ? strtoul(value + 1, &rest, 10) : 0;
    if (n == 0 || l->first + n > PODS_MAX)
        return false;
    l->bound_wanted = 0;
    if (strncmp(step, "nodes=", 6) == 0) {
        run_step(l, "Node", "", n, node_body);
        printf("step=nodes count=%zu seconds=%.2f\n", n, since(l->start_ns, l->created_ns));
    } else if (strncmp(step, "pods=", 5) == 0) {
        pods_step(l, n, 0);
    } else if (strncmp(step, "steady=", 7) == 0 && *rest == ':') {
        pods_step(l, n * strtoul(rest + 1, NULL, 10), (double)n);
    } else if (strncmp(step, "deployment=", 11) == 0) {
        deployments_step(l, 1, n);
    } else if (strncmp(step, "deployments=", 12) == 0 && *rest == ':') {
        deployments_step(l, n, strtoul(rest + 1, NULL, 10));
    } else {
        return false;
    }
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"kubeconfigs", 1, NULL, 'k'},
                                          {"connections", 1, NULL, 'c'},
                                          {"flight", 1, NULL, 'f'},
                                          {0}};
    static struct load l = {.connections = 4, .flight = 16};
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 'k') {
            for (char *p = strtok(xstrdup(optarg), ","); p != NULL && l.server_count < SERVERS_MAX;
                 p = strtok(NULL, ","))
                l.kubeconfigs[l.server_count++] = p;
        } else if (c == 'c') {
            l.connections = (unsigned)strtoul(optarg, NULL, 10);
        } else if (c == 'f') {
            l.flight = (unsigned)strtoul(optarg, NULL, 10);
        } else {
            return 2;
        }
    }
    if (l.server_count == 0 || l.connections == 0 || l.connections > CONNECTIONS_MAX ||
        l.flight == 0 || optind == argc) {
        fprintf(stderr, "usage: sched_load --kubeconfigs A[,B...] [options] STEP...\n");
        return 2;
    }
    l.loop = uv_default_loop();
    l.sent_ns = xzalloc(PODS_MAX * sizeof(*l.sent_ns));
    uv_timer_init(l.loop, &l.tick);
    uv_timer_init(l.loop, &l.limit);
    l.tick.data = l.limit.data = &l;
    for (unsigned i = 0; i < l.connections; i++)
        l.clients[i] = connect_to(&l, i);
    run_step(&l, "Namespace", "", 1, namespace_body);
    run_step(&l, "ServiceAccount", "", 1, account_body);
    memset(l.sent_ns, 0, PODS_MAX * sizeof(*l.sent_ns));
    watch_bindings(&l);
    for (; optind < argc; optind++)
        if (!run(&l, argv[optind])) {
            fprintf(stderr, "sched_load: unknown step %s\n", argv[optind]);
            return 2;
        }
    return l.failed == 0 ? 0 : 1;
}
