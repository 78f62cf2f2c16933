/* validate.h - rules that all kinds share, added as faults to a list; the forms
 * of names themselves are lib/api/names.h. Pure. */
#ifndef APISERVER_VALIDATE_H
#define APISERVER_VALIDATE_H

#include "apiserver/field_error.h"
#include "lib/api/names.h"
#include "lib/api/schema.h"

struct meta_v1_condition;
struct meta_v1_label_selector;
struct meta_v1_object_meta;

bool ip_parse(struct str s, uint8_t ret[16], bool *ret_v4); /* Strict: no leading zeros. */
bool cidr_parse(struct str s, uint8_t ret[16], bool *ret_v4, unsigned *ret_prefix);

/* Adds every fault as FIELD_INVALID at path. */
void field_faults(struct field_errors *errs, const struct field_path *path, struct str value,
                  struct api_faults f);

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
/* Keys of labels and the like: "name", "example.com/name". */
void validate_qualified_name(struct field_errors *errs, const struct field_path *path,
                             struct str name);
void validate_label_selector(struct field_errors *errs, const struct field_path *path,
                             const struct meta_v1_label_selector *s);
/* Conditions of the common form. */
void validate_conditions(struct field_errors *errs, const struct field_path *path,
                         const struct meta_v1_condition *c, size_t count);
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
/* The same of members of a message, in the order of their names in JSON; the
 * list ends with NULL. path is that of the message. */
void validate_immutable_members(struct field_errors *errs, const struct field_path *path,
                                const struct api_msg *m, const void *obj, const void *old,
                                const char *const *members);

/* Metadata of any object (the generic part calls these). Those that embed a
 * template call validate_object_meta on it. */
void validate_object_meta(struct field_errors *errs, const struct field_path *path,
                          const struct meta_v1_object_meta *m, bool namespaced,
                          void (*validate_name)(struct field_errors *, const struct field_path *,
                                                struct str, bool));
/* Built-in kinds want finalizers with a path, or upstream's own. */
bool is_standard_finalizer(struct str f);
void validate_finalizer_names(struct field_errors *errs, const struct field_path *path,
                              const struct meta_v1_object_meta *m);
void validate_object_meta_update(struct field_errors *errs, const struct field_path *path,
                                 const struct meta_v1_object_meta *m,
                                 const struct meta_v1_object_meta *old);

#endif
