/* node_labels.h - labels of nodes that have newer names. Pure. */
#ifndef APISERVER_KINDS_NODE_LABELS_H
#define APISERVER_KINDS_NODE_LABELS_H

#include "apiserver/kind.h"

struct core_v1_node_selector_term;
struct meta_v1_label_selector;

/* What to use in its place, or NULL. */
const char *node_label_deprecated(struct str key);
/* values: tell of values that no label can have, too. */
void warn_node_selector_term(const struct kind_ctx *ctx, const struct field_path *path,
                             const struct core_v1_node_selector_term *t, bool values);
void warn_node_label_selector(const struct kind_ctx *ctx, const struct field_path *path,
                              const struct meta_v1_label_selector *s);

#endif
