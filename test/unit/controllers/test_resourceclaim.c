/* test_resourceclaim.c - names of pods' claims, who needs them, and whose devices are tainted. */
#include "controllers/device_taints.h"
#include "controllers/resourceclaim_plan.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "test/unit/controllers/objects.h"

#define POD                                                                                        \
    "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"resourceClaims\":[{\"name\":\"a\","  \
    "\"resourceClaimName\":\"shared\"},{\"name\":\"b\",\"resourceClaimTemplateName\":\"t\"},{"     \
    "\"name\":\"c\",\"resourceClaimTemplateName\":\"t\"},{\"name\":\"d\","                         \
    "\"resourceClaimTemplateName\":\"t\"}]},\"status\":{\"resourceClaimStatuses\":[{\"name\":"     \
    "\"b\",\"resourceClaimName\":\"p-b-x\"},{\"name\":\"c\"}]}}"

/* By the spec, by the status, not yet, and not needed. */
START_TEST(claims_have_names)
{
    static const struct {
        const char *name;
        enum claim_name named;
        bool made;
    } wanted[] = {{"shared", CLAIM_NAMED, false},
                  {"p-b-x", CLAIM_NAMED, true},
                  {NULL, CLAIM_NONE, true},
                  {NULL, CLAIM_NOT_YET, false}};
    AUTO_ARENA *a = arena_new(0);
    const struct core_v1_pod *p = decoded(a, &core_v1_pod_msg, POD);
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        struct str name;
        bool made;
        ck_assert_int_eq(pod_resource_claim(p, &p->spec.resource_claims[i], &name, &made),
                         wanted[i].named);
        ck_assert(wanted[i].name == NULL || str_eqc(name, wanted[i].name));
        ck_assert_int_eq(made, wanted[i].made);
    }
}
END_TEST

/* Long names are cut on both sides of the hyphen. */
START_TEST(names_fit)
{
    AUTO_ARENA *a = arena_new(0);
    ck_assert(str_eqc(claim_generate_name(a, STR("pod"), STR("claim")), "pod-claim-"));
    struct str pod = STR("pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp"); /* 60 */
    struct str s = claim_generate_name(a, pod, STR("cccccccccccccccccccc"));              /* 20 */
    ck_assert_uint_le(s.len, 58);
    ck_assert(str_has_suffix(s, STR("-ccccccccccccc-")));
}
END_TEST

/* The same claim of the same pod gets the same name, others get others. */
START_TEST(names_are_kept)
{
    AUTO_ARENA *a = arena_new(0);
    struct str base = STR("pod-claim-"), x = claim_made_name(a, base, STR("u1"), STR("claim"));
    ck_assert_uint_eq(x.len, base.len + 5);
    ck_assert(str_has_prefix(x, base));
    ck_assert(str_eq(x, claim_made_name(a, base, STR("u1"), STR("claim"))));
    ck_assert(!str_eq(x, claim_made_name(a, base, STR("u2"), STR("claim"))));
    ck_assert(!str_eq(x, claim_made_name(a, base, STR("u1"), STR("other"))));
}
END_TEST

/* A pod without node that is being deleted never runs; one with a node may still. */
START_TEST(who_is_done)
{
#define STATE(meta, spec, status)                                                                  \
    "{\"metadata\":{" meta "},\"spec\":{" spec "},\"status\":{" status "}}"
#define GOING "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\""
    AUTO_ARENA *a = arena_new(0);
    ck_assert(claim_pod_is_done(decoded(a, &core_v1_pod_msg, STATE(GOING, "", ""))));
    ck_assert(
        !claim_pod_is_done(decoded(a, &core_v1_pod_msg, STATE(GOING, "\"nodeName\":\"n\"", ""))));
    ck_assert(claim_pod_is_done(
        decoded(a, &core_v1_pod_msg, STATE("", "\"nodeName\":\"n\"", "\"phase\":\"Succeeded\""))));
    ck_assert(!claim_pod_is_done(decoded(a, &core_v1_pod_msg, STATE("", "", ""))));
}
END_TEST

/* --- devices' taints ------------------------------------------------------------------- */

#define SLICE(generation, device, effect)                                                          \
    "{\"spec\":{\"driver\":\"d\",\"pool\":{\"name\":\"p\",\"generation\":" generation              \
    "},\"devices\":[{\"name\":\"" device "\",\"taints\":[{\"key\":\"k\",\"value\":\"v\","          \
    "\"effect\":\"" effect "\",\"timeAdded\":\"1970-01-01T00:01:40Z\"}]}]}}"
#define USES(tolerations)                                                                          \
    "{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d\",\"pool\":\"p\",\"device\":"    \
    "\"x\",\"tolerations\":[" tolerations "]}]}}"

static int64_t eviction_s(const char *uses, const char *const *slices)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *list[4];
    size_t n = 0;
    for (; slices[n] != NULL; n++) {
        list[n] = api_object_new(
            api_kind_by_gvk(STR("resource.k8s.io"), STR("v1"), STR("ResourceSlice")));
        list[n]->msg = decoded(list[n]->arena, list[n]->kind->msg, slices[n]);
    }
    int64_t ns = device_eviction_time(decoded(a, &resource_v1_allocation_result_msg, uses), list, n,
                                      (int64_t)500 * 1000000000);
    for (size_t i = 0; i < n; i++)
        api_object_unref(list[i]);
    return ns == DEVICE_EVICTION_NEVER ? -1 : ns / 1000000000;
}

/* The shortest toleration that matches counts, from when the taint was put on. */
START_TEST(device_taints_end_tolerations)
{
    const char *tainted[] = {SLICE("1", "x", "NoExecute"), NULL};
    const char *other[] = {SLICE("1", "y", "NoExecute"), NULL};
    const char *mild[] = {SLICE("1", "x", "NoSchedule"), NULL};
    ck_assert_int_eq(eviction_s(USES(""), tainted), 100);
    ck_assert_int_eq(eviction_s(USES(""), other), -1);
    ck_assert_int_eq(eviction_s(USES(""), mild), -1);
    ck_assert_int_eq(eviction_s(USES("{\"operator\":\"Exists\"}"), tainted), -1);
    ck_assert_int_eq(eviction_s(USES("{\"key\":\"k\",\"operator\":\"Equal\",\"value\":\"v\","
                                     "\"tolerationSeconds\":30},{\"operator\":\"Exists\","
                                     "\"effect\":\"NoExecute\",\"tolerationSeconds\":20}"),
                                tainted),
                     120);
    ck_assert_int_eq(
        eviction_s(USES("{\"key\":\"k\",\"operator\":\"Equal\",\"value\":\"w\"}"), tainted), 100);
}
END_TEST

/* Slices of an older generation of the pool are past. */
START_TEST(device_taints_of_the_newest_slices)
{
    const char *taken_off[] = {SLICE("1", "x", "NoExecute"), SLICE("2", "x", "NoSchedule"), NULL};
    const char *put_on[] = {SLICE("2", "x", "NoExecute"), SLICE("1", "x", "NoSchedule"), NULL};
    ck_assert_int_eq(eviction_s(USES(""), taken_off), -1);
    ck_assert_int_eq(eviction_s(USES(""), put_on), 100);
}
END_TEST

UNIT_MAIN("controllers/resourceclaim", {
    UNIT_TEST(claims_have_names);
    UNIT_TEST(names_fit);
    UNIT_TEST(names_are_kept);
    UNIT_TEST(who_is_done);
    UNIT_TEST(device_taints_end_tolerations);
    UNIT_TEST(device_taints_of_the_newest_slices);
})
