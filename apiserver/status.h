/* status.h - refusals, as the meta/v1 Status objects that clients read.
 *
 * A function that may refuse returns NULL on success or a Status in the given
 * arena. The texts are upstream's: clients match on them. */
#ifndef APISERVER_STATUS_H
#define APISERVER_STATUS_H

#include "api/meta_v1.h"
#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct field_errors;

/* What an object is called in messages: resource and its group. */
struct group_resource {
    struct str group;
    struct str resource; /* With subresource where upstream says so: pods/binding */
};
struct str group_resource_text(struct arena *a, struct group_resource gr); /* "deployments.apps" */

/* Any code and reason ("" leaves it out); details are absent. */
struct meta_v1_status *status_new(struct arena *a, int32_t code, const char *reason,
                                  struct str message);
struct meta_v1_status *status_printf(struct arena *a, int32_t code, const char *reason,
                                     const char *fmt, ...) PRINTF_LIKE(4, 5);
/* details as a present, maybe empty, object. */
struct meta_v1_status_details *status_details(struct arena *a, struct meta_v1_status *s);
void status_add_cause(struct arena *a, struct meta_v1_status *s, const char *reason,
                      struct str message, struct str field);

struct meta_v1_status *status_bad_request(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A plain error without a reason: code 500. */
struct meta_v1_status *status_plain(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct meta_v1_status *status_internal(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct meta_v1_status *status_not_found(struct arena *a, struct group_resource gr, struct str name);
struct meta_v1_status *status_exists(struct arena *a, struct group_resource gr, struct str name);
struct meta_v1_status *status_conflict(struct arena *a, struct group_resource gr, struct str name,
                                       const char *fmt, ...) PRINTF_LIKE(4, 5);
struct meta_v1_status *status_forbidden(struct arena *a, struct group_resource gr, struct str name,
                                        const char *fmt, ...) PRINTF_LIKE(4, 5);
struct meta_v1_status *status_invalid(struct arena *a, const char *group, const char *kind,
                                      struct str name, const struct field_errors *errs);
struct meta_v1_status *status_unauthorized(struct arena *a);
struct meta_v1_status *status_path_not_found(struct arena *a); /* the server could not find ... */
struct meta_v1_status *status_method(struct arena *a);         /* 405 */
struct meta_v1_status *status_expired(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct meta_v1_status *status_gone_rv(struct arena *a, int64_t rv, int64_t current);
struct meta_v1_status *status_rv_too_large(struct arena *a, int64_t rv, int64_t current);
struct meta_v1_status *status_too_many(struct arena *a, int32_t retry_s, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
struct meta_v1_status *status_unavailable(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct meta_v1_status *status_too_large(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* What another server refused with: upstream's words for its code, or body where they use that. */
struct meta_v1_status *status_of_answer(struct arena *a, int code, struct group_resource gr,
                                        struct str name, struct str body);
/* For codes of the store and of codecs. */
struct meta_v1_status *status_from_code(struct arena *a, int code, const char *message);

#endif
