/* fuzz_kubelet_config.c - configuration files of the node agent, and the checks behind them. */
#include "kubelet/config.h"
#include "kubelet/kubelet.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kubelet_config c;
    struct error err;
    log_setup("fuzz", LOG_ERROR); /* Fields that mean nothing here would each be told. */
    struct flag_set *f = kubelet_flags(&c);
    c.config_file = "config";
    if (kubelet_config_read(&c, f, str_n((const char *)data, size), &err) == 0)
        kubelet_config_check(&c, &err);
    else
        ASSERT(error_message(&err)[0] != '\0');
    flag_set_free(f);
    arena_free(c.file_values);
    return 0;
}

static const char *const seeds[] = {
    "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 5\n"
    "systemReserved: {cpu: 500m}\nevictionHard: {memory.available: 100Mi, nodefs.available: 10%}\n"
    "registerWithTaints: [{key: a, value: b, effect: NoSchedule}]\nclusterDNS: [10.96.0.10]\n"
    "shutdownGracePeriodByPodPriority: [{priority: 5, shutdownGracePeriodSeconds: 9}]\n",
    "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
    "cpuManagerPolicy: static\ncpuManagerPolicyOptions: {full-pcpus-only: \"true\"}\n"
    "reservedSystemCPUs: 0-1\nmemoryManagerPolicy: Static\ntopologyManagerPolicy: restricted\n"
    "reservedMemory: [{numaNode: 0, limits: {memory: 1Gi, hugepages-2Mi: 4Mi}}]\n",
    "{\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"kind\":\"KubeletConfiguration\","
    "\"authentication\":{\"x509\":{\"clientCAFile\":\"/ca\"},\"webhook\":{\"cacheTTL\":\"0s\"}},"
    "\"featureGates\":{\"A\":true},\"memoryThrottlingFactor\":0.9,\"tlsCurvePreferences\":[1]}",
};

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    if (i >= ARRAY_SIZE(seeds) || strlen(seeds[i]) > cap)
        return 0;
    memcpy(p, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}
