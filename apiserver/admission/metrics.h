/* metrics.h - what admission costs and refuses, under upstream's names. Thread-safe. */
#ifndef APISERVER_ADMISSION_METRICS_H
#define APISERVER_ADMISSION_METRICS_H

#include "apiserver/admission.h"

#define ADMISSION_PLUGINS_MAX 64u

void admission_metrics_init(void); /* Once, before threads; without it nothing is counted. */

/* A plugin's turn, or with plugin SIZE_MAX a whole phase ("admit", "validate"). */
void admission_metrics_time(size_t plugin, bool mutating, enum admit_op op, bool rejected,
                            uint64_t ns);

/* A webhook was asked; code 0: no answer. error_type "" : none. */
struct webhook_metric {
    struct str name;
    const char *type; /* "admit", "validating" */
    enum admit_op op;
    int32_t code;
    bool rejected;
    const char *error_type; /* Of a refusal: "no_error", "calling_webhook_error", ... */
    uint64_t ns;
};
void admission_metrics_webhook(const struct webhook_metric *m);
void admission_metrics_fail_open(struct str name, const char *type);

/* One policy with one binding; action "allow", "deny", "audit", "warn"; error "no_error",
 * "compilation_error", "out_of_budget_error", "invalid_error". */
void admission_metrics_policy(bool mutating, struct str policy, struct str binding,
                              const char *error, const char *action, uint64_t ns);
/* matchConditions that excluded a write (error false) or failed. */
void admission_metrics_condition(struct str name, const char *kind, const char *type,
                                 enum admit_op op, bool error);

/* Pod Security. */
void admission_metrics_pod_security(const char *decision, const char *level, struct str version,
                                    const char *mode, enum admit_op op, const char *resource,
                                    const char *subresource);
void admission_metrics_pod_security_exempt(enum admit_op op, const char *resource,
                                           const char *subresource);
void admission_metrics_pod_security_error(bool fatal, enum admit_op op, const char *resource,
                                          const char *subresource);

#endif
