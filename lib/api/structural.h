/* structural.h - the schema of a custom kind, made ready for use: what a
 * CustomResourceDefinition says in OpenAPI v3, as pruning, defaulting,
 * validation and server-side apply walk it.
 *
 * Built once from a definition that has been validated or will be; constant
 * afterwards and shared by threads. Everything lives in the arena it was built
 * in. */
#ifndef API_STRUCTURAL_H
#define API_STRUCTURAL_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiextensions_v1_json_schema_props;
struct apiextensions_v1_validation_rule;
struct api_warnings;
struct arena;
struct custom_rules;
struct error;
struct json;
struct pattern;

enum structural_type {
    STRUCTURAL_ANY, /* No type given. */
    STRUCTURAL_OBJECT,
    STRUCTURAL_ARRAY,
    STRUCTURAL_STRING,
    STRUCTURAL_INTEGER,
    STRUCTURAL_NUMBER,
    STRUCTURAL_BOOLEAN,
};

enum structural_list { LIST_ATOMIC, LIST_SET, LIST_MAP };

struct structural_member;

struct structural {
    enum structural_type type;
    struct str type_name; /* As given: "string". */
    bool nullable, preserve_unknown, embedded, int_or_string;
    bool has_default_below, has_rules_below; /* Here or further down. */
    bool map_atomic;
    enum structural_list list;
    const struct str *keys; /* LIST_MAP */
    size_t key_count;

    /* Objects: members by name (sorted), and what others are. */
    const struct structural_member *members;
    size_t member_count;
    bool has_additional;                 /* additionalProperties is given ... */
    bool forbids_additional;             /* ... as false ... */
    const struct structural *additional; /* ... or with a schema; NULL: true. */
    const struct structural *items;      /* Arrays; NULL: anything. */
    const struct json *default_;         /* NULL: none. */

    /* Rules for values. */
    struct str format, pattern_text;
    const struct pattern *pattern;
    bool has_maximum, has_minimum, exclusive_maximum, exclusive_minimum, has_multiple_of;
    double maximum, minimum, multiple_of;
    int64_t max_length, min_length, max_items, min_items, max_members, min_members; /* -1: none */
    bool unique_items;
    const struct json *const *enum_;
    size_t enum_count;
    const struct str *required;
    size_t required_count;
    const struct structural *all_of, *any_of, *one_of, *not_;
    size_t all_of_count, any_of_count, one_of_count;
    const struct apiextensions_v1_validation_rule *rules; /* x-kubernetes-validations */
    size_t rule_count;
    const struct custom_rules *programs; /* The same, compiled by whoever evaluates them. */
};

struct structural_member {
    struct str name;
    struct structural schema;
};

#define STRUCTURAL_DEPTH_MAX 64u /* Of schemas; deeper ones are refused. */

/* E_INVALID: too deep, a pattern that is none, a default that is no JSON. */
int structural_build(struct arena *a, const struct apiextensions_v1_json_schema_props *props,
                     const struct structural **ret, struct error *err);

/* NULL: not declared. */
const struct structural *structural_member(const struct structural *s, struct str name);
/* apiVersion, kind, metadata: what every object has without saying so. */
bool structural_is_meta(struct str name);

/* --- trees ------------------------------------------------------------------------- */
/* Removes what the schema does not know. root: the tree is an object's content,
 * of which apiVersion, kind and metadata stay. Paths of what went ("spec.a[0].b")
 * are added to ret_unknown unless it is NULL; in the order of their text. */
void structural_prune(struct arena *a, const struct structural *s, struct json *j, bool root,
                      struct api_warnings *ret_unknown);
/* Fills in defaults, then drops nulls where null is not allowed. */
void structural_default(struct arena *a, const struct structural *s, struct json *j);

/* --- patterns (RE2's syntax as far as both know it) ---------------------------------- */
/* NULL and *err: no such pattern. */
struct pattern *pattern_new(struct str text, struct error *err);
void pattern_free(struct pattern *p); /* NULL is a no-op. */
/* Anywhere in the text; false as well when matching would cost too much. */
bool pattern_matches(const struct pattern *p, struct str text);

#endif
