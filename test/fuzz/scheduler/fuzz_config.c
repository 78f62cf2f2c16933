/* fuzz_config.c - the scheduler's configuration file. */
#include "lib/base/base.h"
#include "lib/base/error.h"
#include "scheduler/config.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sched_config *c = NULL;
    struct error err = {0};
    if (sched_config_parse(str_n((const char *)data, size), &c, &err) != 0) {
        ASSERT(error_message(&err)[0] != '\0');
        return 0;
    }
    ASSERT(c->profile_count >= 1);
    for (size_t i = 0; i < c->profile_count; i++)
        ASSERT(sched_config_profile(c, str_of(c->profiles[i].name)) != NULL);
    sched_config_free(c);
    return 0;
}

#define HEAD "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char *const seeds[] = {
        HEAD,
        HEAD "percentageOfNodesToScore: 30\npodInitialBackoffSeconds: 2\npodMaxBackoffSeconds: 20\n"
             "clientConnection: {kubeconfig: /x, qps: 50.5, burst: 100}\n"
             "leaderElection: {leaderElect: true, leaseDuration: 15s, resourceLock: leases}\n",
        HEAD "profiles:\n- schedulerName: a\n  plugins:\n    multiPoint:\n      disabled: "
             "[{name: '*'}]\n      enabled: [{name: NodeResourcesFit, weight: 3}]\n    score:\n"
             "      disabled: [{name: ImageLocality}]\n",
        HEAD "profiles:\n- pluginConfig:\n  - name: NodeResourcesFit\n    args:\n"
             "      ignoredResources: [example.com/a]\n      scoringStrategy:\n"
             "        type: RequestedToCapacityRatio\n        resources: [{name: cpu, weight: 3}]\n"
             "        requestedToCapacityRatio:\n          shape: [{utilization: 0, score: 0}, "
             "{utilization: 100, score: 10}]\n  - name: PodTopologySpread\n    args:\n"
             "      defaultingType: List\n      defaultConstraints:\n      - {maxSkew: 2, "
             "topologyKey: rack, whenUnsatisfiable: ScheduleAnyway}\n",
        HEAD
        "profiles:\n- pluginConfig:\n  - name: NodeAffinity\n    args:\n      addedAffinity:\n"
        "        requiredDuringSchedulingIgnoredDuringExecution:\n          nodeSelectorTerms:\n"
        "          - matchExpressions: [{key: a, operator: Exists}]\n"
        "  - {name: InterPodAffinity, args: {hardPodAffinityWeight: 7}}\n"
        "  - {name: DefaultPreemption, args: {minCandidateNodesPercentage: 5}}\n"
        "extenders: [{urlPrefix: 'http://x'}]\n",
    };
    if (i >= ARRAY_SIZE(seeds))
        return 0;
    size_t n = MIN_OF(strlen(seeds[i]), cap);
    memcpy(p, seeds[i], n);
    return n;
}
