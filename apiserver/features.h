/* features.h - what feature gates switch here. All of it is off by default. */
#ifndef APISERVER_FEATURES_H
#define APISERVER_FEATURES_H

#include "lib/base/base.h"

struct error;
struct flag_list;

enum feature {
    FEATURE_ALWAYS, /* No gate: is on. */
    FEATURE_CLUSTER_TRUST_BUNDLE,
    FEATURE_CLUSTER_TRUST_BUNDLE_PROJECTION,
    FEATURE_POD_CERTIFICATE_REQUEST,
    FEATURE_COUNT
};

/* --feature-gates, once, before threads; refuses as feature_gates_set(). Without it all is as by
 * default. */
int features_set(const struct flag_list *given, struct error *err);
bool feature_on(enum feature f);
const char *feature_gate_name(enum feature f); /* Not of FEATURE_ALWAYS. */

#endif
