/* bench_flow.c - what priority and fairness costs a request that does not wait: finding its
 * schema among the built-in ones, and taking and giving back a seat.
 * usage: bench_flow [ROUNDS] */
#include "api/flowcontrol_v1.h"
#include "apiserver/bootstrap_objects.h"
#include "apiserver/flow_match.h"
#include "apiserver/flow_objects.h"
#include "apiserver/flow_set.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "apiserver/request_info.h"
#include "apiserver/user.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/map.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define SCHEMAS_MAX 32

static const struct flowcontrol_v1_flow_schema *schemas[SCHEMAS_MAX];
static size_t schema_count;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void load(struct arena *a)
{
    struct kind_ctx ctx = {.arena = a, .env = env_system(), .subresource = ""};
    struct builtin b;
    for (size_t i = 0; flow_builtin_make(&ctx, i, &b) && schema_count < SCHEMAS_MAX; i++)
        if (strcmp(b.res->storage->kind, "FlowSchema") == 0)
            schemas[schema_count++] = b.obj;
}

static size_t classify(const struct user *u, const struct request_info *info)
{
    for (size_t i = 0; i < schema_count; i++)
        if (flow_match(&schemas[i]->spec, u, info))
            return i;
    return schema_count;
}

static void bench_match(struct arena *a, const char *what, const struct user *u, const char *method,
                        const char *path, uint64_t rounds)
{
    struct request_info info;
    size_t sum = 0;
    if (request_info_parse(a, str_of(method), str_of(path), STR(""), &info) != 0)
        return;
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < rounds; i++)
        sum += classify(u, &info);
    printf("%-44s %6.0f ns  (schema %zu of %zu)\n", what,
           (double)(now_ns() - start) / (double)rounds, (size_t)(sum / rounds) + 1, schema_count);
}

static void bench_set(const char *what, int32_t queues, int32_t hand, size_t waiting,
                      uint64_t rounds)
{
    struct flow_set set;
    struct flow_counts counts = {0};
    struct flow_set_config c = {.queues = queues, .hand_size = hand, .queue_length_max = 1000};
    struct list out;
    struct flow_ticket *backlog = xzalloc((waiting + 1) * sizeof(*backlog)),
                       t = {.counts = &counts};
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const uint64_t seed[2] = {1, 2};
    list_init(&out);
    flow_set_init(&set, now_ns());
    flow_set_configure(&set, &c, waiting != 0 ? 1 : 100, 100, now_ns(), &out);
    for (size_t i = 0; i < waiting; i++) {
        backlog[i] = (struct flow_ticket){.counts = &counts, .work.seats = 1};
        flow_set_start(&set, &backlog[i], i * 7919, now_ns(), &out);
    }
    struct flow_ticket *running = &backlog[0];
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < rounds; i++) {
        struct flow_ticket *mine = waiting != 0 ? running : &t;
        if (waiting != 0) { /* One ends, another is handed out, and the first comes again. */
            flow_set_finish(&set, mine, now_ns(), &out);
            running = LIST_ENTRY(list_pop_front(&out), struct flow_ticket, out);
        }
        mine->work = (struct flow_work){.seats = 1};
        pthread_mutex_lock(&lock);
        flow_set_start(&set, mine, base_siphash(seed, &i, 1), now_ns(), &out);
        pthread_mutex_unlock(&lock);
        if (waiting != 0)
            continue;
        pthread_mutex_lock(&lock);
        flow_set_finish(&set, mine, now_ns(), &out);
        pthread_mutex_unlock(&lock);
    }
    printf("%-44s %6.0f ns\n", what, (double)(now_ns() - start) / (double)rounds);
    free(backlog); /* The process ends; a set with requests is not to be taken down. */
}

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    struct arena *a = arena_new(0);
    const struct str nodes[] = {STR("system:nodes"), STR("system:authenticated")};
    const struct str accounts[] = {STR("system:serviceaccounts"), STR("system:serviceaccounts:x"),
                                   STR("system:authenticated")};
    const struct str masters[] = {STR("system:masters"), STR("system:authenticated")};
    const struct user node = {.name = STR("system:node:n1"), .groups = nodes, .group_count = 2};
    const struct user account = {
        .name = STR("system:serviceaccount:x:y"), .groups = accounts, .group_count = 3};
    const struct user admin = {.name = STR("admin"), .groups = masters, .group_count = 2};
    const struct user jane = {.name = STR("jane"), .groups = nodes + 1, .group_count = 1};
    registry_init();
    load(a);
    bench_match(a, "match: administrator", &admin, "POST", "/api/v1/namespaces/x/pods", rounds);
    bench_match(a, "match: node's lease", &node, "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", rounds);
    bench_match(a, "match: service account creates a pod", &account, "POST",
                "/api/v1/namespaces/x/pods", rounds);
    bench_match(a, "match: user creates a pod", &jane, "POST", "/api/v1/namespaces/x/pods", rounds);
    bench_set("seat: exempt", -1, 0, 0, rounds);
    bench_set("seat: 128 queues, nobody waits", 128, 6, 0, rounds);
    bench_set("seat: 128 queues, 600 wait", 128, 6, 600, rounds);
    arena_free(a);
    return 0;
}
