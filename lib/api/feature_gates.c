/* feature_gates.c - see feature_gates.h. */
#include "lib/api/feature_gates.h"

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"
#include "lib/base/str.h"

#include <string.h>

struct gate {
    const char *name;
    bool on;     /* By default. */
    bool locked; /* To that. */
};

/* By name, as bytes are ordered. */
static const struct gate gates[] = {
    {"APIResponseCompression", true, false},
    {"APIServerIdentity", true, false},
    {"APIServerTracing", true, true},
    {"APIServingWithRoutine", false, false},
    {"AggregatedDiscoveryRemoveBetaType", true, true},
    {"AllAlpha", false, false},
    {"AllBeta", false, false},
    {"AllowDNSOnlyNodeCSR", false, false},
    {"AllowInsecureKubeletCertificateSigningRequests", false, false},
    {"AllowOverwriteTerminationGracePeriodSeconds", true, true},
    {"AllowParsingUserUIDFromCertAuth", true, false},
    {"AllowServiceExternalIPs", true, false},
    {"AllowUnsafeMalformedObjectDeletion", false, false},
    {"AnonymousAuthConfigurableEndpoints", true, true},
    {"AnyVolumeDataSource", true, true},
    {"AtomicFIFO", true, false},
    {"AuthorizeNodeWithSelectors", true, true},
    {"AuthorizePodWebsocketUpgradeCreatePermission", true, false},
    {"AuthorizeWithSelectors", true, true},
    {"BtreeWatchCache", true, true},
    {"CBORServingAndStorage", false, false},
    {"CPUManagerPolicyAlphaOptions", false, false},
    {"CPUManagerPolicyBetaOptions", true, false},
    {"CPUManagerPolicyOptions", true, true},
    {"CRDObservedGenerationTracking", true, false},
    {"CRDValidationRatcheting", true, true},
    {"CRIListStreaming", false, false},
    {"CSIServiceAccountTokenSecrets", true, true},
    {"CSIVolumeHealth", false, false},
    {"ChangeContainerStatusOnKubeletRestart", false, false},
    {"ClearingNominatedNodeNameAfterBinding", true, false},
    {"ClientsAllowCARotation", true, false},
    {"ClientsAllowCBOR", false, false},
    {"ClientsAllowTLSCacheGC", true, false},
    {"ClientsPreferCBOR", false, false},
    {"CloudControllerManagerWatchBasedRoutesReconciliation", false, false},
    {"CloudControllerManagerWebhook", false, false},
    {"ClusterTrustBundle", false, false},
    {"ClusterTrustBundleProjection", false, false},
    {"ComponentFlagz", true, false},
    {"ComponentStatusz", true, false},
    {"ConcurrentWatchObjectDecode", false, false},
    {"ConsistentListFromCache", true, true},
    {"ConstrainedImpersonation", true, false},
    {"ContainerCheckpoint", true, false},
    {"ContainerRestartRules", true, false},
    {"ContainerStopSignals", false, false},
    {"ContextualLogging", true, false},
    {"ControllerManagerReleaseLeaderElectionLockOnExit", false, false},
    {"CoordinatedLeaderElection", false, false},
    {"CrossNamespaceVolumeDataSource", false, false},
    {"CustomCPUCFSQuotaPeriod", true, false},
    {"CustomResourceFieldSelectors", true, true},
    {"DRAAdminAccess", true, true},
    {"DRAConsumableCapacity", true, false},
    {"DRADeviceBindingConditions", true, false},
    {"DRADeviceTaintRules", false, false},
    {"DRADeviceTaints", true, false},
    {"DRAExtendedResource", true, false},
    {"DRAListTypeAttributes", false, false},
    {"DRANodeAllocatableResources", false, false},
    {"DRAPartitionableDevices", true, false},
    {"DRAPrioritizedList", true, false},
    {"DRAResourceClaimDeviceStatus", true, false},
    {"DRAResourceClaimGranularStatusAuthorization", true, false},
    {"DRAResourcePoolStatus", false, false},
    {"DRASchedulerFilterTimeout", true, false},
    {"DRAWorkloadResourceClaims", false, false},
    {"DeclarativeValidation", true, true},
    {"DeclarativeValidationBeta", true, false},
    {"DeclarativeValidationTakeover", false, false},
    {"DeploymentReplicaSetTerminatingReplicas", true, false},
    {"DetectCacheInconsistency", true, false},
    {"DisableAllocatorDualWrite", true, true},
    {"DisableCPUQuotaWithExclusiveCPUs", true, false},
    {"DisableNodeKubeProxyVersion", true, true},
    {"DynamicResourceAllocation", true, true},
    {"EnvFiles", true, false},
    {"EventedPLEG", false, false},
    {"ExecProbeTimeout", true, true},
    {"ExtendWebSocketsToKubelet", true, false},
    {"ExternalServiceAccountTokenSigner", true, true},
    {"GangScheduling", false, false},
    {"GenericWorkload", false, false},
    {"GitRepoVolumeDriver", true, true},
    {"GracefulNodeShutdown", true, false},
    {"GracefulNodeShutdownBasedOnPodPriority", true, false},
    {"HPAConfigurableTolerance", true, false},
    {"HPAScaleToZero", false, false},
    {"HostnameOverride", true, false},
    {"ImageMaximumGCAge", true, true},
    {"ImageVolume", true, true},
    {"ImageVolumeWithDigest", false, false},
    {"InOrderInformers", true, true},
    {"InOrderInformersBatchProcess", true, false},
    {"InPlacePodLevelResourcesVerticalScaling", true, false},
    {"InPlacePodVerticalScaling", true, true},
    {"InPlacePodVerticalScalingExclusiveCPUs", false, false},
    {"InPlacePodVerticalScalingExclusiveMemory", false, false},
    {"InPlacePodVerticalScalingInitContainers", true, false},
    {"InformerResourceVersion", true, false},
    {"JobBackoffLimitPerIndex", true, true},
    {"JobManagedBy", true, true},
    {"JobPodReplacementPolicy", true, true},
    {"JobSuccessPolicy", true, true},
    {"KMSv1", false, false},
    {"KubeletCgroupDriverFromCRI", true, true},
    {"KubeletCrashLoopBackOffMax", true, false},
    {"KubeletEnsureSecretPulledImages", true, false},
    {"KubeletFineGrainedAuthz", true, true},
    {"KubeletInUserNamespace", false, false},
    {"KubeletPSI", true, true},
    {"KubeletPodResourcesDynamicResources", true, true},
    {"KubeletPodResourcesGet", true, true},
    {"KubeletPodResourcesListUseActivePods", true, false},
    {"KubeletRegistrationGetOnExistsOnly", false, false},
    {"KubeletSeparateDiskGC", true, false},
    {"KubeletServiceAccountTokenForCredentialProviders", true, false},
    {"KubeletTracing", true, true},
    {"ListFromCacheSnapshot", true, false},
    {"LocalStorageCapacityIsolationFSQuotaMonitoring", false, false},
    {"LogarithmicScaleDown", true, true},
    {"LoggingAlphaOptions", false, false},
    {"LoggingBetaOptions", true, false},
    {"ManifestBasedAdmissionControlConfig", false, false},
    {"MatchLabelKeysInPodAffinity", true, true},
    {"MatchLabelKeysInPodTopologySpread", true, false},
    {"MatchLabelKeysInPodTopologySpreadSelectorMerge", true, false},
    {"MaxUnavailableStatefulSet", false, false},
    {"MemoryQoS", false, false},
    {"MultiCIDRServiceAllocator", true, true},
    {"MutableCSINodeAllocatableCount", true, true},
    {"MutablePVNodeAffinity", false, false},
    {"MutablePodResourcesForSuspendedJobs", true, false},
    {"MutableSchedulingDirectivesForSuspendedJobs", true, false},
    {"MutatingAdmissionPolicy", true, false},
    {"NFTablesProxyMode", true, true},
    {"NativeHistograms", false, false},
    {"NodeDeclaredFeatures", true, false},
    {"NodeInclusionPolicyInPodTopologySpread", true, true},
    {"NodeLogQuery", true, true},
    {"NodeSwap", true, true},
    {"NominatedNodeNameForExpectation", true, false},
    {"OpenAPIEnums", true, false},
    {"OpportunisticBatching", true, false},
    {"OrderedNamespaceDeletion", true, true},
    {"PLEGOnDemandRelist", true, false},
    {"PersistentVolumeClaimUnusedSinceTime", false, false},
    {"PodAndContainerStatsFromCRI", false, false},
    {"PodCertificateRequest", false, false},
    {"PodDeletionCost", true, false},
    {"PodLevelResourceManagers", false, false},
    {"PodLevelResources", true, false},
    {"PodLifecycleSleepAction", true, true},
    {"PodLifecycleSleepActionAllowZero", true, true},
    {"PodLogsQuerySplitStreams", false, false},
    {"PodObservedGenerationTracking", true, true},
    {"PodReadyToStartContainersCondition", true, false},
    {"PodSchedulingReadiness", true, true},
    {"PodTopologyLabelsAdmission", true, false},
    {"PodsAPI", false, false},
    {"PortForwardWebsockets", true, false},
    {"PreferSameTrafficDistribution", true, true},
    {"PreventStaticPodAPIReferences", true, false},
    {"ProcMountType", true, true},
    {"QOSReserved", false, false},
    {"RecoverVolumeExpansionFailure", true, true},
    {"RecursiveReadOnlyMounts", true, true},
    {"ReduceDefaultCrashLoopBackOffDecay", false, false},
    {"RelaxedDNSSearchValidation", true, true},
    {"RelaxedEnvironmentVariableValidation", true, true},
    {"RelaxedServiceNameValidation", true, false},
    {"ReloadKubeletClientCAFile", true, false},
    {"ReloadKubeletServerCertificateFile", true, false},
    {"RemoteRequestHeaderUID", true, false},
    {"ResilientWatchCacheInitialization", true, true},
    {"ResourceHealthStatus", true, false},
    {"ResourceHealthStatusMessage", true, false},
    {"RestartAllContainersOnContainerExits", true, false},
    {"RetryGenerateName", true, true},
    {"RotateKubeletServerCertificate", true, false},
    {"RuntimeClassInImageCriApi", false, false},
    {"SELinuxChangePolicy", true, true},
    {"SELinuxMount", false, false},
    {"SELinuxMountReadWriteOncePod", true, true},
    {"SchedulerAsyncAPICalls", false, false},
    {"SchedulerAsyncPreemption", true, false},
    {"SchedulerPopFromBackoffQ", true, false},
    {"SchedulerQueueingHints", true, true},
    {"SeparateCacheWatchRPC", true, true},
    {"SeparateTaintEvictionController", true, true},
    {"ServiceAccountNodeAudienceRestriction", true, false},
    {"ServiceAccountTokenJTI", true, true},
    {"ServiceAccountTokenNodeBinding", true, true},
    {"ServiceAccountTokenNodeBindingValidation", true, true},
    {"ServiceAccountTokenPodNodeInfo", true, true},
    {"ServiceCIDRStatusFieldWiping", true, false},
    {"ShardedListAndWatch", false, false},
    {"SidecarContainers", true, true},
    {"SizeBasedListCostEstimate", true, false},
    {"StaleControllerConsistencyDaemonSet", true, false},
    {"StaleControllerConsistencyJob", true, false},
    {"StaleControllerConsistencyReplicaSet", true, false},
    {"StaleControllerConsistencyStatefulSet", true, false},
    {"StatefulSetSemanticRevisionComparison", true, false},
    {"StorageCapacityScoring", false, false},
    {"StorageNamespaceIndex", true, false},
    {"StorageVersionAPI", false, false},
    {"StorageVersionHash", true, false},
    {"StorageVersionMigrator", false, false},
    {"StreamingCollectionEncodingToJSON", true, true},
    {"StreamingCollectionEncodingToProtobuf", true, true},
    {"StrictIPCIDRValidation", true, false},
    {"StructuredAuthenticationConfiguration", true, true},
    {"StructuredAuthenticationConfigurationEgressSelector", true, false},
    {"StructuredAuthenticationConfigurationJWKSMetrics", true, false},
    {"SupplementalGroupsPolicy", true, true},
    {"SystemdWatchdog", true, true},
    {"TaintTolerationComparisonOperators", false, false},
    {"TokenRequestServiceAccountUIDValidation", true, false},
    {"TopologyAwareWorkloadScheduling", false, false},
    {"TopologyManagerPolicyAlphaOptions", false, false},
    {"TopologyManagerPolicyBetaOptions", true, false},
    {"TopologyManagerPolicyOptions", true, true},
    {"TranslateStreamCloseWebsocketRequests", true, false},
    {"UnauthenticatedHTTP2DOSMitigation", true, false},
    {"UnknownVersionInteroperabilityProxy", true, false},
    {"UnlockWhileProcessingFIFO", true, false},
    {"UserNamespacesHostNetworkSupport", false, false},
    {"UserNamespacesSupport", true, true},
    {"VolumeAttributesClass", true, true},
    {"VolumeLimitScaling", false, false},
    {"WatchCacheInitializationPostStartHook", true, false},
    {"WatchList", true, false},
    {"WatchListClient", true, false},
    {"WinDSR", true, true},
    {"WinOverlay", true, true},
    {"WindowsCPUAndMemoryAffinity", false, false},
    {"WindowsGracefulNodeShutdown", true, false},
    {"WindowsHostNetwork", false, false},
    {"WorkloadAwarePreemption", false, false},
    {"WorkloadWithJob", false, false},
};

static const struct gate *find(struct str name)
{
    size_t low = 0, high = ARRAY_SIZE(gates);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_cmp(name, str_of(gates[middle].name));
        if (order == 0)
            return &gates[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static bool parse_bool(struct str v, bool *ret)
{
    static const char *const words[] = {"1", "t", "T", "true",  "TRUE",  "True",
                                        "0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_eqc(v, words[i])) {
            *ret = i < ARRAY_SIZE(words) / 2;
            return true;
        }
    return false;
}

static int set(struct str given, const struct feature_switch *heeded, size_t heeded_count,
               struct error *err)
{
    struct str name, value;
    bool on, valued = str_cut(given, '=', &name, &value);
    name = str_trim(name);
    value = str_trim(value);
    if (!valued)
        return error_set(err, E_INVALID, "missing bool value for " STR_FMT, STR_ARG(name));
    if (!parse_bool(value, &on))
        return error_set(err, E_INVALID,
                         "invalid value of " STR_FMT "=" STR_FMT
                         ", err: strconv.ParseBool: parsing \"" STR_FMT "\": invalid syntax",
                         STR_ARG(name), STR_ARG(value), STR_ARG(value));
    const struct gate *g = find(name);
    if (g == NULL)
        return error_set(err, E_INVALID, "unrecognized feature gate: " STR_FMT, STR_ARG(name));
    if (g->locked && on != g->on)
        return error_set(err, E_INVALID,
                         "cannot set feature gate %s to %s, feature is locked to %s", g->name,
                         on ? "true" : "false", g->on ? "true" : "false");
    for (size_t i = 0; i < heeded_count; i++) {
        if (strcmp(heeded[i].name, g->name) != 0)
            continue;
        *heeded[i].on = on;
        return 0;
    }
    if (on != g->on)
        log_warning("--feature-gates: %s=%s has no effect", g->name, on ? "true" : "false");
    return 0;
}

int feature_gates_set(const struct flag_list *given, const struct feature_switch *heeded,
                      size_t heeded_count, struct error *err)
{
    int code = 0;
    for (size_t i = 0; i < heeded_count; i++) {
        const struct gate *g = find(str_of(heeded[i].name));
        ASSERT(g != NULL);
        *heeded[i].on = g->on;
    }
    for (size_t i = 0; i < given->count && code == 0; i++) {
        struct str item = str_of(given->items[i]);
        if (str_has_prefix(item, STR("kube:"))) /* The component, which may be named. */
            item = str_sub(item, 5, item.len);
        if (item.len != 0)
            code = set(item, heeded, heeded_count, err);
    }
    return code;
}

int feature_gates_check(const struct flag_list *given, struct error *err)
{
    return feature_gates_set(given, NULL, 0, err);
}
