/* patch.h - the three kinds of PATCH bodies, applied to documents, and merge
 * patches made from two. Pure; results live in the arena and share memory with
 * the patch, documents given are left as they are.
 *
 * Errors carry upstream's texts. Codes tell what a server answers:
 * E_INVALID 400 (the patch is malformed), E_UNPROCESSABLE 422 (it does not
 * apply), E_TOO_LARGE 413 (too many operations), E_INTERNAL 500 (strategic
 * directives that make no sense: upstream answers so). */
#ifndef API_PATCH_H
#define API_PATCH_H

#include "lib/base/str.h"

struct api_msg;
struct arena;
struct error;
struct json;

enum api_patch_type {
    API_PATCH_JSON,      /* application/json-patch+json, RFC 6902 */
    API_PATCH_MERGE,     /* application/merge-patch+json, RFC 7386 */
    API_PATCH_STRATEGIC, /* application/strategic-merge-patch+json */
};

/* What a list of operations may be, and what their copies may add up to. */
enum { API_PATCH_OPERATIONS_MAX = 10000, API_PATCH_COPY_BYTES_MAX = 3 * 1024 * 1024 };

/* m: the document's type, for strategic patches; else NULL. */
int api_patch_apply(struct arena *a, enum api_patch_type type, const struct api_msg *m,
                    const struct json *doc, struct str patch, struct json **ret, struct error *err);

/* The same on parsed patches. */
int api_json_patch_apply(struct arena *a, const struct json *doc, const struct json *operations,
                         struct json **ret, struct error *err);
struct json *api_merge_patch_apply(struct arena *a, const struct json *doc,
                                   const struct json *patch);
int api_strategic_patch_apply(struct arena *a, const struct api_msg *m, const struct json *doc,
                              const struct json *patch, struct json **ret, struct error *err);

/* The merge patch that turns one object into the other; {} when they are equal. */
struct json *api_merge_patch_create(struct arena *a, const struct json *from,
                                    const struct json *to);

#endif
