/* workload.h - what kinds with a selector and a pod template share. Pure. */
#ifndef APISERVER_KINDS_WORKLOAD_H
#define APISERVER_KINDS_WORKLOAD_H

#include "apiserver/kind.h"

struct core_v1_pod_template_spec;
struct intstr_int_or_string;
struct meta_v1_label_selector;
struct meta_v1_object_meta;

/* Required, well-formed and not empty; what: "deployment". */
void validate_workload_selector(const struct kind_ctx *ctx, struct field_errors *errs,
                                const struct field_path *spec,
                                const struct meta_v1_label_selector *s, const char *what);
/* Labels match the selector, the spec is good, pods are restarted always;
 * what: "ReplicaSet". */
void validate_workload_template(const struct kind_ctx *ctx, struct field_errors *errs,
                                const struct field_path *spec,
                                const struct meta_v1_label_selector *s,
                                const struct core_v1_pod_template_spec *t, const char *what);
/* The first half of it: labels that the selector selects. */
void validate_template_labels(struct field_errors *errs, const struct field_path *template,
                              const struct meta_v1_label_selector *s,
                              const struct core_v1_pod_template_spec *t);
/* The second: pods that run for ever. */
void validate_always_restarted(struct field_errors *errs, const struct field_path *template,
                               const struct core_v1_pod_template_spec *t, const char *what);
/* Labels that a selector selects; one that cannot be read selects all. */
bool workload_selects(struct arena *a, const struct meta_v1_label_selector *s,
                      const struct meta_v1_object_meta *m);
/* Labels as an error shows them. */
struct str labels_shown(struct arena *a, const struct meta_v1_object_meta *m);
void validate_immutable_selector(struct field_errors *errs,
                                 const struct meta_v1_label_selector *now,
                                 const struct meta_v1_label_selector *before);
struct str selector_text(struct arena *a, const struct meta_v1_label_selector *s);

/* A number of the status that may not exceed another; of: what that one is called. */
void validate_at_most(struct field_errors *errs, const char *field, int32_t value, int32_t max,
                      const char *of);
/* status.collisionCount only goes up. */
void validate_collisions_grow(struct field_errors *errs, bool has, int32_t now, bool had,
                              int32_t before);

/* The status of ReplicaSets and of their elder, ReplicationControllers. */
struct replica_counts {
    int32_t replicas, fully_labeled, ready, available;
    int64_t observed_generation;
};
void validate_replica_counts(struct field_errors *errs, const struct replica_counts *c);
extern const struct table_column replica_columns[];

struct intstr_int_or_string *int_or_string_percent(struct arena *a, const char *percent);
/* A number that is not negative, or digits and '%'. NULL is good. */
void validate_int_or_percent(struct field_errors *errs, const struct field_path *path,
                             const struct intstr_int_or_string *v);
void validate_percent_max(struct field_errors *errs, const struct field_path *path,
                          const struct intstr_int_or_string *v);
bool int_or_percent_is_zero(const struct intstr_int_or_string *v);

#endif
