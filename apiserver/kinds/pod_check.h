/* pod_check.h - what the files that check a pod spec share (internal to
 * pod_validate.c, pod_containers.c, pod_volumes.c, pod_security.c and
 * pod_scheduling.c). Pure. */
#ifndef APISERVER_KINDS_POD_CHECK_H
#define APISERVER_KINDS_POD_CHECK_H

#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/rules.h"

struct core_v1_affinity;
struct core_v1_container;
struct core_v1_object_field_selector;
struct core_v1_resource_field_selector;
struct core_v1_resource_requirements;
struct core_v1_security_context;
struct core_v1_volume;
struct core_v1_windows_security_context_options;
struct meta_v1_object_meta;

struct pod_check {
    struct field_errors *errs;
    const struct core_v1_pod_spec *spec;
    struct str pod_name; /* Empty in templates. */
    unsigned flags;      /* POD_SPEC_* */
    /* One mark for each volume: it is well-formed, so that mounts find it. */
    bool *volume_good;
};

/* pod_volumes.c; fills volume_good. */
void check_volumes(struct pod_check *k, const struct field_path *path);
/* The well-formed volume of that name, or NULL. */
const struct core_v1_volume *check_find_volume(const struct pod_check *k, struct str name);

/* pod_fields.c: references to the pod's own fields and a container's resources.
 * supported: sorted, ended by NULL. */
void check_field_ref(struct field_errors *errs, const struct field_path *path,
                     const struct core_v1_object_field_selector *s, const char *const *supported);
void check_resource_field_ref(struct field_errors *errs, const struct field_path *path,
                              const struct core_v1_resource_field_selector *s, bool in_volume);

/* pod_containers.c */
void check_containers(struct pod_check *k, const struct field_path *path);
void check_init_containers(struct pod_check *k, const struct field_path *path);
void check_ephemeral_containers(struct pod_check *k, const struct field_path *path);
/* pod_resources.c: limits, requests, claims. */
void check_resources(struct pod_check *k, const struct field_path *path,
                     const struct core_v1_resource_requirements *r);
void check_pod_resources(struct pod_check *k, const struct field_path *path);

/* pod_probes.c */
void check_probes(struct pod_check *k, const struct field_path *path,
                  const struct core_v1_container *c);

/* pod_mounts.c: a container's mounts and devices. */
void check_mounts(struct pod_check *k, const struct field_path *container,
                  const struct core_v1_container *c);

/* pod_security.c */
void check_pod_security(struct pod_check *k, const struct field_path *spec);
void check_container_security(struct pod_check *k, const struct field_path *path,
                              const struct core_v1_security_context *s);
/* What spec.os allows. */
void check_os(struct pod_check *k, const struct field_path *spec);

/* pod_windows.c */
void check_windows_options(struct field_errors *errs, const struct field_path *path,
                           const struct core_v1_windows_security_context_options *w);
void check_host_process(struct pod_check *k, const struct field_path *spec);

/* pod_annotations.c; path is that of the annotations. */
void check_pod_annotations(struct field_errors *errs, const struct field_path *path,
                           const struct meta_v1_object_meta *m, const struct core_v1_pod_spec *s);
void check_pod_annotation_changes(struct field_errors *errs, const struct field_path *path,
                                  const struct meta_v1_object_meta *now,
                                  const struct meta_v1_object_meta *was);
/* Profiles that stand in annotations and in fields agree; armor: AppArmor, else seccomp. */
void check_pod_profiles(struct field_errors *errs, const struct field_path *spec,
                        const struct meta_v1_object_meta *m, const struct core_v1_pod_spec *s,
                        bool armor);
bool is_mirror_pod(const struct meta_v1_object_meta *m);

/* pod_depends.c: what is declared to depend on; path is that of the annotations. */
void check_pod_depends(struct field_errors *errs, const struct field_path *path,
                       const struct meta_v1_object_meta *m, const struct core_v1_pod_spec *s);
bool is_depends_annotation(struct str key);
/* Of a Namespace. */
void check_isolation_label(struct field_errors *errs, const struct field_path *labels,
                           const struct meta_v1_object_meta *m);

/* pod_scheduling.c */
void check_affinity(struct pod_check *k, const struct field_path *path);
void check_tolerations(struct pod_check *k, const struct field_path *path);
void check_spread(struct pod_check *k, const struct field_path *path);

#endif
