/* rules.h - small rules that many kinds share, in upstream's words. Pure. */
#ifndef APISERVER_KINDS_RULES_H
#define APISERVER_KINDS_RULES_H

#include "apiserver/ip_text.h"
#include "apiserver/validate.h"

struct intstr_int_or_string;
struct resource_quantity;
struct api_quantity_entry;

/* Lists end with NULL. */
bool is_listed(struct str s, const char *const *list);
bool list_has(const struct str *list, size_t count, const char *s);
/* Empty: required; else one of the list. */
void require_listed(struct field_errors *errs, const struct field_path *path, struct str s,
                    const char *const *list);
/* As it stands, empty or not, one of the list. */
void validate_listed(struct field_errors *errs, const struct field_path *path, struct str s,
                     const char *const *list);
void validate_range(struct field_errors *errs, const struct field_path *path, int64_t v,
                    int64_t min, int64_t max);
/* Required, and of the form that check() knows. */
void require_form(struct field_errors *errs, const struct field_path *path, struct str s,
                  struct api_faults (*check)(struct str));
void validate_form(struct field_errors *errs, const struct field_path *path, struct str s,
                   struct api_faults (*check)(struct str));
/* "acme.io/foo" */
void validate_domain_prefixed_path(struct field_errors *errs, const struct field_path *path,
                                   struct str s);
/* The same with a name of the form of a label's behind the slash; case does not matter. */
void validate_domain_prefixed_key(struct field_errors *errs, const struct field_path *path,
                                  struct str key);
/* A number of a port, or the name of one. */
void validate_port_or_name(struct field_errors *errs, const struct field_path *path,
                           const struct intstr_int_or_string *p);
void validate_port_name(struct field_errors *errs, const struct field_path *path, struct str name);
/* 0..0777 */
void validate_file_mode(struct field_errors *errs, const struct field_path *path, int32_t mode);

/* The types of a status' conditions: required, each once. They are count structs of size bytes with
 * the type at offset. */
void validate_condition_types(struct field_errors *errs, const struct field_path *list,
                              const void *conditions, size_t count, size_t size, size_t offset);

/* No ".." among the path's elements. */
bool path_has_backsteps(struct str path);
void validate_no_backsteps(struct field_errors *errs, const struct field_path *path,
                           struct str value);
/* Relative, without "..". */
void validate_descending_path(struct field_errors *errs, const struct field_path *path,
                              struct str value);
/* The same, and does not start with "..". */
void validate_non_reserved_path(struct field_errors *errs, const struct field_path *path,
                                struct str value);
/* An address that another machine can reach. */
void validate_non_special_ip(struct field_errors *errs, const struct field_path *path,
                             struct str value);

/* --- resources --- */
const struct api_quantity_entry *find_quantity(const struct api_quantity_entry *e, size_t count,
                                               struct str key);
bool is_hugepages(struct str name);
/* No prefix, or one of kubernetes.io. */
bool is_native_resource(struct str name);
bool is_extended_resource(struct str name);
/* cpu, pods, requests.cpu and so on: what a bare name may be. */
bool is_standard_resource(struct str name);
bool is_standard_container_resource(struct str name);
/* Only whole numbers of it make sense. */
bool is_integer_resource(struct str name);
void validate_resource_name(struct field_errors *errs, const struct field_path *path,
                            struct str name);
void validate_container_resource_name(struct field_errors *errs, const struct field_path *path,
                                      struct str name);
/* Not negative, whole where it must be. */
void validate_quantity_value(struct field_errors *errs, const struct field_path *path,
                             struct str name, const struct resource_quantity *q);
void validate_positive_quantity(struct field_errors *errs, const struct field_path *path,
                                const struct resource_quantity *q);
void validate_non_negative_quantity(struct field_errors *errs, const struct field_path *path,
                                    const struct resource_quantity *q);
/* A quantity as an error shows it; never empty. */
struct str quantity_shown(const struct resource_quantity *q);

#endif
