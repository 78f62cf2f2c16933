/* body.h - request bodies to objects. */
#ifndef APISERVER_BODY_H
#define APISERVER_BODY_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_kind;
struct json;
struct meta_v1_delete_options;
struct meta_v1_status;
struct req;

enum field_validation { VALIDATE_WARN, VALIDATE_STRICT, VALIDATE_IGNORE };

/* The fieldValidation parameter, which body_check_options() judges. */
enum field_validation body_field_validation(struct req *r);
/* Decodes the body as kind, whatever its media type. Warnings go to r. */
struct meta_v1_status *body_decode(struct req *r, const struct api_kind *kind, void **ret_msg);
/* A tree (of a patched object) as kind. */
struct meta_v1_status *body_decode_tree(struct req *r, const struct api_kind *kind,
                                        const struct json *tree, void **ret_msg);
/* DeleteOptions from body and query. */
struct meta_v1_status *body_delete_options(struct req *r, struct meta_v1_delete_options *ret);
/* dryRun (only "All" is known), fieldManager, fieldValidation and force, of all writes but
 * deletion: one Status tells all that is wrong. */
struct meta_v1_status *body_check_options(struct req *r, const char *options_kind);

#endif
