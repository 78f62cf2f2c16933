/* selector.h - label and field selectors: parsing with upstream's error texts,
 * matching, printing. Pure; parsed selectors live in an arena and are immutable. */
#ifndef API_SELECTOR_H
#define API_SELECTOR_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_str_entry;
struct arena;
struct error;
struct meta_v1_label_selector;

enum api_selector_op {
    API_SEL_IN,
    API_SEL_NOT_IN,
    API_SEL_EXISTS,
    API_SEL_NOT_EXISTS,
    API_SEL_GT,
    API_SEL_LT
};

struct api_label_requirement {
    struct str key;
    enum api_selector_op op;
    const char *sign;   /* As it prints: "=", "==", "!=", "in", "notin", ">", "<", "" or "!". */
    struct str *values; /* Sorted, unique. */
    size_t count;
    int64_t number; /* API_SEL_GT, API_SEL_LT */
};

/* All requirements must hold; none of them: everything matches. */
struct api_label_selector {
    struct api_label_requirement *items; /* By key. */
    size_t count;
    bool nothing; /* Matches nothing: what an absent LabelSelector means. */
};

/* "a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1". E_INVALID: unable to parse requirement: ... */
int api_label_selector_parse(struct arena *a, struct str text, struct api_label_selector *ret,
                             struct error *err);
/* A LabelSelector field. NULL selects nothing, an empty one everything. E_INVALID: "Foo" is not a
 * valid label selector operator, or a requirement that makes no sense. */
int api_label_selector_from(struct arena *a, const struct meta_v1_label_selector *m,
                            struct api_label_selector *ret, struct error *err);
bool api_label_selector_matches(const struct api_label_selector *s,
                                const struct api_str_entry *labels, size_t count);
/* The text that parses to the same, as upstream prints it. */
struct str api_label_selector_text(struct arena *a, const struct api_label_selector *s);

struct api_field_requirement {
    struct str field;
    struct str value;
    bool negated;
};

struct api_field_selector {
    struct api_field_requirement *items;
    size_t count;
};

/* "metadata.name=x,spec.nodeName!=y"; \ escapes comma, = and itself in values. */
int api_field_selector_parse(struct arena *a, struct str text, struct api_field_selector *ret,
                             struct error *err);
/* get() returns the object's value of a field, empty when it has none. */
bool api_field_selector_matches(const struct api_field_selector *s,
                                struct str (*get)(void *object, struct str field), void *object);

#endif
