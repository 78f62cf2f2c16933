/* claim_status.h - the status of a ResourceClaim: what was given to it, to whom,
 * and how it is. Pure. */
#ifndef APISERVER_KINDS_CLAIM_STATUS_H
#define APISERVER_KINDS_CLAIM_STATUS_H

struct field_errors;
struct kind_ctx;

void prepare_claim_status(const struct kind_ctx *ctx, void *obj, const void *old);
void validate_claim_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                           struct field_errors *errs);

#endif
