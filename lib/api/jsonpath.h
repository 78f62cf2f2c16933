/* jsonpath.h - paths into JSON documents as kubectl and custom resources write
 * them: .spec.size, .status.conditions[?(@.type=="Ready")].status, .items[*].k,
 * .metadata.labels['app\.kubernetes\.io/name'], [0], [-1:], ..name.
 *
 * Pure. A path is constant once parsed; it lives in its arena. */
#ifndef API_JSONPATH_H
#define API_JSONPATH_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct error;
struct json;
struct jsonpath;

#define JSONPATH_RESULTS_MAX 4096u /* Further ones are left out. */

/* With or without the braces of a template. E_INVALID: malformed. */
int jsonpath_parse(struct arena *a, struct str text, const struct jsonpath **ret,
                   struct error *err);

struct jsonpath_results {
    const struct json **items; /* Borrowed from the document. */
    size_t count, cap;
};
void jsonpath_find(struct arena *a, const struct jsonpath *p, const struct json *root,
                   struct jsonpath_results *ret);
/* The first; NULL: none. */
const struct json *jsonpath_first(struct arena *a, const struct jsonpath *p,
                                  const struct json *root);

/* Paths of plain names only (".spec.replicas"), which have one value at most. */
bool jsonpath_is_simple(const struct jsonpath *p);
/* The names of a simple path. */
size_t jsonpath_names(const struct jsonpath *p, struct str *ret, size_t max);
/* Sets the value at a simple path, making objects on the way. False: something
 * on the way is no object. */
bool jsonpath_set(struct arena *a, const struct jsonpath *p, struct json *root, struct json *value);

#endif
