/* legacytoken_plan.h - what is to become of a Secret with a service account's token that nobody
 * seems to use. Pure.
 *
 * Rules are those of upstream's legacy token cleaner (1.36): only tokens that were made for the
 * account by itself (its secrets name them) are touched, and only when no pod mounts them. */
#ifndef CONTROLLERS_LEGACYTOKEN_PLAN_H
#define CONTROLLERS_LEGACYTOKEN_PLAN_H

#include "lib/base/str.h"

struct api_object;
struct arena;
struct core_v1_pod;
struct core_v1_secret;
struct core_v1_service_account;

#define TOKEN_SECRET_TYPE "kubernetes.io/service-account-token"
#define TOKEN_LAST_USED "kubernetes.io/legacy-token-last-used"
#define TOKEN_INVALID_SINCE "kubernetes.io/legacy-token-invalid-since"

enum legacy_token { LEGACY_TOKEN_KEEP, LEGACY_TOKEN_INVALIDATE, LEGACY_TOKEN_DELETE };

/* account NULL: there is none. */
enum legacy_token legacy_token_judge(const struct core_v1_secret *s,
                                     const struct core_v1_service_account *account, bool mounted,
                                     int64_t now_s, int64_t period_s);
/* Days as labels have them. */
struct str legacy_token_day(struct arena *a, int64_t s);
bool legacy_token_parse_day(struct str text, int64_t *ret_s);
/* Does the pod name the Secret anywhere? */
bool pod_names_secret(const struct core_v1_pod *p, struct str name);

#endif
