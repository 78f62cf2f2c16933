/* test_legacytoken.c - which tokens in Secrets are too old. */
#include "controllers/legacytoken_plan.h"

#include "api/core_v1.h"
#include "test/unit/controllers/objects.h"

#define DAY_S 86400
#define NOW_S (1000 * DAY_S) /* 1972-09-27 */
#define PERIOD_S (365 * DAY_S)
#define SECRET(created, labels)                                                                    \
    "{\"metadata\":{\"name\":\"t\",\"creationTimestamp\":\"" created "\",\"labels\":{" labels      \
    "}},\"type\":\"kubernetes.io/service-account-token\"}"
#define OLD "1970-02-01T00:00:00Z"
#define USED(day) "\"kubernetes.io/legacy-token-last-used\":\"" day "\""
#define INVALID(day) "\"kubernetes.io/legacy-token-invalid-since\":\"" day "\""

static enum legacy_token judge(const char *secret, const char *account, bool mounted)
{
    AUTO_ARENA *a = arena_new(0);
    return legacy_token_judge(decoded(a, &core_v1_secret_msg, secret),
                              account != NULL ? decoded(a, &core_v1_service_account_msg, account)
                                              : NULL,
                              mounted, NOW_S, PERIOD_S);
}

/* Unused for long it becomes invalid, and unless that helped nobody to remember it, it goes. */
START_TEST(unused_tokens_go)
{
    const char *named = "{\"secrets\":[{\"name\":\"t\"}]}";
    ck_assert_int_eq(judge(SECRET(OLD, ""), named, false), LEGACY_TOKEN_INVALIDATE);
    ck_assert_int_eq(judge(SECRET(OLD, USED("1971-01-01")), named, false), LEGACY_TOKEN_INVALIDATE);
    ck_assert_int_eq(judge(SECRET(OLD, INVALID("soon")), named, false), LEGACY_TOKEN_INVALIDATE);
    ck_assert_int_eq(judge(SECRET(OLD, INVALID("1972-01-01")), named, false), LEGACY_TOKEN_KEEP);
    ck_assert_int_eq(judge(SECRET(OLD, INVALID("1971-09-27")), named, false), LEGACY_TOKEN_DELETE);
}
END_TEST

/* What is new, used, mounted, made by hand, or of nobody stays. */
START_TEST(others_stay)
{
    const char *named = "{\"secrets\":[{\"name\":\"t\"}]}";
    ck_assert_int_eq(judge(SECRET("1972-01-01T00:00:00Z", ""), named, false), LEGACY_TOKEN_KEEP);
    ck_assert_int_eq(judge(SECRET(OLD, USED("1971-09-28")), named, false), LEGACY_TOKEN_KEEP);
    ck_assert_int_eq(judge(SECRET(OLD, USED("long ago")), named, false), LEGACY_TOKEN_KEEP);
    ck_assert_int_eq(judge(SECRET(OLD, ""), named, true), LEGACY_TOKEN_KEEP);
    ck_assert_int_eq(judge(SECRET(OLD, ""), "{}", false), LEGACY_TOKEN_KEEP);
    ck_assert_int_eq(judge(SECRET(OLD, ""), NULL, false), LEGACY_TOKEN_KEEP);
}
END_TEST

/* Wherever a pod may name a Secret. */
START_TEST(pods_name_secrets)
{
    static const char *const pods[] = {
        "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"t\"}}]}}",
        "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"projected\":{\"sources\":[{\"secret\":{\"name\":"
        "\"t\"}}]}}]}}",
        "{\"spec\":{\"containers\":[{\"name\":\"c\",\"envFrom\":[{\"secretRef\":{\"name\":\"t\"}}]}"
        "]}}",
        "{\"spec\":{\"initContainers\":[{\"name\":\"c\",\"env\":[{\"name\":\"e\",\"valueFrom\":{"
        "\"secretKeyRef\":{\"name\":\"t\",\"key\":\"k\"}}}]}]}}",
        "{\"spec\":{\"imagePullSecrets\":[{\"name\":\"t\"}]}}",
    };
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        const struct core_v1_pod *p = decoded(a, &core_v1_pod_msg, pods[i]);
        ck_assert(pod_names_secret(p, STR("t")));
        ck_assert(!pod_names_secret(p, STR("u")));
    }
}
END_TEST

UNIT_MAIN("controllers/legacytoken", {
    UNIT_TEST(unused_tokens_go);
    UNIT_TEST(others_stay);
    UNIT_TEST(pods_name_secrets);
})
