/* image_record.h - who may use an image that is on the node. Pure.
 *
 * An ImagePulledRecord (kubelet.config.k8s.io/v1beta1, as a JSON tree) tells for an image how each
 * name of it was pulled: without secrets, so that every pod of the node may use it, or with which
 * secrets of pods. Source: KEP-2535; the files can be read by the upstream kubelet. */
#ifndef KUBELET_IMAGE_RECORD_H
#define KUBELET_IMAGE_RECORD_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct error;
struct flag_list;
struct json;
struct pull_auth;

#define IMAGE_RECORD_API_VERSION "kubelet.config.k8s.io/v1beta1"
#define IMAGE_RECORD_SECRETS_MAX 100u /* Of one name, as upstream's. */

enum image_verification {
    IMAGE_VERIFY_NEVER,
    IMAGE_VERIFY_PULLED,     /* NeverVerifyPreloadedImages: those that this agent pulled. */
    IMAGE_VERIFY_NOT_LISTED, /* NeverVerifyAllowlistedImages */
    IMAGE_VERIFY_ALWAYS
};

struct image_policy {
    enum image_verification verification;
    const struct flag_list *list; /* "registry/repository" or "registry/path/" with a final '*'. */
};

/* E_INVALID names the flag (--image-pull-credentials-verification-policy,
 * --preloaded-images-verification-allowlist). */
int image_policy_parse(const char *name, const struct flag_list *list, struct image_policy *ret,
                       struct error *err);
/* Must a pod show that it may use this image? repository: image_repository(). */
bool image_policy_verifies(const struct image_policy *p, struct str repository,
                           bool pulled_by_agent);

/* May a pod with these credentials (pull_auths_add(), those of secrets) use it by this name?
 * record may be NULL or nonsense: nobody may. *ret_note: true when the first credential that fits
 * is not in the record as it is now, and should be merged into it. */
bool image_record_allows(const struct json *record, struct str repository,
                         const struct pull_auth *auths, size_t count, size_t *ret_index,
                         bool *ret_note);
/* The record of ref with one more way to it: auth's secret, or everybody (auth is NULL or of no
 * secret). unknown: how it was pulled is not known; nobody gets access by it. */
struct json *image_record_merge(struct arena *a, const struct json *record, struct str ref,
                                struct str repository, const struct pull_auth *auth, bool unknown,
                                int64_t now_s);
/* For pull_auth.secret_hash: 64 hexadecimal digits in a. */
const char *image_credential_hash(struct arena *a, const struct pull_auth *auth);

#endif
