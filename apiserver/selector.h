/* selector.h - label and field selectors of lists and watches. Pure; parsed
 * ones live in an arena and are immutable. */
#ifndef APISERVER_SELECTOR_H
#define APISERVER_SELECTOR_H

#include "lib/api/schema.h"
#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct error;
struct wire_label;
struct meta_v1_label_selector;

enum selector_op { SEL_IN, SEL_NOT_IN, SEL_EXISTS, SEL_NOT_EXISTS, SEL_GT, SEL_LT };

struct label_requirement {
    struct str key;
    enum selector_op op;
    struct str *values;
    size_t count;
    int64_t number; /* SEL_GT, SEL_LT */
};

struct label_selector {
    struct label_requirement *items;
    size_t count; /* 0 matches everything. */
};

/* E_INVALID with upstream's text. */
int label_selector_parse(struct arena *a, struct str text, struct label_selector *ret,
                         struct error *err);
bool label_selector_matches(const struct label_selector *s, const struct wire_label *labels,
                            size_t count);
/* Of an object's stored bytes. */
bool label_selector_matches_wire(const struct label_selector *s, struct str object);
bool label_selector_matches_map(const struct label_selector *s, const struct api_str_entry *labels,
                                size_t count);
/* A LabelSelector object; E_INVALID for unknown operators. NULL matches nothing
 * (*ret_none is set), an empty one everything. */
int label_selector_of(struct arena *a, const struct meta_v1_label_selector *m,
                      struct label_selector *ret, bool *ret_none, struct error *err);
/* Canonical text: "a=b,c in (d,e)". */
struct str label_selector_text(struct arena *a, const struct meta_v1_label_selector *m);

struct field_requirement {
    struct str field;
    struct str value;
    bool negated;
};

struct field_selector {
    struct field_requirement *items;
    size_t count;
};
int field_selector_parse(struct arena *a, struct str text, struct field_selector *ret,
                         struct error *err);

#endif
