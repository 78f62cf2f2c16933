/* volume_sources.h - the sources that volumes of pods and persistent volumes
 * have in common, one check each. Pure. */
#ifndef APISERVER_KINDS_VOLUME_SOURCES_H
#define APISERVER_KINDS_VOLUME_SOURCES_H

#include "apiserver/kinds/rules.h"

struct core_v1_aws_elastic_block_store_volume_source;
struct core_v1_azure_disk_volume_source;
struct core_v1_fc_volume_source;
struct core_v1_flocker_volume_source;
struct core_v1_gce_persistent_disk_volume_source;
struct core_v1_host_path_volume_source;
struct core_v1_nfs_volume_source;
struct core_v1_persistent_volume_claim_spec;
struct core_v1_persistent_volume_source;
struct core_v1_persistent_volume_spec;
struct core_v1_quobyte_volume_source;

/* iSCSI of pods and of persistent volumes have the same members in two structs. */
struct iscsi_view {
    struct str target_portal, iqn, initiator_name;
    int32_t lun;
    bool chap, has_secret, has_initiator;
};

void check_host_path_source(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_host_path_volume_source *h);
void check_gce_source(struct field_errors *errs, const struct field_path *path,
                      const struct core_v1_gce_persistent_disk_volume_source *g);
void check_aws_source(struct field_errors *errs, const struct field_path *path,
                      const struct core_v1_aws_elastic_block_store_volume_source *e);
void check_nfs_source(struct field_errors *errs, const struct field_path *path,
                      const struct core_v1_nfs_volume_source *n);
void check_iscsi_source(struct field_errors *errs, const struct field_path *path,
                        const struct iscsi_view *i);
void check_fc_source(struct field_errors *errs, const struct field_path *path,
                     const struct core_v1_fc_volume_source *f);
void check_flocker_source(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_flocker_volume_source *f);
void check_quobyte_source(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_quobyte_volume_source *q);
void check_azure_disk_source(struct field_errors *errs, const struct field_path *path,
                             const struct core_v1_azure_disk_volume_source *d);
void check_flex_options(struct field_errors *errs, const struct field_path *path, struct str driver,
                        const struct api_str_entry *options, size_t count);
void check_csi_driver_name(struct field_errors *errs, const struct field_path *path,
                           struct str name);
struct str str_lowered(struct arena *a, struct str s);
/* Who makes volumes of a class: a qualified name, in whatever case. */
void check_provisioner(struct field_errors *errs, const struct field_path *path, struct str name);
/* What a class tells it; required: there must be some. */
void check_parameters(struct field_errors *errs, const struct field_path *path,
                      const struct api_str_entry *e, size_t count, bool required);
/* A field that must not be empty, without further rules. */
void check_given(struct field_errors *errs, const struct field_path *path, struct str value);

/* persistentvolumes.c: a volume that stands in an attachment, not by itself. */
void validate_inline_volume(struct field_errors *errs, const struct field_path *spec,
                            const struct core_v1_persistent_volume_spec *s);
void volume_source_defaults(struct core_v1_persistent_volume_source *s);

/* claim_spec.c: the spec of a claim, also of one made for a pod. */
void validate_claim_spec(struct field_errors *errs, const struct field_path *path,
                         const struct core_v1_persistent_volume_claim_spec *s);

#endif
