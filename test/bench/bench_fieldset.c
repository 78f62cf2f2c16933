/* bench_fieldset.c - CPU per write of keeping managedFields, on a pod as a
 * running cluster holds it. Prints one line per operation.
 *
 *   bench_fieldset [SECONDS [OPERATION]]     seconds per operation, default 1 */
#include "api/core_v1.h"
#include "apiserver/field_manager.h"
#include "apiserver/registry.h"
#include "lib/api/codec.h"
#include "lib/api/fieldset_diff.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/bench/sample_pod.h"

#include <stdio.h>
#include <time.h>

static const char config_json[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-7d4b9c6f5-x2x7k\","
    "\"labels\":{\"app\":\"web\",\"tier\":\"front\"}},\"spec\":{\"containers\":[{\"name\":\"web\","
    "\"image\":\"registry.example.com/shop/web:1.42.0\",\"ports\":[{\"containerPort\":8080}]}]}}";

struct bench {
    struct arena *arena; /* Of the operation; kept between them. */
    struct field_manager fm;
    struct core_v1_pod fresh;   /* As created: nobody owns anything yet. */
    struct core_v1_pod live;    /* With the entries of its creator and its node. */
    struct core_v1_pod changed; /* live with a new status. */
    struct str fields;          /* The largest set of live, as text. */
    struct json *config;
};

static void create(struct bench *b)
{
    struct core_v1_pod pod = b->fresh;
    field_manager_update(&b->fm, NULL, &pod);
}

static void update_status(struct bench *b)
{
    struct core_v1_pod pod = b->changed;
    struct field_manager fm = b->fm;
    fm.manager = STR("kubelet");
    fm.subresource = "status";
    field_manager_update(&fm, &b->live, &pod);
}

static void update_nothing(struct bench *b)
{
    struct core_v1_pod pod = b->live;
    field_manager_update(&b->fm, &b->live, &pod);
}

static void apply(struct bench *b)
{
    void *obj;
    struct field_manager fm = b->fm;
    fm.manager = STR("deployer");
    if (field_manager_apply(&fm, &b->live, b->config, true, &obj) != NULL)
        abort();
}

static void diff(struct bench *b)
{
    struct fieldset_diff d;
    if (fieldset_diff_msg(b->arena, &core_v1_pod_msg, &b->live, &b->changed, &d, NULL) != 0)
        abort();
}

static void parse(struct bench *b)
{
    struct fieldset s;
    if (fieldset_parse(b->arena, b->fields, &s, NULL) != 0)
        abort();
}

static const char *only; /* The one operation asked for, or NULL. */

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(struct bench *b, const char *name, void (*run)(struct bench *), double seconds)
{
    if (only != NULL && strcmp(only, name) != 0)
        return;
    double start = cpu_seconds(), spent;
    long runs = 0;
    do {
        for (int i = 0; i < 200; i++) {
            arena_clear(b->arena);
            run(b);
        }
        runs += 200;
        spent = cpu_seconds() - start;
    } while (spent < seconds);
    printf("%-22s %8.2f us/op\n", name, spent / (double)runs * 1e6);
}

/* What a pod's life makes of it: created by a controller, seen to by a node. */
static void prepare(struct bench *b, struct arena *a)
{
    b->fm.arena = a;
    b->live = *(struct core_v1_pod *)api_msg_clone(a, &core_v1_pod_msg, &b->fresh);
    struct core_v1_pod_status status = b->live.status;
    b->live.status = (struct core_v1_pod_status){0};
    field_manager_update(&b->fm, NULL, &b->live);
    struct core_v1_pod *run = api_msg_clone(a, &core_v1_pod_msg, &b->live);
    struct field_manager node = b->fm;
    node.manager = STR("kubelet");
    node.subresource = "status";
    run->status = status;
    field_manager_update(&node, &b->live, run);
    b->live = *run;
    b->changed = *(struct core_v1_pod *)api_msg_clone(a, &core_v1_pod_msg, run);
    b->changed.status.conditions[0].status = STR("False");
    b->changed.status.container_statuses[0].restart_count++;
    for (size_t i = 0; i < run->metadata.managed_fields_count; i++) {
        struct str raw = run->metadata.managed_fields[i].fields_v1->raw;
        if (raw.len > b->fields.len)
            b->fields = raw;
    }
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    only = argc > 2 ? argv[2] : NULL;
    struct arena *a = arena_new(0);
    struct bench b = {.arena = arena_new(256 * 1024)};
    struct error err = {0};
    AUTO_BUF wire = BUF_INIT;
    registry_init();
    b.fm = (struct field_manager){
        .res = registry_storage(STR(""), STR("pods")),
        .api_version = STR("v1"),
        .subresource = "",
        .manager = STR("kube-controller-manager"),
        .now_s = 1763768938,
    };
    b.fm.kind = b.fm.res->storage;
    if (api_json_decode(a, &core_v1_pod_msg, STR(pod_json), API_STRICT, NULL, &b.fresh, &err) !=
            0 ||
        json_parse(a, STR(config_json), &b.config, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    b.fresh.metadata.managed_fields = NULL;
    b.fresh.metadata.managed_fields_count = 0;
    api_pb_encode(&core_v1_pod_msg, &b.fresh, &wire);
    size_t bare = wire.len;
    prepare(&b, a);
    buf_clear(&wire);
    api_pb_encode(&core_v1_pod_msg, &b.live, &wire);
    printf("pod: %zu bytes as protobuf, %zu with managedFields\n", bare, wire.len);
    b.fm.arena = b.arena;
    measure(&b, "create", create, seconds);
    measure(&b, "update of status", update_status, seconds);
    measure(&b, "update of nothing", update_nothing, seconds);
    measure(&b, "apply", apply, seconds);
    measure(&b, "comparison alone", diff, seconds);
    measure(&b, "parsing a set", parse, seconds);
    arena_free(b.arena);
    arena_free(a);
    return 0;
}
