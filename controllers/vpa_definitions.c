/* vpa_definitions.c - see vpa_definitions.h. Fields, bounds, columns and rules are those of the
 * project's manifest; its descriptions are left out. */
#include "controllers/vpa_definitions.h"

#define QUANTITY                                                                                   \
    "{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}],"                                   \
    "\"pattern\":\"^(\\\\+|-)?(([0-9]+(\\\\.[0-9]*)?)|(\\\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|(["   \
    "eE](\\\\+|-)?(([0-9]+(\\\\.[0-9]*)?)|(\\\\.[0-9]+))))?$\","                                   \
    "\"x-kubernetes-int-or-string\":true}"
#define AMOUNTS "{\"additionalProperties\":" QUANTITY ",\"type\":\"object\"}"
#define BOOST                                                                                      \
    "{\"properties\":{\"cpu\":{\"properties\":{\"durationSeconds\":{\"format\":\"int32\","         \
    "\"type\":\"integer\"},\"factor\":{\"format\":\"int32\",\"type\":\"integer\"},"                \
    "\"quantity\":" QUANTITY                                                                       \
    ",\"type\":{\"enum\":[\"Factor\",\"Quantity\"],\"type\":\"string\"}},"                         \
    "\"required\":[\"type\"],\"type\":\"object\",\"x-kubernetes-validations\":[{"                  \
    "\"message\":\"factor is required when type is Factor and forbidden otherwise\","              \
    "\"rule\":\"(self.type == 'Factor') == has(self.factor)\"},{"                                  \
    "\"message\":\"quantity is required when type is Quantity and forbidden otherwise\","          \
    "\"rule\":\"(self.type == 'Quantity') == has(self.quantity)\"}]}},\"type\":\"object\"}"
#define HISTOGRAM                                                                                  \
    "{\"properties\":{\"bucketWeights\":{\"type\":\"object\","                                     \
    "\"x-kubernetes-preserve-unknown-fields\":true},\"referenceTimestamp\":{"                      \
    "\"format\":\"date-time\",\"nullable\":true,\"type\":\"string\"},\"totalWeight\":{"            \
    "\"type\":\"number\"}},\"type\":\"object\"}"

static const char autoscalers[] =
    "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\","
    "\"metadata\":{\"name\":\"verticalpodautoscalers.autoscaling.k8s.io\",\"annotations\":{"
    "\"api-approved.kubernetes.io\":\"https://github.com/kubernetes/kubernetes/pull/63797\"}},"
    "\"spec\":{\"group\":\"autoscaling.k8s.io\",\"names\":{\"kind\":\"VerticalPodAutoscaler\","
    "\"listKind\":\"VerticalPodAutoscalerList\",\"plural\":\"verticalpodautoscalers\","
    "\"shortNames\":[\"vpa\"],\"singular\":\"verticalpodautoscaler\"},\"scope\":\"Namespaced\","
    "\"versions\":[{\"additionalPrinterColumns\":[{\"jsonPath\":\".spec.updatePolicy.updateMode\","
    "\"name\":\"Mode\",\"type\":\"string\"},{"
    "\"jsonPath\":\".status.recommendation.containerRecommendations[0].target.cpu\","
    "\"name\":\"CPU\",\"type\":\"string\"},{"
    "\"jsonPath\":\".status.recommendation.containerRecommendations[0].target.memory\","
    "\"name\":\"Mem\",\"type\":\"string\"},{"
    "\"jsonPath\":\".status.conditions[?(@.type=='RecommendationProvided')].status\","
    "\"name\":\"Provided\",\"type\":\"string\"},{\"jsonPath\":\".metadata.creationTimestamp\","
    "\"name\":\"Age\",\"type\":\"date\"},{\"jsonPath\":\".spec.updatePolicy.minReplicas\","
    "\"name\":\"MinReplicas\",\"priority\":1,\"type\":\"integer\"},{"
    "\"jsonPath\":\".spec.updatePolicy.evictAfterOOMSeconds\",\"name\":\"OOMSeconds\","
    "\"priority\":1,\"type\":\"integer\"}],\"name\":\"v1\",\"schema\":{\"openAPIV3Schema\":{"
    "\"properties\":{\"apiVersion\":{\"type\":\"string\"},\"kind\":{\"type\":\"string\"},"
    "\"metadata\":{\"type\":\"object\"},\"spec\":{\"properties\":{\"recommenders\":{\"items\":{"
    "\"properties\":{\"name\":{\"type\":\"string\"}},\"required\":[\"name\"],\"type\":\"object\"},"
    "\"type\":\"array\"},\"resourcePolicy\":{\"properties\":{\"containerPolicies\":{\"items\":{"
    "\"properties\":{\"containerName\":{\"type\":\"string\"},\"controlledResources\":{\"items\":{"
    "\"type\":\"string\"},\"type\":\"array\"},\"controlledValues\":{"
    "\"enum\":[\"RequestsAndLimits\",\"RequestsOnly\"],\"type\":\"string\"},\"maxAllowed\":" AMOUNTS
    ",\"memoryAggregationIntervalCount\":{\"format\":\"int64\",\"minimum\":1,\"type\":\"integer\"},"
    "\"memoryAggregationIntervalSeconds\":{\"format\":\"int32\",\"minimum\":1,"
    "\"type\":\"integer\"},\"minAllowed\":" AMOUNTS
    ",\"mode\":{\"enum\":[\"Auto\",\"Off\"],\"type\":\"string\"},\"oomBumpUpRatio\":" QUANTITY
    ",\"oomMinBumpUp\":" QUANTITY ",\"startupBoost\":" BOOST
    "},\"type\":\"object\"},\"type\":\"array\"}},\"type\":\"object\"},\"startupBoost\":" BOOST
    ",\"targetRef\":{\"properties\":{\"apiVersion\":{\"type\":\"string\"},\"kind\":{"
    "\"type\":\"string\"},\"name\":{\"type\":\"string\"}},\"required\":[\"kind\",\"name\"],"
    "\"type\":\"object\",\"x-kubernetes-map-type\":\"atomic\"},\"updatePolicy\":{\"properties\":{"
    "\"evictAfterOOMSeconds\":{\"format\":\"int32\",\"minimum\":1,\"type\":\"integer\"},"
    "\"evictionRequirements\":{\"items\":{\"properties\":{\"changeRequirement\":{"
    "\"enum\":[\"TargetHigherThanRequests\",\"TargetLowerThanRequests\"],\"type\":\"string\"},"
    "\"resources\":{\"items\":{\"type\":\"string\"},\"type\":\"array\"}},"
    "\"required\":[\"changeRequirement\",\"resources\"],\"type\":\"object\"},\"type\":\"array\"},"
    "\"minReplicas\":{\"format\":\"int32\",\"type\":\"integer\"},\"updateMode\":{\"enum\":[\"Off\","
    "\"Initial\",\"Recreate\",\"InPlaceOrRecreate\",\"InPlace\",\"Auto\"],\"type\":\"string\"}},"
    "\"type\":\"object\"}},\"required\":[\"targetRef\"],\"type\":\"object\"},\"status\":{"
    "\"properties\":{\"conditions\":{\"items\":{\"properties\":{\"lastTransitionTime\":{"
    "\"format\":\"date-time\",\"type\":\"string\"},\"message\":{\"type\":\"string\"},"
    "\"observedGeneration\":{\"format\":\"int64\",\"minimum\":0,\"type\":\"integer\"},\"reason\":{"
    "\"type\":\"string\"},\"status\":{\"type\":\"string\"},\"type\":{\"type\":\"string\"}},"
    "\"required\":[\"status\",\"type\"],\"type\":\"object\"},\"type\":\"array\"},"
    "\"observedGeneration\":{\"format\":\"int64\",\"minimum\":0,\"type\":\"integer\"},"
    "\"recommendation\":{\"properties\":{\"containerRecommendations\":{\"items\":{\"properties\":{"
    "\"containerName\":{\"type\":\"string\"},\"lowerBound\":" AMOUNTS ",\"target\":" AMOUNTS
    ",\"uncappedTarget\":" AMOUNTS ",\"upperBound\":" AMOUNTS
    "},\"required\":[\"target\"],\"type\":\"object\"},\"type\":\"array\"}},\"type\":\"object\"}},"
    "\"type\":\"object\"}},\"required\":[\"spec\"],\"type\":\"object\"}},\"served\":true,"
    "\"storage\":true,\"subresources\":{\"status\":{}}}]}}";

static const char checkpoints[] =
    "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\","
    "\"metadata\":{\"name\":\"verticalpodautoscalercheckpoints.autoscaling.k8s.io\","
    "\"annotations\":{"
    "\"api-approved.kubernetes.io\":\"https://github.com/kubernetes/kubernetes/pull/63797\"}},"
    "\"spec\":{\"group\":\"autoscaling.k8s.io\",\"names\":{"
    "\"kind\":\"VerticalPodAutoscalerCheckpoint\","
    "\"listKind\":\"VerticalPodAutoscalerCheckpointList\","
    "\"plural\":\"verticalpodautoscalercheckpoints\",\"shortNames\":[\"vpacheckpoint\"],"
    "\"singular\":\"verticalpodautoscalercheckpoint\"},\"scope\":\"Namespaced\",\"versions\":[{"
    "\"name\":\"v1\",\"schema\":{\"openAPIV3Schema\":{\"properties\":{\"apiVersion\":{"
    "\"type\":\"string\"},\"kind\":{\"type\":\"string\"},\"metadata\":{\"type\":\"object\"},"
    "\"spec\":{\"properties\":{\"containerName\":{\"type\":\"string\"},\"vpaObjectName\":{"
    "\"type\":\"string\"}},\"type\":\"object\"},\"status\":{\"properties\":{"
    "\"cpuHistogram\":" HISTOGRAM
    ",\"firstSampleStart\":{\"format\":\"date-time\",\"nullable\":true,\"type\":\"string\"},"
    "\"lastSampleStart\":{\"format\":\"date-time\",\"nullable\":true,\"type\":\"string\"},"
    "\"lastUpdateTime\":{\"format\":\"date-time\",\"nullable\":true,\"type\":\"string\"},"
    "\"memoryHistogram\":" HISTOGRAM
    ",\"totalSamplesCount\":{\"type\":\"integer\"},\"version\":{\"type\":\"string\"}},"
    "\"type\":\"object\"}},\"type\":\"object\"}},\"served\":true,\"storage\":true}]}}";

const struct vpa_definition vpa_definitions[VPA_DEFINITIONS] = {
    {"verticalpodautoscalers.autoscaling.k8s.io", autoscalers},
    {"verticalpodautoscalercheckpoints.autoscaling.k8s.io", checkpoints},
};
