/* bench_codec.c - CPU per operation and bytes of the API codecs, on a pod as a
 * running cluster holds it. Prints one line per operation.
 *
 *   bench_codec [SECONDS [OPERATION]]     seconds per operation, default 1 */
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/bench/sample_pod.h"

#include <stdio.h>
#include <time.h>

struct bench {
    struct core_v1_pod pod;
    struct buf wire;
    struct buf json;
    size_t arena_bytes;
};

static void pb_decode(struct bench *b)
{
    struct arena *a = arena_new(0);
    struct core_v1_pod pod = {0};
    if (api_pb_decode(a, &core_v1_pod_msg, buf_str(&b->wire), &pod, NULL) != 0)
        abort();
    b->arena_bytes = arena_bytes(a);
    arena_free(a);
}

static void json_decode(struct bench *b)
{
    struct arena *a = arena_new(0);
    struct core_v1_pod pod = {0};
    if (api_json_decode(a, &core_v1_pod_msg, buf_str(&b->json), API_LENIENT, NULL, &pod, NULL) != 0)
        abort();
    b->arena_bytes = arena_bytes(a);
    arena_free(a);
}

static void pb_encode(struct bench *b)
{
    buf_clear(&b->wire);
    api_pb_encode(&core_v1_pod_msg, &b->pod, &b->wire);
}

static void json_encode(struct bench *b)
{
    buf_clear(&b->json);
    api_json_encode(&core_v1_pod_msg, &b->pod, STR("v1"), STR("Pod"), &b->json);
}

static void json_from_pb(struct bench *b)
{
    buf_clear(&b->json);
    if (api_json_from_pb(&core_v1_pod_msg, buf_str(&b->wire), STR("v1"), STR("Pod"), &b->json,
                         NULL) != 0)
        abort();
}

static void copy(struct bench *b)
{
    struct arena *a = arena_new(0);
    api_msg_clone(a, &core_v1_pod_msg, &b->pod);
    b->arena_bytes = arena_bytes(a);
    arena_free(a);
}

static const char *only; /* The one operation asked for, or NULL. */

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(struct bench *b, const char *name, void (*run)(struct bench *), size_t bytes,
                    double seconds)
{
    if (only != NULL && strcmp(only, name) != 0)
        return;
    double start = cpu_seconds(), spent;
    long runs = 0;
    b->arena_bytes = 0;
    do {
        for (int i = 0; i < 200; i++)
            run(b);
        runs += 200;
        spent = cpu_seconds() - start;
    } while (spent < seconds);
    printf("%-14s %8.2f us/op %8.1f MB/s", name, spent / (double)runs * 1e6,
           (double)bytes * (double)runs / spent / 1e6);
    if (b->arena_bytes > 0)
        printf("  %zu bytes of memory", b->arena_bytes);
    printf("\n");
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    only = argc > 2 ? argv[2] : NULL;
    struct arena *a = arena_new(0);
    struct bench b = {0};
    struct error err = {0};
    if (api_json_decode(a, &core_v1_pod_msg, STR(pod_json), API_STRICT, NULL, &b.pod, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    pb_encode(&b);
    json_encode(&b);
    size_t wire = b.wire.len, json = b.json.len;
    printf("pod: %zu bytes as protobuf, %zu as JSON\n", wire, json);
    measure(&b, "pb decode", pb_decode, wire, seconds);
    measure(&b, "pb encode", pb_encode, wire, seconds);
    measure(&b, "json decode", json_decode, json, seconds);
    measure(&b, "json encode", json_encode, json, seconds);
    measure(&b, "json from pb", json_from_pb, json, seconds);
    measure(&b, "copy", copy, wire, seconds);
    buf_done(&b.wire);
    buf_done(&b.json);
    arena_free(a);
    return 0;
}
