/* list_options.h - what a list or watch selects, from its query. */
#ifndef APISERVER_LIST_OPTIONS_H
#define APISERVER_LIST_OPTIONS_H

#include "apiserver/selector.h"
#include "lib/base/base.h"

struct kv;
struct meta_v1_status;
struct req;
struct resource;

enum rv_match { MATCH_UNSET, MATCH_EXACT, MATCH_NOT_OLDER };

struct list_options {
    struct api_label_selector labels;
    struct api_field_selector fields; /* Without metadata.name and metadata.namespace. */
    bool has_name, has_ns;            /* Required by the field selector (or the path). */
    struct str name, ns;
    bool field_selector; /* One was given, whatever it says. */
    bool nothing;        /* Contradicting requirements: no object matches. */
    bool has_rv;
    int64_t rv; /* With has_rv. */
    enum rv_match match;
    int64_t limit;
    struct str continue_;
    int64_t timeout_s; /* 0: unset. */
    bool bookmarks;
    bool has_initial_events, initial_events;
    const struct api_field_requirement *excluded; /* metadata.name!=x and the like. */
    size_t excluded_count;
};

struct meta_v1_status *list_options_parse(struct req *r, bool watch, struct list_options *ret);
/* Does a stored object match all selectors? name and ns are from its key. */
bool list_options_match(const struct list_options *o, struct arena *scratch,
                        const struct resource *res, struct str value, struct str ns,
                        struct str name);
/* The range of keys to look at: [*ret_from, *ret_end). */
void list_options_range(struct arena *a, const struct list_options *o, const struct resource *res,
                        struct str ns, struct str *ret_from, struct str *ret_end);

#endif
