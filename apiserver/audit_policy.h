/* audit_policy.h - which requests are recorded, and how much of them: a Policy of
 * audit.k8s.io/v1. Pure. */
#ifndef APISERVER_AUDIT_POLICY_H
#define APISERVER_AUDIT_POLICY_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct authz_attributes;
struct audit_policy;
struct error;

enum audit_level {
    AUDIT_NONE,
    AUDIT_METADATA,
    AUDIT_REQUEST,
    AUDIT_REQUEST_RESPONSE,
};

enum audit_stage {
    AUDIT_RECEIVED = 1,
    AUDIT_STARTED = 2, /* Of long-running requests. */
    AUDIT_COMPLETE = 4,
    AUDIT_PANIC = 8,
};

struct audit_decision {
    enum audit_level level;
    unsigned omit_stages; /* AUDIT_* */
    bool omit_managed_fields;
};

/* YAML or JSON. E_INVALID names what is wrong. */
int audit_policy_parse(struct str text, struct audit_policy **ret, struct error *err);
void audit_policy_free(struct audit_policy *p); /* NULL is a no-op. */
/* The first rule that matches decides; none: not recorded. */
struct audit_decision audit_policy_decide(const struct audit_policy *p,
                                          const struct authz_attributes *at);

const char *audit_level_name(enum audit_level level);
const char *audit_stage_name(enum audit_stage stage);

#endif
