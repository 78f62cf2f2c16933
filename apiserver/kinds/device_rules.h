/* device_rules.h - what the kinds of resource.k8s.io share: names, selectors,
 * configuration, taints and tolerations. Pure. */
#ifndef APISERVER_KINDS_DEVICE_RULES_H
#define APISERVER_KINDS_DEVICE_RULES_H

#include "apiserver/kinds/rules.h"

struct resource_v1_device_configuration;
struct resource_v1_device_selector;
struct resource_v1_device_taint;
struct resource_v1_device_toleration;
struct runtime_raw_extension;

#define DEVICE_REQUESTS_MAX 32
#define DEVICE_CONFIG_MAX 32

/* False, with the fault, when there are more than max: they are not looked at then. */
bool check_device_count(struct field_errors *errs, const struct field_path *path, size_t count,
                        size_t max);
/* Names at path[i] that were there before. */
void check_device_doubles(struct field_errors *errs, const struct field_path *path,
                          const struct str *names, size_t count);
/* Subdomains with slashes between. */
void check_pool_name(struct field_errors *errs, const struct field_path *path, struct str name);
void check_share_id(struct field_errors *errs, const struct field_path *path, struct str uid);
/* "[domain/]name" */
void check_device_attribute_name(struct field_errors *errs, const struct field_path *path,
                                 struct str name);
void check_device_selectors(struct field_errors *errs, const struct field_path *path,
                            const struct resource_v1_device_selector *s, size_t count);
void check_device_configuration(struct field_errors *errs, const struct field_path *path,
                                const struct resource_v1_device_configuration *c);
/* A JSON object of at most max bytes. */
void check_raw_object(struct field_errors *errs, const struct field_path *path,
                      const struct runtime_raw_extension *r, size_t max);
void check_device_taint(struct field_errors *errs, const struct field_path *at,
                        const struct resource_v1_device_taint *t);
void check_device_toleration(struct field_errors *errs, const struct field_path *at,
                             const struct resource_v1_device_toleration *t);
/* What must hold, and what must not, before a device is used. */
void check_binding_conditions(struct field_errors *errs, const struct field_path *at,
                              const struct str *conditions, size_t count,
                              const struct str *failures, size_t failures_count);

#endif
