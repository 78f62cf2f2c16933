/* patch_document.h - the body of a PATCH applied to one object. */
#ifndef APISERVER_PATCH_DOCUMENT_H
#define APISERVER_PATCH_DOCUMENT_H

struct api_kind;
struct meta_v1_status;
struct req;

/* The media type is one of patches that are served; else 415 or 501. */
struct meta_v1_status *patch_check_type(struct req *r);
/* msg, of kind, with the request's body applied. */
struct meta_v1_status *patch_document(struct req *r, const struct api_kind *kind, void *msg,
                                      void **ret);

#endif
