/* authz_review.h - what is to be decided, as the spec of a SubjectAccessReview:
 * for webhooks, and for expressions that say when they are asked. Pure. */
#ifndef APISERVER_AUTHZ_REVIEW_H
#define APISERVER_AUTHZ_REVIEW_H

#include "lib/api/cel/cel.h"

struct arena;
struct authz_attributes;
struct json;

/* full: also what is empty, as expressions see it; v1beta1 calls the groups "group". */
struct json *authz_review_spec(struct arena *a, const struct authz_attributes *at, bool full,
                               bool v1beta1);
/* Of the variable `request`: authz_review_spec(full, v1). */
extern const struct cel_type authz_review_type;

#endif
