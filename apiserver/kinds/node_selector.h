/* node_selector.h - node selectors and tolerations, which pods, volumes and
 * runtime classes have. Pure. */
#ifndef APISERVER_KINDS_NODE_SELECTOR_H
#define APISERVER_KINDS_NODE_SELECTOR_H

#include "apiserver/field_error.h"

struct core_v1_node_selector;
struct core_v1_toleration;

void validate_node_selector(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_node_selector *s);
void validate_tolerations(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_toleration *list, size_t count);

#endif
