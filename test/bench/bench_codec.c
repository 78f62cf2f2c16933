/* bench_codec.c - CPU per operation and bytes of the API codecs, on a pod as a
 * running cluster holds it. Prints one line per operation.
 *
 *   bench_codec [SECONDS [OPERATION]]     seconds per operation, default 1 */
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdio.h>
#include <time.h>

static const char pod_json[] =
    "{\"metadata\":{\"name\":\"web-7d4b9c6f5-x2x7k\",\"generateName\":\"web-7d4b9c6f5-\","
    "\"namespace\":\"shop\","
    "\"uid\":\"0b5c1d5e-8f0a-4f8e-9a57-3f1d2b6c7a88\",\"resourceVersion\":\"184467\","
    "\"creationTimestamp\":"
    "\"2025-11-21T23:48:58Z\",\"labels\":{\"app\":\"web\",\"pod-template-hash\":\"7d4b9c6f5\","
    "\"tier\":\"front\"},"
    "\"annotations\":{\"prometheus.io/scrape\":\"true\",\"prometheus.io/"
    "port\":\"9090\"},\"ownerReferences\":["
    "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"web-7d4b9c6f5\",\"uid\":"
    "\"5a7e2f52-0c1f-4b51-a3f5-b4d5a1c0d111\",\"controller\":true,\"blockOwnerDeletion\":true}],"
    "\"managedFields\":["
    "{\"manager\":\"kube-controller-manager\",\"operation\":\"Update\",\"apiVersion\":\"v1\","
    "\"time\":"
    "\"2025-11-21T23:48:58Z\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:"
    "annotations\":{\".\":{},"
    "\"f:prometheus.io/"
    "scrape\":{}},\"f:labels\":{\".\":{},\"f:app\":{}},\"f:ownerReferences\":{\".\":{},"
    "\"k:{\\\"uid\\\":\\\"5a7e2f52-0c1f-4b51-a3f5-b4d5a1c0d111\\\"}\":{}}},\"f:spec\":{\"f:"
    "containers\":{"
    "\"k:{\\\"name\\\":\\\"web\\\"}\":{\".\":{},\"f:env\":{},\"f:image\":{},\"f:name\":{},\"f:"
    "ports\":{}}}}}}]},"
    "\"spec\":{\"volumes\":[{\"name\":\"config\",\"configMap\":{\"name\":\"web\",\"defaultMode\":"
    "420}},{\"name\":"
    "\"kube-api-access-abcde\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{"
    "\"expirationSeconds\":3607,"
    "\"path\":\"token\"}},{\"configMap\":{\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca."
    "crt\",\"path\":"
    "\"ca.crt\"}]}}],\"defaultMode\":420}}],\"containers\":[{\"name\":\"web\",\"image\":"
    "\"registry.example.com/shop/"
    "web:1.42.0\",\"args\":[\"--listen=:8080\",\"--log=json\"],\"ports\":[{\"name\":"
    "\"http\",\"containerPort\":8080,\"protocol\":\"TCP\"},{\"name\":\"metrics\",\"containerPort\":"
    "9090,\"protocol\":"
    "\"TCP\"}],\"env\":[{\"name\":\"REGION\",\"value\":\"eu-1\"},{\"name\":\"POD_NAME\","
    "\"valueFrom\":{\"fieldRef\":{"
    "\"apiVersion\":\"v1\",\"fieldPath\":\"metadata.name\"}}}],\"resources\":{\"limits\":{\"cpu\":"
    "\"500m\",\"memory\":"
    "\"256Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":\"128Mi\"}},\"volumeMounts\":[{\"name\":"
    "\"config\","
    "\"readOnly\":true,\"mountPath\":\"/etc/"
    "web\"},{\"name\":\"kube-api-access-abcde\",\"readOnly\":true,"
    "\"mountPath\":\"/var/run/secrets/kubernetes.io/"
    "serviceaccount\"}],\"livenessProbe\":{\"httpGet\":{\"path\":"
    "\"/healthz\",\"port\":\"http\",\"scheme\":\"HTTP\"},\"timeoutSeconds\":1,\"periodSeconds\":10,"
    "\"successThreshold\":1,\"failureThreshold\":3},\"terminationMessagePath\":\"/dev/"
    "termination-log\","
    "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"IfNotPresent\"}],"
    "\"restartPolicy\":\"Always\","
    "\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\",\"serviceAccountName\":"
    "\"default\","
    "\"serviceAccount\":\"default\",\"nodeName\":\"node-17\",\"securityContext\":{},"
    "\"schedulerName\":"
    "\"default-scheduler\",\"tolerations\":[{\"key\":\"node.kubernetes.io/"
    "not-ready\",\"operator\":\"Exists\","
    "\"effect\":\"NoExecute\",\"tolerationSeconds\":300}],\"priority\":0,\"enableServiceLinks\":"
    "true,"
    "\"preemptionPolicy\":\"PreemptLowerPriority\"},\"status\":{\"phase\":\"Running\","
    "\"conditions\":[{\"type\":"
    "\"Ready\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2025-11-21T23:"
    "49:02Z\"},{\"type\":"
    "\"PodScheduled\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2025-11-"
    "21T23:48:58Z\"}],"
    "\"hostIP\":\"10.0.0.17\",\"podIP\":\"10.244.3.25\",\"podIPs\":[{\"ip\":\"10.244.3.25\"}],"
    "\"startTime\":"
    "\"2025-11-21T23:48:58Z\",\"containerStatuses\":[{\"name\":\"web\",\"state\":{\"running\":{"
    "\"startedAt\":"
    "\"2025-11-21T23:49:01Z\"}},\"lastState\":{},\"ready\":true,\"restartCount\":0,\"image\":"
    "\"registry.example.com/shop/web:1.42.0\",\"imageID\":\"registry.example.com/shop/web@sha256:"
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\",\"containerID\":"
    "\"containerd://"
    "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752\",\"started\":true}],"
    "\"qosClass\":"
    "\"Burstable\"}}";

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
