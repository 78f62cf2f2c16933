/* test_config.c - the node agent's flags and its configuration file. */
#include "kubelet/config.h"
#include "kubelet/config_show.h"
#include "kubelet/kubelet.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/flags.h"

#include "test/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

/* What the command line leads to; the message of a refusal in err. */
static int parse(struct kubelet_config *c, char *flag, struct error *err)
{
    char *argv[] = {(char *)(uintptr_t) "kubelet", flag, NULL};
    struct flag_set *f = kubelet_flags(c);
    int rc = flag_set_parse(f, flag != NULL ? 2 : 1, argv, err);
    if (rc == 0)
        rc = kubelet_config_check(c, err);
    flag_set_free(f);
    return rc;
}

static void assert_refused(const char *flag, const char *message)
{
    struct kubelet_config c;
    struct error err;
    AUTO_FREE char *text = xstrdup(flag);
    ck_assert_int_eq(parse(&c, text, &err), E_INVALID);
    ck_assert_str_eq(error_message(&err), message);
}

static void assert_taken(const char *flag)
{
    struct kubelet_config c;
    struct error err;
    AUTO_FREE char *text = xstrdup(flag);
    ck_assert_msg(parse(&c, text, &err) == 0, "%s: %s", flag, error_message(&err));
}

/* A name server that is no address would end up in every pod's resolv.conf. */
START_TEST(test_cluster_dns)
{
    assert_taken("--cluster-dns=10.96.0.10");
    assert_taken("--cluster-dns=10.96.0.10,fd00::a");
    assert_refused("--cluster-dns=10.96.0.10,dns.example",
                   "--cluster-dns: 'dns.example' is no IP address");
}
END_TEST

/* Values that contradict each other are told at the start. */
START_TEST(test_check)
{
    assert_taken("--v=2");
    assert_refused("--cgroup-driver=none",
                   "--cgroup-driver: 'none' is neither cgroupfs nor systemd");
    assert_refused("--root-dir=here", "--root-dir and --pod-logs-dir must be absolute");
}
END_TEST

#define HEADER "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

/* What a file of this text and a flag (or NULL) lead to; the file's own path, which no test can
 * know before, is cut off the front of the message. */
static void assert_file_refused(const char *text, const char *flag, const char *message)
{
    struct kubelet_config c;
    struct error err = {0};
    char path[] = "/tmp/kubelet-config-XXXXXX", option[64];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(dprintf(fd, "%s%s\n", strstr(text, "kind:") != NULL ? "" : HEADER, text), 0);
    close(fd);
    snprintf(option, sizeof(option), "--config=%s", path);
    AUTO_FREE char *other = flag != NULL ? xstrdup(flag) : NULL;
    char *argv[] = {(char *)(uintptr_t) "kubelet", option, other, NULL};
    struct flag_set *f = kubelet_flags(&c);
    int rc = flag_set_parse(f, other != NULL ? 3 : 2, argv, &err);
    if (rc == 0)
        rc = kubelet_config_load(&c, f, &err);
    if (rc == 0)
        rc = kubelet_config_check(&c, &err);
    unlink(path);
    ck_assert_int_eq(rc, E_INVALID);
    char start[96];
    snprintf(start, sizeof(start), "--config %s: ", path);
    const char *told = error_message(&err);
    if (strncmp(told, start, strlen(start)) == 0)
        told += strlen(start);
    ck_assert_msg(strncmp(told, message, strlen(message)) == 0, "%s\nis not: %s", told, message);
    flag_set_free(f);
    arena_free(c.file_values);
}

/* Thresholds of a file are told by the file's field, those of a flag by the flag. */
START_TEST(test_eviction_in_file)
{
    assert_file_refused("evictionHard: {memory.available: 12Qx}", NULL,
                        "evictionHard: '12Qx' of memory.available is neither an amount such as "
                        "100Mi nor a percentage such as 10%: quantities must match");
    assert_file_refused("evictionHard: {memory.free: 1Gi}", NULL,
                        "evictionHard: unsupported eviction signal memory.free");
    assert_file_refused("evictionSoft: {memory.available: 1Gi}", NULL,
                        "evictionSoftGracePeriod: grace period must be specified for the soft "
                        "eviction threshold memory.available");
    assert_file_refused("evictionMinimumReclaim: {nodefs.available: much}", NULL,
                        "evictionMinimumReclaim: 'much' of nodefs.available is neither");
    assert_file_refused("evictionHard: {memory.available: 12Qx}",
                        "--eviction-hard=memory.available<13Qx",
                        "--eviction-hard: '13Qx' of memory.available is neither");
}
END_TEST

/* As strict as upstream: what is not known, or is something else than it must be, is named by its
 * path, with what would be right. */
START_TEST(test_strict_file)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"systemReserved: {cpu: 0.5}",
         "systemReserved.cpu: want a string, found the number 0.5: write \"0.5\""},
        {"systemReserved: {memory: 500Mi, cpu: {a: b}}",
         "systemReserved.cpu: want a string, found the object {\"a\":\"b\"}"},
        {"kubeReserved: [cpu]", "kubeReserved: want a map, found the array [\"cpu\"]"},
        {"kubeReserved: {cpu: many}",
         "kubeReserved: 'many' of cpu is no amount such as 500m or 1Gi"},
        {"clusterDNS: 10.96.0.10", "clusterDNS: want a list, found the string \"10.96.0.10\""},
        {"clusterDNS: [10.96.0.10, 7]",
         "clusterDNS[1]: want a string, found the integer 7: write \"7\""},
        {"clusterDNS: [dns.example]", "clusterDNS: 'dns.example' is no IP address"},
        {"maxPods: many", "maxPods: want an integer, found the string \"many\""},
        {"maxPods: 1.5", "maxPods: want an integer, found the number 1.5"},
        {"maxPods: 3000000000", "maxPods: want an integer of 32 bits"},
        {"maxPods: -1", "maxPods must not be negative"},
        {"registerNode: \"yes\"", "registerNode: want true or false, found the string \"yes\""},
        {"syncFrequency: 60",
         "syncFrequency: want a duration such as \"1m30s\", found the integer 60"},
        {"syncFrequency: soon", "syncFrequency: want a duration"},
        {"maxPod: 5", "maxPod: unknown field: "},
        {"authentication: {x509: {clientCA: a}}", "authentication.x509.clientCA: unknown field: "},
        {"authentication: [x509]", "authentication: want an object"},
        {"featureGates: {A: 1}", "featureGates.A: want true or false, found the integer 1"},
        {"memoryThrottlingFactor: high", "memoryThrottlingFactor: want a number"},
        {"tlsCurvePreferences: [a]", "tlsCurvePreferences[0]: want an integer"},
        {"registerWithTaints: [{key: a, effect: Never}]",
         "registerWithTaints[0].effect: want NoSchedule, PreferNoSchedule or NoExecute"},
        {"registerWithTaints: [{name: a}]", "registerWithTaints[0].name: unknown field"},
        {"shutdownGracePeriodByPodPriority: [{priority: high}]",
         "shutdownGracePeriodByPodPriority[0].priority: want an integer"},
        {"shutdownGracePeriod: 10s\nshutdownGracePeriodCriticalPods: 20s",
         "shutdownGracePeriodCriticalPods must be <= shutdownGracePeriod"},
        {"cgroupDriver: none", "cgroupDriver: 'none' is neither cgroupfs nor systemd"},
        {"imageGCHighThresholdPercent: 50\nimageGCLowThresholdPercent: 60",
         "imageGCLowThresholdPercent must be less than imageGCHighThresholdPercent"},
        {"imageMinimumGCAge: 10m\nimageMaximumGCAge: 5m",
         "imageMaximumGCAge must be greater than imageMinimumGCAge"},
        {"configMapAndSecretChangeDetectionStrategy: Sometimes",
         "configMapAndSecretChangeDetectionStrategy: 'Sometimes' is none of"},
        {"imagePullCredentialsVerificationPolicy: Sometimes",
         "imagePullCredentialsVerificationPolicy: 'Sometimes' is none of"},
        {"preloadedImagesVerificationAllowlist: [r.example/x]",
         "preloadedImagesVerificationAllowlist counts only with"},
        {"maxPods: 5\nmaxPods: 6",
         "yaml: unmarshal errors:\n  line 4: key \"maxPods\" already set in map"},
        {"kind: Pod", "kind: want KubeletConfiguration, found \"Pod\""},
        {"kind: KubeletConfiguration",
         "apiVersion: want kubelet.config.k8s.io/v1beta1, found \"\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_file_refused(bad[i].text, NULL, bad[i].message);
    assert_file_refused("maxPods: 5", "--max-pods=-2", "--max-pods must not be negative");
}
END_TEST

/* Commas stand in values, zeroes that upstream takes for unset leave the defaults, and a file as
 * kubeadm writes it is taken. */
START_TEST(test_good_file)
{
    struct kubelet_config c;
    struct error err;
    struct flag_set *f = kubelet_flags(&c);
    int rc = kubelet_config_read(
        &c, f,
        STR(HEADER
            "authentication: {anonymous: {enabled: false}, webhook: {cacheTTL: 0s, enabled: "
            "true}, x509: {clientCAFile: /etc/ca.crt}}\n"
            "authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 0s}}\n"
            "clusterDNS: [10.96.0.10]\ncontainerRuntimeEndpoint: \"\"\n"
            "crashLoopBackOff: {}\nfileCheckFrequency: 0s\nhealthzPort: 0\n"
            "logging: {flushFrequency: 0, options: {json: {infoBufferSize: \"0\"}}}\n"
            "memorySwap: {}\nmaxPods: 0\nnodeStatusUpdateFrequency: 0s\n"
            "systemReserved: {memory: 500Mi, \"example.com/a,b\": \"1\"}\n"
            "evictionHard: {}\nregisterWithTaints: [{key: a, value: b, effect: NoSchedule}]\n"
            "shutdownGracePeriodByPodPriority: [{priority: 5, shutdownGracePeriodSeconds: "
            "9}]\n"),
        &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    ck_assert_msg(kubelet_config_check(&c, &err) == 0, "%s", error_message(&err));
    ck_assert_int_eq(c.max_pods, 110);
    ck_assert_int_eq(c.healthz_port, 0);
    ck_assert_int_eq(c.file_check_ns, 20000000000);
    ck_assert_str_eq(c.runtime_endpoint, "unix:///run/containerd/containerd.sock");
    ck_assert_str_eq(c.client_ca_file, "/etc/ca.crt");
    ck_assert_uint_eq(c.system_reserved.count, 2);
    ck_assert_str_eq(c.system_reserved.items[1], "example.com/a,b=1");
    ck_assert_uint_eq(c.eviction.hard.count, 0);
    ck_assert_str_eq(c.taints.items[0], "a=b:NoSchedule");
    ck_assert_str_eq(c.shutdown.by_priority.items[0], "5=9");
    flag_set_free(f);
    arena_free(c.file_values);
}
END_TEST

/* Gates that are heeded have 1.36's defaults; the command line goes before the file. */
START_TEST(gates)
{
    struct kubelet_config c;
    struct error err;
    ck_assert_int_eq(parse(&c, NULL, &err), 0);
    ck_assert(!c.gates.csi_volume_health);
    AUTO_FREE char *flag = xstrdup("--feature-gates=CSIVolumeHealth=true");
    ck_assert_int_eq(parse(&c, flag, &err), 0);
    ck_assert(c.gates.csi_volume_health);
    assert_refused("--feature-gates=Nothing=true",
                   "--feature-gates: unrecognized feature gate: Nothing");
    struct flag_set *f = kubelet_flags(&c);
    ck_assert_int_eq(
        kubelet_config_read(&c, f, STR(HEADER "featureGates: {CSIVolumeHealth: true}\n"), &err), 0);
    ck_assert_int_eq(kubelet_config_check(&c, &err), 0);
    ck_assert(c.gates.csi_volume_health);
    flag_set_free(f);
    arena_free(c.file_values);
}
END_TEST

/* The configuration of text, as /configz has it; in out. */
static void show(const char *text, struct buf *out)
{
    struct kubelet_config c;
    struct error err;
    struct flag_set *f = kubelet_flags(&c);
    int rc = kubelet_config_read(&c, f, str_of(text), &err);
    ck_assert_msg(rc == 0, "%s: %s", text, error_message(&err));
    ck_assert_msg(kubelet_config_check(&c, &err) == 0, "%s", error_message(&err));
    kubelet_config_show(f, out);
    flag_set_free(f);
    arena_free(c.file_values);
}

/* What /configz tells is what holds: read again it is the same, and every kind of value is there.
 */
START_TEST(shown)
{
    static const char *const texts[] = {
        HEADER, HEADER
        "maxPods: 7\nregisterNode: false\nsyncFrequency: 1m30s\nclusterDNS: [10.96.0.10, "
        "'fd00::a']\n"
        "systemReserved: {memory: 500Mi, 'example.com/a,b': '1'}\nevictionHard: "
        "{memory.available: 5%}\nfeatureGates: {CSIVolumeHealth: true, SELinuxMount: false}\n"
        "registerWithTaints: [{key: a, value: b, effect: NoSchedule}]\n"
        "shutdownGracePeriodByPodPriority: [{priority: -5, shutdownGracePeriodSeconds: 9}]\n"
        "authentication: {x509: {clientCAFile: /etc/ca.crt}}\nproviderID: 'a\"b'\n"};
    static const char *const want[] = {
        "\"maxPods\":7",
        "\"registerNode\":false",
        "\"syncFrequency\":\"1m30s\"",
        "\"clusterDNS\":[\"10.96.0.10\",\"fd00::a\"]",
        "\"example.com/a,b\":\"1\"",
        "\"evictionHard\":{\"memory.available\":\"5%\"}",
        "\"featureGates\":{\"CSIVolumeHealth\":true,\"SELinuxMount\":false}",
        "\"registerWithTaints\":[{\"key\":\"a\",\"value\":\"b\",\"effect\":\"NoSchedule\"}]",
        "[{\"priority\":-5,\"shutdownGracePeriodSeconds\":9}]",
        "\"x509\":{\"clientCAFile\":\"/etc/ca.crt\"}",
        "\"providerID\":\"a\\\"b\""};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO_BUF first = BUF_INIT, again = BUF_INIT;
        AUTO_ARENA *a = arena_new(0);
        struct json *j;
        struct error err;
        show(texts[i], &first);
        ck_assert_int_eq(json_parse(a, buf_str(&first), &j, &err), 0);
        struct json *config = json_getc(j, "kubeletconfig");
        json_setc(a, config, "apiVersion", json_string(a, STR("kubelet.config.k8s.io/v1beta1")));
        json_setc(a, config, "kind", json_string(a, STR("KubeletConfiguration")));
        AUTO_BUF file = BUF_INIT;
        json_write(config, false, &file);
        show(str_c(arena_str(a, buf_str(&file))), &again);
        ck_assert_str_eq(str_c(arena_str(a, buf_str(&first))),
                         str_c(arena_str(a, buf_str(&again))));
        for (size_t k = 0; i == 1 && k < ARRAY_SIZE(want); k++)
            ck_assert_msg(str_find_str(buf_str(&first), str_of(want[k])) >= 0, "%s in %s", want[k],
                          str_c(arena_str(a, buf_str(&first))));
    }
}
END_TEST

UNIT_MAIN("kubelet configuration", {
    UNIT_TEST(shown);
    UNIT_TEST(gates);
    UNIT_TEST(test_eviction_in_file);
    UNIT_TEST(test_strict_file);
    UNIT_TEST(test_good_file);
    UNIT_TEST(test_cluster_dns);
    UNIT_TEST(test_check);
})
