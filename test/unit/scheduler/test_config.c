/* test_config.c - the scheduler's configuration file: what it sets, and what is wrong with it. */
#include "scheduler/config.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "scheduler/config_write.h"
#include "scheduler/framework.h"
#include "test/unit/unit.h"

#include "api/core_v1.h"

#define HEAD "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

static struct sched_config *parsed(const char *text)
{
    struct sched_config *c = NULL;
    struct error err = {0};
    int rc = sched_config_parse(str_of(text), &c, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    return c;
}

static void refused(const char *text, const char *why)
{
    struct sched_config *c = NULL;
    struct error err = {0};
    ck_assert_int_ne(sched_config_parse(str_of(text), &c, &err), 0);
    ck_assert_str_eq(error_message(&err), why);
}

static unsigned plugin(const char *name)
{
    for (unsigned i = 0; i < scheduler_plugin_count; i++)
        if (strcmp(scheduler_plugins[i]->name, name) == 0)
            return i;
    ck_abort_msg("no plugin %s", name);
}

/* Nothing said: upstream's default profile. */
START_TEST(defaults)
{
    struct sched_config *c = parsed(HEAD);
    ck_assert_uint_eq(c->profile_count, 1);
    ck_assert_str_eq(c->profiles[0].name, "default-scheduler");
    ck_assert_int_eq(c->profiles[0].weights[plugin("TaintToleration")], 3);
    ck_assert(c->profiles[0].preempts);
    ck_assert_uint_eq(c->backoff_min_ms, 1000);
    ck_assert_uint_eq(c->backoff_max_ms, 10000);
    sched_config_free(c);
}
END_TEST

/* Profiles by name; plugins off and on by point, all of a point, with other weights. */
START_TEST(plugins)
{
    struct sched_config *c =
        parsed(HEAD "podInitialBackoffSeconds: 2\npercentageOfNodesToScore: 30\nprofiles:\n"
                    "- schedulerName: default-scheduler\n"
                    "- schedulerName: packing\n"
                    "  percentageOfNodesToScore: 50\n"
                    "  plugins:\n"
                    "    multiPoint:\n"
                    "      disabled: [{name: ImageLocality}]\n"
                    "    score:\n"
                    "      disabled: [{name: '*'}]\n"
                    "      enabled: [{name: NodeResourcesFit, weight: 9}]\n"
                    "    postFilter:\n"
                    "      disabled: [{name: DefaultPreemption}]\n");
    const struct profile *p = sched_config_profile(c, STR("packing"));
    ck_assert_ptr_null(sched_config_profile(c, STR("other")));
    ck_assert_uint_eq(c->backoff_min_ms, 2000);
    ck_assert_uint_eq(p->percentage, 50);
    ck_assert_uint_eq(c->profiles[0].percentage, 30);
    ck_assert(!p->preempts && c->profiles[0].preempts);
    ck_assert(p->filters[plugin("NodeResourcesFit")]);
    ck_assert(p->scores[plugin("NodeResourcesFit")]);
    ck_assert_int_eq(p->weights[plugin("NodeResourcesFit")], 9);
    ck_assert(!p->scores[plugin("TaintToleration")] && p->filters[plugin("TaintToleration")]);
    sched_config_free(c);
}
END_TEST

/* Arguments of plugins. */
START_TEST(arguments)
{
    struct sched_config *c =
        parsed(HEAD "profiles:\n- pluginConfig:\n"
                    "  - name: NodeResourcesFit\n"
                    "    args:\n"
                    "      ignoredResourceGroups: [example.com]\n"
                    "      scoringStrategy:\n"
                    "        type: RequestedToCapacityRatio\n"
                    "        resources: [{name: cpu, weight: 3}]\n"
                    "        requestedToCapacityRatio:\n"
                    "          shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]\n"
                    "  - name: InterPodAffinity\n"
                    "    args: {hardPodAffinityWeight: 7}\n"
                    "  - name: PodTopologySpread\n"
                    "    args:\n"
                    "      defaultingType: List\n"
                    "      defaultConstraints:\n"
                    "      - {maxSkew: 2, topologyKey: rack, whenUnsatisfiable: ScheduleAnyway}\n"
                    "  - name: NodeAffinity\n"
                    "    args:\n"
                    "      addedAffinity:\n"
                    "        requiredDuringSchedulingIgnoredDuringExecution:\n"
                    "          nodeSelectorTerms:\n"
                    "          - matchExpressions: [{key: a, operator: Exists}]\n"
                    "  - name: VolumeBinding\n"
                    "    args: {bindTimeoutSeconds: 5}\n"
                    "  - name: DynamicResources\n"
                    "    args: {filterTimeout: 10s, bindingTimeout: 90s}\n");
    const struct profile *p = c->profiles;
    ck_assert_int_eq(p->fit, FIT_REQUESTED_TO_CAPACITY);
    ck_assert_uint_eq(p->fit_resource_count, 1);
    ck_assert_int_eq(p->fit_resources[0].weight, 3);
    ck_assert_int_eq(p->shape[1].score, 100);
    ck_assert_uint_eq(p->ignored_group_count, 1);
    ck_assert_int_eq(p->hard_affinity_weight, 7);
    ck_assert(!p->system_spread);
    ck_assert_uint_eq(p->spread_count, 1);
    ck_assert_int_eq(p->spread[0].max_skew, 2);
    ck_assert_ptr_nonnull(p->added_affinity);
    ck_assert_uint_eq(c->bind_timeout_ms, 5000);
    ck_assert_uint_eq(p->device_timeout_ms, 90000);
    sched_config_free(c);
}
END_TEST

/* What connection and lease say is handed on as flags' values. */
START_TEST(connection)
{
    struct sched_config *c =
        parsed(HEAD "clientConnection: {kubeconfig: /etc/x, qps: 50.5}\n"
                    "leaderElection: {leaderElect: false, leaseDuration: 9s}\n");
    ck_assert_str_eq(c->kubeconfig, "/etc/x");
    ck_assert_str_eq(c->qps, "50.5");
    ck_assert_str_eq(c->leader_elect, "false");
    ck_assert_str_eq(c->lease_duration, "9s");
    sched_config_free(c);
}
END_TEST

/* What is written says the same when it is read: once more, it is written alike. */
static void written_as(const char *text, const char *part)
{
    AUTO_BUF b = BUF_INIT;
    struct sched_config *c = parsed(text);
    sched_config_write(c, &b);
    sched_config_free(c);
    AUTO_FREE char *first = buf_steal(&b, NULL);
    c = parsed(first);
    sched_config_write(c, &b);
    sched_config_free(c);
    AUTO_FREE char *second = buf_steal(&b, NULL);
    ck_assert_str_eq(second, first);
    ck_assert_msg(strstr(first, part) != NULL, "no %s in %s", part, first);
}

START_TEST(written)
{
    written_as(HEAD, "\"profiles\":[{\"schedulerName\":\"default-scheduler\"");
    written_as(
        HEAD "podInitialBackoffSeconds: 2\nprofiles:\n"
             "- percentageOfNodesToScore: 50\n"
             "  plugins:\n"
             "    multiPoint:\n"
             "      disabled: [{name: ImageLocality}]\n"
             "    score:\n"
             "      disabled: [{name: '*'}]\n"
             "      enabled: [{name: NodeResourcesFit, weight: 9}]\n"
             "    postFilter:\n"
             "      disabled: [{name: DefaultPreemption}]\n",
        "\"score\":{\"disabled\":[{\"name\":\"*\"}],\"enabled\":[{\"name\":\"NodeResourcesFit\","
        "\"weight\":9}]},\"postFilter\":{\"disabled\":[{\"name\":\"*\"}],\"enabled\":[]}}");
    written_as(
        HEAD
        "profiles:\n- pluginConfig:\n"
        "  - name: NodeResourcesFit\n"
        "    args:\n"
        "      ignoredResourceGroups: [example.com]\n"
        "      reclaim: {marginPercent: 30}\n"
        "      scoringStrategy:\n"
        "        type: RequestedToCapacityRatio\n"
        "        resources: [{name: cpu, weight: 3}]\n"
        "        requestedToCapacityRatio:\n"
        "          shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]\n"
        "  - name: PodTopologySpread\n"
        "    args:\n"
        "      defaultingType: List\n"
        "      defaultConstraints: [{maxSkew: 2, topologyKey: z, whenUnsatisfiable: "
        "DoNotSchedule}]\n"
        "  - name: NodeAffinity\n"
        "    args:\n"
        "      addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
        "[{matchExpressions: [{key: a, operator: Exists}]}]}}\n",
        "\"type\":\"RequestedToCapacityRatio\",\"resources\":[{\"name\":\"cpu\",\"weight\":3}],"
        "\"requestedToCapacityRatio\":{\"shape\":[{\"utilization\":0,\"score\":0},"
        "{\"utilization\":100,\"score\":10}]}");
    written_as(HEAD "extenders:\n"
                    "- {urlPrefix: 'http://x/y', filterVerb: f, bindVerb: b, prioritizeVerb: p, "
                    "weight: 3, httpTimeout: 1.5s, ignorable: true, managedResources: [{name: "
                    "x.io/y}]}\n",
               "\"weight\":3,\"httpTimeout\":\"1500ms\"");
}
END_TEST

/* Everything that is wrong is said, with its place. */
START_TEST(errors)
{
    refused("kind: Pod\napiVersion: v1\n",
            "no kind \"Pod\" is registered for version \"v1\"; KubeSchedulerConfiguration of "
            "kubescheduler.config.k8s.io/v1 is read");
    refused(HEAD "podInitialBackoffSeconds: 0\n",
            "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0");
    refused(HEAD "podInitialBackoffSeconds: 5\npodMaxBackoffSeconds: 1\nparallelism: 0\n",
            "[parallelism: Invalid value: 0: should be an integer value greater than zero, "
            "podMaxBackoffSeconds: Invalid value: 1: must be greater than or equal to "
            "PodInitialBackoffSeconds]");
    refused(HEAD "percentageOfNodesToScore: 101\n",
            "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]");
    refused(HEAD "profiles: [{schedulerName: a}, {schedulerName: a}]\n",
            "profiles[1].schedulerName: Duplicate value: \"profiles[0].schedulerName\"");
    refused(HEAD "profiles: [{plugins: {filter: {enabled: [{name: Mine}]}}}]\n",
            "initializing profiles: FilterPlugin \"Mine\" does not exist");
    refused(HEAD "profile: []\n", "strict decoding error: unknown field \"profile\"");
    refused(HEAD "profiles: [{pluginConfig: [{name: InterPodAffinity, args: "
                 "{hardPodAffinityWeight: 200}}]}]\n",
            "profiles[0].pluginConfig[0].args.hardPodAffinityWeight: Invalid value: 200: not in "
            "valid range [0-100]");
    refused(HEAD "extenders: [{urlPrefix: 'http://x', prioritizeVerb: p, bindVerb: b}, "
                 "{urlPrefix: 'ftp://x', bindVerb: b, httpTimeout: soon, managedResources: "
                 "[{name: a.example/x}, {name: cpu}, {name: a.example/x}], what: 1}]\n",
            "[extenders[0].weight: Invalid value: 0: must have a positive weight applied to it, "
            "strict decoding error: unknown field \"extenders[1].what\", "
            "extenders[1].urlPrefix: Invalid value: \"ftp://x\": the scheme must be http or https, "
            "extenders[1].httpTimeout: Invalid value: \"soon\": a duration such as 5s is expected, "
            "extenders[1].managedResources[1].name: Invalid value: \"cpu\": is an invalid extended "
            "resource name, "
            "extenders[1].managedResources[2].name: Invalid value: \"a.example/x\": duplicate "
            "extender managed resource name, "
            "extenders: Invalid value: \"found 2 extenders implementing bind\": only one extender "
            "can implement bind]");
}
END_TEST

UNIT_MAIN("scheduler/config", {
    UNIT_TEST(defaults);
    UNIT_TEST(plugins);
    UNIT_TEST(arguments);
    UNIT_TEST(connection);
    UNIT_TEST(written);
    UNIT_TEST(errors);
})
