/* labels.h - does a set of labels satisfy a selector? For the selectors that
 * stand in objects. Pure. */
#ifndef CLIENT_LABELS_H
#define CLIENT_LABELS_H

#include "lib/base/str.h"

struct api_str_entry;
struct meta_v1_label_selector;
struct meta_v1_object_meta;

/* NULL selects nothing, an empty one everything, as upstream's
 * LabelSelectorAsSelector; an unknown operator selects nothing. */
bool label_selector_matches(const struct meta_v1_label_selector *s,
                            const struct api_str_entry *labels, size_t count);
/* Selectors that are plain maps (Service, ReplicationController, nodeSelector):
 * every entry must be there. An empty one matches everything. */
bool labels_contain(const struct api_str_entry *labels, size_t count,
                    const struct api_str_entry *want, size_t want_count);
/* The same keys with the same values, in any order; keys are unique. */
bool labels_equal(const struct api_str_entry *x, size_t x_count, const struct api_str_entry *y,
                  size_t y_count);
/* Without matchLabels and matchExpressions. */
bool label_selector_is_empty(const struct meta_v1_label_selector *s);
/* One requirement: operator In, NotIn, Exists, DoesNotExist, Gt, Lt. value: the
 * label's, NULL: absent. */
bool label_requirement_matches(struct str operator, const struct str * value,
                               const struct str *values, size_t values_count);
/* The value of a label; NULL when absent. */
const struct str *label_get(const struct meta_v1_object_meta *m, const char *key);
const struct str *annotation_get(const struct meta_v1_object_meta *m, const char *key);

#endif
