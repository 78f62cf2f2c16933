/* features.c - see features.h. */
#include "apiserver/features.h"

#include "lib/api/feature_gates.h"

static bool switched[FEATURE_COUNT]; /* Constant once the threads run. */

static const struct feature_switch switches[] = {
    {"ClusterTrustBundle", &switched[FEATURE_CLUSTER_TRUST_BUNDLE]},
    {"ClusterTrustBundleProjection", &switched[FEATURE_CLUSTER_TRUST_BUNDLE_PROJECTION]},
    {"PodCertificateRequest", &switched[FEATURE_POD_CERTIFICATE_REQUEST]},
};
static_assert(ARRAY_SIZE(switches) == FEATURE_COUNT - 1, "a feature without a gate");

int features_set(const struct flag_list *given, struct error *err)
{
    return feature_gates_set(given, switches, ARRAY_SIZE(switches), err);
}

bool feature_on(enum feature f)
{
    return f == FEATURE_ALWAYS || switched[f];
}

const char *feature_gate_name(enum feature f)
{
    ASSERT(f > FEATURE_ALWAYS && f < FEATURE_COUNT);
    return switches[f - 1].name;
}
