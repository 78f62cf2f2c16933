/* validate.h - the forms of names, labels and selectors that all kinds share.
 *
 * Pure functions. The is_* checks return NULL when the text is good, else the
 * words upstream uses for it (static). The validate_* ones add to a list. */
#ifndef APISERVER_VALIDATE_H
#define APISERVER_VALIDATE_H

#include "apiserver/field_error.h"
#include "lib/api/schema.h"

struct meta_v1_label_selector;
struct meta_v1_object_meta;

/* At most two faults per text (form and length): msgs has room for two. */
struct faults {
    const char *msgs[2];
    unsigned count;
};
struct faults check_dns_label(struct str s);     /* RFC 1123 label, 63 bytes. */
struct faults check_dns_subdomain(struct str s); /* RFC 1123 subdomain, 253 bytes. */
struct faults check_dns1035_label(struct str s); /* Starts with a letter. */
struct faults check_wildcard_subdomain(struct str s);
struct faults check_qualified_name(struct str s, struct arena *a); /* [prefix/]name of labels. */
struct faults check_label_value(struct str s);
struct faults check_env_var_name(struct str s);
struct faults check_config_map_key(struct str s);
struct faults check_port_name(struct str s, const char *ret_msgs[5], unsigned *ret_count);
struct faults check_c_identifier(struct str s);
bool ip_parse(struct str s, uint8_t ret[16], bool *ret_v4); /* Strict: no leading zeros. */
bool cidr_parse(struct str s, uint8_t ret[16], bool *ret_v4, unsigned *ret_prefix);

/* Adds every fault as FIELD_INVALID at path. */
void field_faults(struct field_errors *errs, const struct field_path *path, struct str value,
                  struct faults f);

/* Name rules for kind_ops.validate_name. */
void name_dns_subdomain(struct field_errors *errs, const struct field_path *path, struct str name,
                        bool generate);
void name_dns_label(struct field_errors *errs, const struct field_path *path, struct str name,
                    bool generate);
void name_dns1035_label(struct field_errors *errs, const struct field_path *path, struct str name,
                        bool generate);
void name_path_segment(struct field_errors *errs, const struct field_path *path, struct str name,
                       bool generate);

void validate_labels(struct field_errors *errs, const struct field_path *path,
                     const struct api_str_entry *e, size_t count);
void validate_annotations(struct field_errors *errs, const struct field_path *path,
                          const struct api_str_entry *e, size_t count);
/* One of the values of a label key (qualified name). */
void validate_label_name(struct field_errors *errs, const struct field_path *path, struct str name);
void validate_label_selector(struct field_errors *errs, const struct field_path *path,
                             const struct meta_v1_label_selector *s);
/* >= 0: "must be greater than or equal to 0". */
void validate_non_negative(struct field_errors *errs, const struct field_path *path, int64_t v);
/* 1..65535. */
void validate_port(struct field_errors *errs, const struct field_path *path, int64_t v);
/* Semantic equality of two values of one message type, else
 * Invalid value: {...}: field is immutable. */
void validate_immutable(struct field_errors *errs, const struct field_path *path,
                        const struct api_msg *m, const void *obj, const void *old);
void validate_immutable_str(struct field_errors *errs, const struct field_path *path,
                            struct str obj, struct str old);

/* Metadata of any object (the generic part calls these). Those that embed a
 * template call validate_object_meta on it. */
void validate_object_meta(struct field_errors *errs, const struct field_path *path,
                          const struct meta_v1_object_meta *m, bool namespaced,
                          void (*validate_name)(struct field_errors *, const struct field_path *,
                                                struct str, bool));
void validate_object_meta_update(struct field_errors *errs, const struct field_path *path,
                                 const struct meta_v1_object_meta *m,
                                 const struct meta_v1_object_meta *old);

#endif
