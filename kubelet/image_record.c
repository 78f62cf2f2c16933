/* image_record.c - see image_record.h. */
#include "kubelet/image_record.h"

#include "kubelet/pull_secrets.h"

#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/net/pki.h"

#include "api/core_v1.h"

#include <stdio.h>

/* --- policy ------------------------------------------------------------------------------ */

static int check_pattern(const char *pattern, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct str p = str_of(pattern);
    if (str_has_suffix(p, STR("/*")))
        p.len -= 2;
    bool wild = p.len < strlen(pattern);
    if (p.len > 0 && str_find(p, '*', 0) < 0 && str_find(p, ' ', 0) < 0 &&
        (wild || str_eq(image_repository(a, p), p)))
        return 0;
    return error_set(err, E_INVALID,
                     "--preloaded-images-verification-allowlist: '%s' is neither an image's full "
                     "name without tag and digest, such as registry.example/team/app, nor the "
                     "start of some with a final /*",
                     pattern);
}

int image_policy_parse(const char *name, const struct flag_list *list, struct image_policy *ret,
                       struct error *err)
{
    static const char *const names[] = {
        [IMAGE_VERIFY_NEVER] = "NeverVerify",
        [IMAGE_VERIFY_PULLED] = "NeverVerifyPreloadedImages",
        [IMAGE_VERIFY_NOT_LISTED] = "NeverVerifyAllowlistedImages",
        [IMAGE_VERIFY_ALWAYS] = "AlwaysVerify",
    };
    size_t i = 0;
    while (i < ARRAY_SIZE(names) && strcmp(name, names[i]) != 0)
        i++;
    if (i == ARRAY_SIZE(names))
        return error_set(err, E_INVALID,
                         "--image-pull-credentials-verification-policy: '%s' is none of "
                         "NeverVerify, NeverVerifyPreloadedImages, NeverVerifyAllowlistedImages "
                         "and AlwaysVerify",
                         name);
    if (list->count > 0 && i != IMAGE_VERIFY_NOT_LISTED)
        return error_set(err, E_INVALID,
                         "--preloaded-images-verification-allowlist counts only with "
                         "--image-pull-credentials-verification-policy "
                         "NeverVerifyAllowlistedImages");
    for (size_t k = 0; k < list->count; k++) {
        int rc = check_pattern(list->items[k], err);
        if (rc != 0)
            return rc;
    }
    *ret = (struct image_policy){.verification = (enum image_verification)i, .list = list};
    return 0;
}

static bool is_listed(const struct flag_list *list, struct str repository)
{
    for (size_t i = 0; i < list->count; i++) {
        struct str p = str_of(list->items[i]);
        if (str_has_suffix(p, STR("/*")) ? str_has_prefix(repository, str_sub(p, 0, p.len - 1))
                                         : str_eq(p, repository))
            return true;
    }
    return false;
}

bool image_policy_verifies(const struct image_policy *p, struct str repository,
                           bool pulled_by_agent)
{
    switch (p->verification) {
    case IMAGE_VERIFY_NEVER:
        return false;
    case IMAGE_VERIFY_PULLED:
        return pulled_by_agent;
    case IMAGE_VERIFY_NOT_LISTED:
        return !is_listed(p->list, repository);
    case IMAGE_VERIFY_ALWAYS:
        break;
    }
    return true;
}

/* --- records ----------------------------------------------------------------------------- */

const char *image_credential_hash(struct arena *a, const struct pull_auth *auth)
{
    const char *const parts[] = {auth->username, auth->password, auth->auth, auth->identity_token,
                                 auth->registry_token};
    AUTO_BUF b = BUF_INIT;
    uint8_t sum[32];
    char *hex = ARENA_ARRAY(a, char, 65);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        buf_append(&b, parts[i], strlen(parts[i]) + 1);
    net_sha256(b.data, b.len, sum);
    explicit_bzero(b.data, b.len);
    for (size_t i = 0; i < sizeof(sum); i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    return hex;
}

static struct json *ways_to(const struct json *record, struct str repository)
{
    return json_get(json_getc(record, "credentialMapping"), repository);
}

static bool same_secret(const struct json *s, const struct pull_auth *auth)
{
    return str_eqc(json_get_str(s, "uid"), auth->secret_uid) &&
           str_eqc(json_get_str(s, "namespace"), auth->secret_namespace) &&
           str_eqc(json_get_str(s, "name"), auth->secret_name);
}

static bool is_everybodys(const struct json *ways)
{
    const struct json *all = json_getc(ways, "nodePodsAccessible");
    return all != NULL && all->type == JSON_BOOL && all->boolean;
}

static size_t secret_count(const struct json *ways, const struct json **ret)
{
    *ret = json_getc(ways, "kubernetesSecrets");
    return *ret != NULL && (*ret)->type == JSON_ARRAY ? (*ret)->array.count : 0;
}

bool image_record_allows(const struct json *record, struct str repository,
                         const struct pull_auth *auths, size_t count, size_t *ret_index,
                         bool *ret_note)
{
    const struct json *ways = ways_to(record, repository), *secrets;
    size_t n = secret_count(ways, &secrets);
    *ret_note = false;
    if (is_everybodys(ways))
        return true;
    for (size_t i = 0; i < count; i++) {
        if (auths[i].secret_uid == NULL)
            continue;
        for (size_t k = 0; k < n; k++) {
            const struct json *s = secrets->array.items[k];
            struct str hash = json_get_str(s, "credentialHash");
            bool same = same_secret(s, &auths[i]);
            bool equal = hash.len > 0 && str_eqc(hash, auths[i].secret_hash);
            if (!same && !equal)
                continue;
            *ret_index = i;
            *ret_note = !(same && equal) && n < IMAGE_RECORD_SECRETS_MAX;
            return true;
        }
    }
    return false;
}

static struct json *secret_json(struct arena *a, const struct pull_auth *auth)
{
    struct json *s = json_object(a);
    json_setc(a, s, "uid", json_string(a, str_of(auth->secret_uid)));
    json_setc(a, s, "namespace", json_string(a, str_of(auth->secret_namespace)));
    json_setc(a, s, "name", json_string(a, str_of(auth->secret_name)));
    json_setc(a, s, "credentialHash", json_string(a, str_of(auth->secret_hash)));
    return s;
}

/* One more secret; the same one in another version takes its own place, the oldest goes when there
 * are too many. */
static struct json *add_secret(struct arena *a, const struct json *ways,
                               const struct pull_auth *auth)
{
    struct json *list = json_array(a), *out = json_object(a);
    const struct json *old;
    size_t n = secret_count(ways, &old), from = n >= IMAGE_RECORD_SECRETS_MAX ? 1 : 0;
    for (size_t i = from; i < n; i++)
        if (!same_secret(old->array.items[i], auth))
            json_append(a, list, json_clone(a, old->array.items[i]));
    json_append(a, list, secret_json(a, auth));
    json_setc(a, out, "kubernetesSecrets", list);
    const struct json *accounts = json_getc(ways, "kubernetesServiceAccounts");
    if (accounts != NULL)
        json_setc(a, out, "kubernetesServiceAccounts", json_clone(a, accounts));
    return out;
}

struct json *image_record_merge(struct arena *a, const struct json *record, struct str ref,
                                struct str repository, const struct pull_auth *auth, bool unknown,
                                int64_t now_s)
{
    const struct json *old = json_getc(record, "credentialMapping");
    struct json *mapping =
        old != NULL && old->type == JSON_OBJECT ? json_clone(a, old) : json_object(a);
    struct json *out = json_object(a), *ways = NULL;
    struct meta_v1_time now = {.seconds = now_s};
    char text[TIME_TEXT_MAX];
    size_t len = time_format(&now, text);
    if (!unknown && auth != NULL && auth->secret_uid != NULL) {
        ways = add_secret(a, ways_to(record, repository), auth);
    } else if (!unknown) {
        ways = json_object(a);
        json_setc(a, ways, "nodePodsAccessible", json_bool(a, true));
    }
    if (ways != NULL)
        json_set(a, mapping, repository, ways);
    json_setc(a, out, "kind", json_string(a, STR("ImagePulledRecord")));
    json_setc(a, out, "apiVersion", json_string(a, STR(IMAGE_RECORD_API_VERSION)));
    json_setc(a, out, "lastUpdatedTime", json_string(a, str_n(text, len)));
    json_setc(a, out, "imageRef", json_string(a, ref));
    json_setc(a, out, "credentialMapping", mapping);
    return out;
}
