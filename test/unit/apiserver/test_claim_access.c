/* test_claim_access.c - what a write of a claim's status changes, and whose
 * devices and which node it is about. Who may is asked in test/e2e/test_rbac.sh. */
#include "apiserver/kinds/claim_access.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "apiserver/kinds/kinds.h"
#include "test/unit/apiserver/kinds_fixture.h"

#define DEVICE(driver, device, more)                                                               \
    "{'driver':'" driver "','pool':'p','device':'" device "'" more "}"
#define DATA ",'networkData':{'interfaceName':'eth0'}"

/* The drivers that change between two statuses, joined by commas. */
static const char *changed(struct fixture *f, const char *before, const char *after)
{
    struct str *drivers, joined = STR("");
    const void *old =
        fixture_object(f, str_c(arena_printf(f->arena, "{'status':{'devices':[%s]}}", before)));
    const void *now =
        fixture_object(f, str_c(arena_printf(f->arena, "{'status':{'devices':[%s]}}", after)));
    size_t n = claim_changed_drivers(f->arena, now, old, &drivers);
    for (size_t i = 0; i < n; i++)
        joined = arena_printf(f->arena, STR_FMT "%s" STR_FMT, STR_ARG(joined), i != 0 ? "," : "",
                              STR_ARG(drivers[i]));
    return str_c(joined);
}

/* A driver is concerned by what is added, changed or taken away of its devices, and by nothing
 * else. */
START_TEST(drivers)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_resourceclaims, &resource_v1_resource_claim_msg);
    const char *both = DEVICE("a", "1", "") "," DEVICE("b", "2", "");
    ck_assert_str_eq(changed(&f, both, both), "");
    ck_assert_str_eq(changed(&f, both, DEVICE("b", "2", "") "," DEVICE("a", "1", "")), "");
    ck_assert_str_eq(changed(&f, DEVICE("a", "1", ""), both), "b");
    ck_assert_str_eq(changed(&f, both, DEVICE("b", "2", "")), "a");
    ck_assert_str_eq(changed(&f, both, DEVICE("a", "1", DATA) "," DEVICE("b", "2", "")), "a");
    ck_assert_str_eq(changed(&f, DEVICE("a", "1", ""), DEVICE("a", "2", "")), "a");
    ck_assert_str_eq(changed(&f, DEVICE("b", "1", ""), DEVICE("a", "1", "")), "a,b");
    ck_assert_str_eq(changed(&f, DEVICE("a", "1", ",'shareID':'x'"), DEVICE("a", "1", "")), "a");
    ck_assert_str_eq(changed(&f, "", ""), "");
}
END_TEST

static const char *only_node(struct fixture *f, const char *allocation)
{
    const struct resource_v1_resource_claim *c =
        fixture_object(f, str_c(arena_printf(f->arena, "{'status':{%s}}", allocation)));
    return str_c(arena_str(f->arena, claim_only_node(c->status.allocation)));
}

#define TERMS(terms) "'allocation':{'nodeSelector':{'nodeSelectorTerms':[" terms "]}}"
#define TERM(key, op, values)                                                                      \
    "{'matchFields':[{'key':'" key "','operator':'" op "','values':[" values "]}]}"

/* Only a selector of exactly one node by its name says which node the devices are of. */
START_TEST(nodes)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_resourceclaims, &resource_v1_resource_claim_msg);
    const char *one = TERM("metadata.name", "In", "'n1'");
    ck_assert_str_eq(only_node(&f, ""), "");
    ck_assert_str_eq(only_node(&f, "'allocation':{}"), "");
    ck_assert_str_eq(only_node(&f, TERMS("")), "");
    ck_assert_str_eq(only_node(&f, str_c(arena_printf(a, TERMS("%s"), one))), "n1");
    ck_assert_str_eq(only_node(&f, str_c(arena_printf(a, TERMS("%s,%s"), one, one))), "");
    ck_assert_str_eq(only_node(&f, TERMS(TERM("metadata.name", "In", "'n1','n2'"))), "");
    ck_assert_str_eq(only_node(&f, TERMS(TERM("metadata.name", "NotIn", "'n1'"))), "");
    ck_assert_str_eq(only_node(&f, TERMS(TERM("metadata.namespace", "In", "'n1'"))), "");
    ck_assert_str_eq(
        only_node(&f, TERMS("{'matchExpressions':[{'key':'kubernetes.io/hostname','operator':'In',"
                            "'values':['n1']}]}")),
        "");
}
END_TEST

static struct user account(const char *name, const struct user_extra *extra)
{
    return (struct user){.name = str_of(name), .extra = extra, .extra_count = extra != NULL};
}

/* Only a service account is at a node, by one well-formed name in its token. */
START_TEST(tokens)
{
    const char *key = "authentication.kubernetes.io/node-name";
    const char *bot = "system:serviceaccount:default:bot";
    const struct str n1 = STR("n1"), bad = STR("not_a_node!"), two[] = {STR("n1"), STR("n2")};
    const struct user_extra one = {str_of(key), &n1, 1}, odd = {str_of(key), &bad, 1},
                            many = {str_of(key), two, 2}, other = {STR("x"), &n1, 1};
    const struct {
        const char *name;
        const struct user_extra *extra;
        const char *node;
    } cases[] = {
        {bot, &one, "n1"},
        {bot, &odd, ""},
        {bot, &many, ""},
        {bot, &other, ""},
        {bot, NULL, ""},
        {"jane", &one, ""},
        {"system:node:n1", &one, ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct user u = account(cases[i].name, cases[i].extra);
        ck_assert_msg(str_eqc(user_bound_node(&u), cases[i].node), "case %zu", i);
    }
}
END_TEST

UNIT_MAIN("claim_access", {
    UNIT_TEST(drivers);
    UNIT_TEST(nodes);
    UNIT_TEST(tokens);
})
