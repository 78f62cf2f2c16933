/* pod_warnings.h - what is allowed in pods and templates and still unwise. Pure. */
#ifndef APISERVER_KINDS_POD_WARNINGS_H
#define APISERVER_KINDS_POD_WARNINGS_H

#include "apiserver/kind.h"

struct api_quantity_entry;
struct core_v1_persistent_volume_claim_spec;
struct core_v1_pod_spec;
struct core_v1_pod_template_spec;
struct core_v1_volume;
struct meta_v1_object_meta;

/* path: where metadata and spec stand; PATH_ROOT for pods. */
void warn_pod(const struct kind_ctx *ctx, const struct field_path *path,
              const struct core_v1_pod_spec *s, const struct meta_v1_object_meta *m);
/* Of a workload's template at path. On updates only when the object's
 * generation moves; where name_matters, on creation also of names that make
 * poor host names. meta and old are the workload's own, old NULL on create. */
struct workload_warning {
    const struct meta_v1_object_meta *meta, *old;
    const struct field_path *path;
    const struct core_v1_pod_template_spec *template;
    bool name_matters;
};
void warn_workload(const struct kind_ctx *ctx, const struct workload_warning *w);
/* Of names that pods' host names are made of; of: "Pod names and hostnames". */
void warn_host_name(const struct kind_ctx *ctx, struct str name, const char *of);

/* Services that are declared and not there (pod_depends.c); at: the annotation's path. */
void warn_pod_depends(const struct kind_ctx *ctx, const struct field_path *at,
                      const struct meta_v1_object_meta *m);
/* Files of a volume that lie in each other's way (pod_warn_volumes.c). */
void warn_overlaps(const struct kind_ctx *ctx, const struct core_v1_volume *v);
void warn_claim_spec(const struct kind_ctx *ctx, const struct field_path *path,
                     const struct core_v1_persistent_volume_claim_spec *s);
/* Of claims and volumes that name their class as of old. */
void warn_storage_class_annotation(const struct kind_ctx *ctx, const struct meta_v1_object_meta *m);
/* Amounts of key in bytes that are not whole. */
void warn_fraction(const struct kind_ctx *ctx, const struct field_path *path, const char *key,
                   const struct api_quantity_entry *e, size_t count);

#endif
