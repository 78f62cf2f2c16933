/* test_resourceclaim.c - names of pods' claims, and who needs them. */
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
        enum claim_name named;
        const char *name;
        bool made;
    } wanted[] = {{CLAIM_NAMED, "shared", false},
                  {CLAIM_NAMED, "p-b-x", true},
                  {CLAIM_NONE, NULL, true},
                  {CLAIM_NOT_YET, NULL, false}};
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

UNIT_MAIN("controllers/resourceclaim", {
    UNIT_TEST(claims_have_names);
    UNIT_TEST(names_fit);
    UNIT_TEST(who_is_done);
})
