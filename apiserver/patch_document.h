/* patch_document.h - the body of a PATCH, applied to one object. */
#ifndef APISERVER_PATCH_DOCUMENT_H
#define APISERVER_PATCH_DOCUMENT_H

struct api_kind;
struct apply_request;
struct field_manager;
struct meta_v1_status;
struct req;

/* Looks at media type and options: 415 for types that are not served. For a
 * configuration to be applied, *ret_apply is what was read of it, else NULL. */
struct meta_v1_status *patch_begin(struct req *r, struct apply_request **ret_apply);
/* msg, of kind, with the request's body applied: JSON, merge and strategic patches. */
struct meta_v1_status *patch_document(struct req *r, const struct api_kind *kind, void *msg,
                                      void **ret);
/* live (NULL: none), of fm->kind, with the configuration merged into it. */
struct meta_v1_status *apply_config(const struct apply_request *apply,
                                    const struct field_manager *fm, const void *live, void **ret);

#endif
