/* hollow_load.c - what users do to a cluster of hollow nodes, and how long its API servers take to
 * answer meanwhile.
 *
 *   hollow_load --kubeconfigs A[,B,...] STEP...
 *
 *   deployments=C:N   C Deployments of N replicas, each in a namespace of its own: until all are
 * available probe=S:R         for S seconds, R times a second: create, get, patch and delete a
 * ConfigMap, which a watch sees appear; get a pod; each second list the pods of a namespace (N of
 * them), whole and by pages rolling=K:S:R     the same while K Deployments roll out a change; then
 * waits for them scale=C:N         the first C Deployments to N replicas: until they are
 *
 * Each step prints a line. Times are from sending to the whole answer, in ms: count,p50,p99,max.
 * Requests begin when they are due, whether or not those before were answered. Exit code 1 when a
 * call failed or a step took more than 900 s. */
#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/client.h"
#include "lib/client/kubeconfig.h"
#include "test/bench/load_stats.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define SERVERS_MAX 8
#define DEPLOYMENTS_MAX 10000
#define STEP_SECONDS_MAX 900
#define PAGE 500

enum verb { CREATE, GET, PATCH, DELETE, WATCHED, GET_POD, LIST_PODS, LIST_PAGE, VERBS };

struct deployment {
    int64_t wanted_generation, generation;
    int32_t replicas, updated, available, total;
};

static struct {
    uv_loop_t *loop;
    const char *kubeconfigs[SERVERS_MAX];
    size_t server_count;
    struct client *clients[SERVERS_MAX];
    uv_timer_t tick, limit;
    struct load_times times[VERBS];
    size_t failed, in_flight;
    /* Of Deployments. */
    struct deployment deployments[DEPLOYMENTS_MAX];
    size_t deployment_count;
    bool known, awaiting;
    uint64_t begun_ns;
    /* Of the probe. */
    size_t probed, probes_wanted, listed;
    double rate;
    uint64_t probe_ns;
    bool probing;
    char pod[64]; /* Of namespace load-0000. */
} l;

static const char *const verb_names[VERBS] = {"create", "get",     "patch",     "delete",
                                              "watch",  "get_pod", "list_pods", "list_page"};

static void die(const char *what)
{
    fprintf(stderr, "hollow_load: %s\n", what);
    exit(EXIT_FAILURE);
}

static double since(uint64_t from)
{
    return (double)(uv_hrtime() - from) / 1e9;
}

/* --- calls ------------------------------------------------------------------------------------ */

struct timed {
    enum verb verb;
    uint64_t sent_ns;
    size_t number;
    struct client *client;
};

static void next_of_cycle(const struct timed *t);
static void check_end(void);

static void on_done(struct client_request *r, const struct client_result *result, void *arg)
{
    struct timed *t = arg;
    (void)r;
    if (t->verb < VERBS)
        load_times_add(&l.times[t->verb], uv_hrtime() - t->sent_ns);
    if (result->code != 0 && result->code != E_EXISTS && l.failed++ < 10)
        fprintf(stderr, "hollow_load: %s\n", result->message);
    if (t->verb == LIST_PODS && l.pod[0] == '\0' && result->object != NULL &&
        client_list_count(result->object) != 0) {
        const struct core_v1_pod *p = client_list_item(result->object, 0);
        snprintf(l.pod, sizeof(l.pod), STR_FMT, STR_ARG(p->metadata.name));
    }
    l.in_flight--;
    if (result->code == 0)
        next_of_cycle(t);
    free(t);
    check_end();
}

static void start(struct client *c, struct client_call *call, enum verb verb, size_t number)
{
    struct timed *t = xzalloc(sizeof(*t));
    *t = (struct timed){.verb = verb, .sent_ns = uv_hrtime(), .number = number, .client = c};
    call->done = on_done;
    call->arg = t;
    struct error err;
    if (client_start(c, call, NULL, &err) != 0)
        die(error_message(&err));
    l.in_flight++;
}

static const struct api_kind *kind_of(const char *group, const char *kind)
{
    return api_kind_by_gvk(str_of(group), STR("v1"), str_of(kind));
}

static struct client *any_client(size_t i)
{
    return l.clients[i % l.server_count];
}

/* --- Deployments ------------------------------------------------------------------------------ */

static struct str namespace_of(struct arena *a, size_t i)
{
    return arena_printf(a, "load-%04zu", i);
}

static void create(const char *group, const char *kind, struct str namespace_name, struct str body)
{
    struct client_call call = {.verb = CLIENT_CREATE,
                               .kind = kind_of(group, kind),
                               .namespace_name = namespace_name,
                               .raw_body = body,
                               .undecoded = true};
    start(any_client(l.in_flight), &call, VERBS, 0);
}

static void run_until_idle(void)
{
    while (l.in_flight != 0)
        uv_run(l.loop, UV_RUN_ONCE);
}

static bool is_whole(const struct deployment *d)
{
    return d->generation >= d->wanted_generation && d->updated == d->replicas &&
           d->available == d->replicas && d->total == d->replicas;
}

static void check_end(void)
{
    if (l.probing && l.probed == l.probes_wanted && l.in_flight == 0) {
        l.probing = false;
        uv_stop(l.loop);
    }
    if (!l.awaiting)
        return;
    for (size_t i = 0; i < l.deployment_count; i++)
        if (!is_whole(&l.deployments[i]))
            return;
    l.awaiting = false;
    uv_stop(l.loop);
}

static void on_deployment(struct client_watch *w, const struct client_event *e, void *arg)
{
    (void)w, (void)arg;
    if (e->type == CLIENT_BOOKMARK && !l.known) { /* What an earlier run made is known. */
        l.known = true;
        uv_stop(l.loop);
    }
    if (e->type == CLIENT_BOOKMARK || e->type == CLIENT_DELETED)
        return;
    const struct apps_v1_deployment *d = e->object->msg;
    unsigned i;
    if (sscanf(d->metadata.namespace.data, "load-%4u", &i) != 1 || i >= DEPLOYMENTS_MAX)
        return;
    struct deployment *x = &l.deployments[i];
    if (!l.known) {
        x->replicas = d->spec.replicas;
        x->wanted_generation = d->metadata.generation;
        l.deployment_count = MAX_OF(l.deployment_count, (size_t)i + 1);
    }
    x->generation = d->status.observed_generation;
    x->updated = d->status.updated_replicas;
    x->available = d->status.available_replicas;
    x->total = d->status.replicas;
    check_end();
}

static void on_config_map(struct client_watch *w, const struct client_event *e, void *arg);

static void on_watch_end(struct client_watch *w, const struct client_result *result, void *arg)
{
    (void)w, (void)arg;
    fprintf(stderr, "hollow_load: a watch ended: %s\n", result->message);
    exit(EXIT_FAILURE);
}

static void watch(const char *group, const char *kind, struct str namespace_name,
                  void (*on_event)(struct client_watch *, const struct client_event *, void *))
{
    struct client_watch_config config = {.kind = kind_of(group, kind),
                                         .namespace_name = namespace_name,
                                         .timeout_s = 3600,
                                         .list = {.resource_version_match = STR("NotOlderThan")},
                                         .send_initial_events = true,
                                         .on_event = on_event,
                                         .on_end = on_watch_end};
    struct error err;
    if (client_watch_start(any_client(1), &config, NULL, &err) != 0)
        die(error_message(&err));
}

static void await_deployments(void)
{
    l.awaiting = true;
    check_end();
    if (l.awaiting)
        uv_run(l.loop, UV_RUN_DEFAULT);
    if (l.awaiting)
        die("the Deployments were not whole in time");
}

static void deployments_step(size_t count, int32_t replicas)
{
    AUTO_ARENA *a = arena_new(0);
    size_t first = l.deployment_count;
    if (first + count > DEPLOYMENTS_MAX)
        die("too many Deployments");
    for (size_t i = first; i < first + count; i++)
        create("", "Namespace", STR_NULL,
               arena_printf(a,
                            "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":"
                            "\"load-%04zu\"}}",
                            i));
    run_until_idle();
    for (size_t i = first; i < first + count; i++)
        create("", "ServiceAccount", namespace_of(a, i),
               STR("{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":"
                   "\"default\"}}"));
    run_until_idle();
    l.begun_ns = uv_hrtime();
    for (size_t i = first; i < first + count; i++) {
        l.deployments[i] = (struct deployment){.wanted_generation = 1, .replicas = replicas};
        create("apps", "Deployment", namespace_of(a, i),
               arena_printf(
                   a,
                   "{\"apiVersion\":\"apps/"
                   "v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\"},\"spec\":{"
                   "\"replicas\":%d,\"selector\":{\"matchLabels\":{\"app\":\"web\"}},\"template\":{"
                   "\"metadata\":{"
                   "\"labels\":{\"app\":\"web\"}},\"spec\":{\"automountServiceAccountToken\":false,"
                   "\"terminationGracePeriodSeconds\":1,\"containers\":[{\"name\":\"c\",\"image\":"
                   "\"registry.example/"
                   "pause:3.10\",\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":"
                   "\"200Mi\"}}}]}}}}",
                   replicas));
    }
    l.deployment_count += count;
    await_deployments();
    double s = since(l.begun_ns);
    printf("step=deployments count=%zu replicas=%d seconds=%.1f pods_s=%.0f\n", count, replicas, s,
           (double)count * replicas / s);
}

static void patch_deployment(struct arena *a, size_t i, struct str patch)
{
    struct client_call call = {.verb = CLIENT_PATCH,
                               .kind = kind_of("apps", "Deployment"),
                               .namespace_name = namespace_of(a, i),
                               .name = STR("web"),
                               .patch_type = CLIENT_PATCH_MERGE,
                               .raw_body = patch,
                               .undecoded = true};
    l.deployments[i].wanted_generation++;
    start(any_client(i), &call, VERBS, 0);
}

static void scale_step(size_t count, int32_t replicas)
{
    AUTO_ARENA *a = arena_new(0);
    l.begun_ns = uv_hrtime();
    for (size_t i = 0; i < count && i < l.deployment_count; i++) {
        l.deployments[i].replicas = replicas;
        patch_deployment(a, i, arena_printf(a, "{\"spec\":{\"replicas\":%d}}", replicas));
    }
    await_deployments();
    printf("step=scale count=%zu replicas=%d seconds=%.1f\n", count, replicas, since(l.begun_ns));
}

/* --- the probe -------------------------------------------------------------------------------- */

#define PROBE_NAMESPACE "probe"

static uint64_t *created_ns;

static void on_config_map(struct client_watch *w, const struct client_event *e, void *arg)
{
    (void)w, (void)arg;
    unsigned i;
    if (e->type != CLIENT_ADDED ||
        sscanf(api_object_meta(e->object)->name.data, "probe-%8u", &i) != 1 ||
        i >= l.probes_wanted || created_ns[i] == 0)
        return;
    load_times_add(&l.times[WATCHED], uv_hrtime() - created_ns[i]);
}

static void cycle(struct client *c, enum verb verb, size_t i)
{
    AUTO_ARENA *a = arena_new(0);
    struct str name = arena_printf(a, "probe-%08zu", i);
    struct client_call call = {.kind = kind_of("", "ConfigMap"),
                               .namespace_name = STR(PROBE_NAMESPACE),
                               .name = name,
                               .undecoded = true};
    switch (verb) {
    case CREATE:
        call.verb = CLIENT_CREATE;
        call.name = STR_NULL;
        call.raw_body = arena_printf(
            a,
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"" STR_FMT
            "\"},\"data\":{\"k\":\"%0512zu\"}}",
            STR_ARG(name), i);
        created_ns[i] = uv_hrtime();
        break;
    case GET:
        call.verb = CLIENT_GET;
        break;
    case PATCH:
        call.verb = CLIENT_PATCH;
        call.patch_type = CLIENT_PATCH_MERGE;
        call.raw_body = STR("{\"data\":{\"more\":\"x\"}}");
        break;
    default:
        call.verb = CLIENT_DELETE;
        break;
    }
    start(c, &call, verb, i);
}

static void next_of_cycle(const struct timed *t)
{
    if (t->verb < DELETE)
        cycle(t->client, t->verb + 1, t->number);
}

static void look_at_pods(size_t second)
{
    AUTO_ARENA *a = arena_new(0);
    struct client_call call = {.verb = CLIENT_LIST,
                               .kind = kind_of("", "Pod"),
                               .namespace_name = namespace_of(a, second % l.deployment_count),
                               .undecoded = l.pod[0] != '\0'};
    if (l.pod[0] == '\0')
        call.namespace_name = namespace_of(a, 0);
    start(any_client(second), &call, LIST_PODS, 0);
    call.undecoded = true;
    call.list.limit = PAGE;
    call.namespace_name = STR_NULL;
    start(any_client(second + 1), &call, LIST_PAGE, 0);
}

static void get_pod(size_t i)
{
    AUTO_ARENA *a = arena_new(0);
    struct client_call call = {.verb = CLIENT_GET,
                               .kind = kind_of("", "Pod"),
                               .namespace_name = namespace_of(a, 0),
                               .name = str_of(l.pod),
                               .undecoded = true};
    start(any_client(i), &call, GET_POD, 0);
}

static void on_tick(uv_timer_t *t)
{
    (void)t;
    double s = since(l.probe_ns);
    size_t due = (size_t)(s * l.rate);
    while (l.probed < l.probes_wanted && l.probed < due) {
        cycle(any_client(l.probed), CREATE, l.probed);
        if (l.pod[0] != '\0')
            get_pod(l.probed);
        l.probed++;
    }
    for (; l.listed < (size_t)s && l.probed < l.probes_wanted && l.deployment_count != 0;
         l.listed++)
        look_at_pods(l.listed);
    check_end();
}

static void probe_step(const char *step, size_t rolling, size_t seconds, double rate)
{
    AUTO_ARENA *a = arena_new(0);
    static bool watched;
    create("", "Namespace", STR_NULL,
           STR("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":"
               "\"" PROBE_NAMESPACE "\"}}"));
    run_until_idle();
    l.rate = rate;
    l.probes_wanted = (size_t)((double)seconds * rate);
    l.probed = l.listed = 0;
    free(created_ns);
    created_ns = xzalloc((l.probes_wanted + 1) * sizeof(*created_ns));
    for (size_t i = 0; i < VERBS; i++)
        load_times_done(&l.times[i]);
    if (!watched)
        watch("", "ConfigMap", STR(PROBE_NAMESPACE), on_config_map);
    watched = true;
    l.begun_ns = uv_hrtime();
    for (size_t i = 0; i < rolling && i < l.deployment_count; i++)
        patch_deployment(
            a, i,
            arena_printf(
                a,
                "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"rolled\":\"%llu\"}}}}}",
                (unsigned long long)l.begun_ns));
    l.probe_ns = uv_hrtime();
    l.probing = true;
    uv_timer_start(&l.tick, on_tick, 1, 1);
    uv_run(l.loop, UV_RUN_DEFAULT);
    uv_timer_stop(&l.tick);
    if (l.probing)
        die("the probe did not end in time");
    if (rolling != 0)
        await_deployments();
    printf("step=%s rolling=%zu seconds=%.1f rate=%.0f", step, rolling, since(l.begun_ns), rate);
    for (size_t i = 0; i < VERBS; i++)
        printf(" %s=%zu,%.2f,%.2f,%.2f", verb_names[i], l.times[i].count,
               load_times_ms(&l.times[i], 500), load_times_ms(&l.times[i], 990),
               (double)l.times[i].max_us / 1e3);
    printf("\n");
}

/* --- steps ------------------------------------------------------------------------------------ */

static void on_limit(uv_timer_t *t)
{
    (void)t;
    uv_stop(l.loop);
}

static bool run(const char *step)
{
    size_t n[3] = {0};
    uv_timer_start(&l.limit, on_limit, STEP_SECONDS_MAX * 1000, 0);
    if (sscanf(step, "deployments=%zu:%zu", &n[0], &n[1]) == 2 && n[1] != 0)
        deployments_step(n[0], (int32_t)n[1]);
    else if (sscanf(step, "scale=%zu:%zu", &n[0], &n[1]) == 2)
        scale_step(n[0], (int32_t)n[1]);
    else if (sscanf(step, "probe=%zu:%zu", &n[0], &n[1]) == 2 && n[0] * n[1] != 0)
        probe_step("probe", 0, n[0], (double)n[1]);
    else if (sscanf(step, "rolling=%zu:%zu:%zu", &n[0], &n[1], &n[2]) == 3 && n[1] * n[2] != 0)
        probe_step("rolling", n[0], n[1], (double)n[2]);
    else
        return false;
    uv_timer_stop(&l.limit);
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"kubeconfigs", 1, NULL, 'k'}, {0}};
    struct client_options options = {.user_agent = "hollow-load/1"};
    struct kubeconfig *k;
    struct error err;
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) == 'k')
        for (char *p = strtok(xstrdup(optarg), ","); p != NULL && l.server_count < SERVERS_MAX;
             p = strtok(NULL, ","))
            l.kubeconfigs[l.server_count++] = p;
    if (c != -1 || l.server_count == 0 || optind == argc) {
        fprintf(stderr, "usage: hollow_load --kubeconfigs A[,B...] STEP...\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    l.loop = uv_default_loop();
    uv_timer_init(l.loop, &l.tick);
    uv_timer_init(l.loop, &l.limit);
    for (size_t i = 0; i < l.server_count; i++)
        if (kubeconfig_load(l.kubeconfigs[i], NULL, &k, &err) != 0 ||
            client_new(l.loop, k, &options, &l.clients[i], &err) != 0)
            die(error_message(&err));
    watch("apps", "Deployment", STR_NULL, on_deployment);
    uv_timer_start(&l.limit, on_limit, STEP_SECONDS_MAX * 1000, 0);
    uv_run(l.loop, UV_RUN_DEFAULT);
    if (!l.known)
        die("the Deployments could not be read");
    for (; optind < argc; optind++)
        if (!run(argv[optind])) {
            fprintf(stderr, "hollow_load: unknown step %s\n", argv[optind]);
            return 2;
        }
    return l.failed == 0 ? 0 : 1;
}
