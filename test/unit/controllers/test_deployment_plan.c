/* test_deployment_plan.c - the steps of Deployments, one at a time. */
#include "controllers/deployment_plan.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "test/unit/controllers/objects.h"

#define TEMPLATE(image)                                                                            \
    "\"template\":{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"spec\":{\"containers\":[{\"name\":" \
    "\"c\","                                                                                       \
    "\"image\":\"" image "\"}]}}"
#define DEPLOY(image, spec)                                                                        \
    "{\"metadata\":{\"name\":\"w\",\"namespace\":\"n\",\"uid\":\"d\",\"generation\":2},\"spec\":{" \
    "\"selector\":{"                                                                               \
    "\"matchLabels\":{\"app\":\"w\"}}," TEMPLATE(image) "," spec "}}"
/* A set with its size, and as many pods available as stated. */
#define SET(name, image, revision, size, available)                                                \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"n\",\"uid\":\"" name                     \
    "\",\"annotations\":{\"deployment.kubernetes.io/revision\":\"" revision                        \
    "\",\"deployment.kubernetes.io/desired-replicas\":\"4\",\"deployment.kubernetes.io/"           \
    "max-replicas\":\"5\"}},"                                                                      \
    "\"spec\":{\"replicas\":" size ",\"selector\":{\"matchLabels\":{\"app\":\"w\"}}," TEMPLATE(    \
        image) "},\"status\":{\"replicas\":" size ",\"readyReplicas\":" available                  \
               ",\"availableReplicas\":" available "}}"
#define ROLL                                                                                       \
    "\"replicas\":4,\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1,"   \
    "\"maxUnavailable\":1}}"

static struct plan plan(struct arena *a, const char *deployment, const char *const *sets,
                        bool old_pods)
{
    const struct apps_v1_replica_set *list[8];
    struct plan_input in = {.deployment = decoded(a, &apps_v1_deployment_msg, deployment),
                            .sets = list,
                            .old_pods_exist = old_pods,
                            .now_s = 1000};
    for (; sets != NULL && sets[in.set_count] != NULL; in.set_count++)
        list[in.set_count] = decoded(a, &apps_v1_replica_set_msg, sets[in.set_count]);
    struct plan p;
    deployment_plan(a, &in, &p);
    return p;
}

static const struct plan_set *write_of(const struct plan *p, const char *name)
{
    for (size_t i = 0; i < p->write_count; i++)
        if (p->writes[i].before != NULL && str_eqc(p->writes[i].before->metadata.name, name))
            return &p->writes[i];
    return NULL;
}

static const struct plan_set *created(const struct plan *p)
{
    for (size_t i = 0; i < p->write_count; i++)
        if (p->writes[i].before == NULL)
            return &p->writes[i];
    return NULL;
}

/* A new Deployment gets a set of its full size, named by the template's hash. */
START_TEST(creates_the_first_set)
{
    AUTO_ARENA *a = arena_new(0);
    struct plan p = plan(a, DEPLOY("v1", ROLL), NULL, false);
    const struct plan_set *w = created(&p);
    ck_assert_ptr_nonnull(w);
    ck_assert_int_eq(w->to, 4);
    const struct apps_v1_replica_set *s = w->after;
    struct str hash = deployment_template_hash(
        a,
        &((struct apps_v1_deployment *)decoded(a, &apps_v1_deployment_msg, DEPLOY("v1", ROLL)))
             ->spec.template,
        false, 0);
    ck_assert(str_has_suffix(s->metadata.name, hash));
    const struct str *label =
        api_str_map_get(s->metadata.labels, s->metadata.labels_count, STR(POD_TEMPLATE_HASH));
    ck_assert(label != NULL && str_eq(*label, hash));
}
END_TEST

/* A rolling update never has more than replicas + surge pods, nor fewer
 * available than replicas - unavailable. */
START_TEST(rolls_within_bounds)
{
    AUTO_ARENA *a = arena_new(0);
    const char *old[] = {SET("old", "v1", "1", "4", "4"), NULL};
    struct plan p = plan(a, DEPLOY("v2", ROLL), old, true);
    const struct plan_set *w = created(&p);
    ck_assert_ptr_nonnull(w);
    ck_assert_int_le(w->to, 1); /* 4 + 1 - 4 */
    const char *both[] = {SET("old", "v1", "1", "4", "4"), SET("new", "v2", "2", "1", "0"), NULL};
    p = plan(a, DEPLOY("v2", ROLL), both, true);
    w = write_of(&p, "old");
    ck_assert_ptr_nonnull(w);
    ck_assert_int_eq(w->to, 3); /* 4 available, 3 needed. */
    const char *later[] = {SET("old", "v1", "1", "3", "3"), SET("new", "v2", "2", "1", "0"), NULL};
    p = plan(a, DEPLOY("v2", ROLL), later, true);
    ck_assert_ptr_null(write_of(&p, "old") != NULL && write_of(&p, "old")->to < 3 ? &p : NULL);
    w = write_of(&p, "new");
    ck_assert(w != NULL && w->to == 2);
}
END_TEST

/* Recreate: nothing new before the old pods are gone. */
START_TEST(recreates)
{
    AUTO_ARENA *a = arena_new(0);
    const char *old[] = {SET("old", "v1", "1", "4", "4"), NULL};
    struct plan p =
        plan(a, DEPLOY("v2", "\"replicas\":4,\"strategy\":{\"type\":\"Recreate\"}"), old, true);
    ck_assert_ptr_null(created(&p) != NULL && created(&p)->to > 0 ? &p : NULL);
    ck_assert_int_eq(write_of(&p, "old")->to, 0);
    const char *empty[] = {SET("old", "v1", "1", "0", "0"), NULL};
    p = plan(a, DEPLOY("v2", "\"replicas\":4,\"strategy\":{\"type\":\"Recreate\"}"), empty, false);
    ck_assert_int_eq(created(&p)->to, 4);
}
END_TEST

/* Paused, a new template is not rolled out, but scaling is done in proportion. */
START_TEST(pauses)
{
    AUTO_ARENA *a = arena_new(0);
    const char *old[] = {SET("old", "v1", "1", "4", "4"), NULL};
    struct plan p = plan(a, DEPLOY("v2", "\"paused\":true," ROLL), old, true);
    ck_assert_ptr_null(created(&p));
    ck_assert_uint_eq(p.write_count, 0);
}
END_TEST

/* An old set whose template is wanted again becomes the newest revision. */
START_TEST(rolls_back)
{
    AUTO_ARENA *a = arena_new(0);
    const char *sets[] = {SET("one", "v1", "1", "0", "0"), SET("two", "v2", "2", "4", "4"), NULL};
    struct plan p = plan(a, DEPLOY("v1", ROLL), sets, true);
    ck_assert_ptr_null(created(&p));
    const struct plan_set *w = write_of(&p, "one");
    ck_assert_ptr_nonnull(w);
    const struct str *revision =
        api_str_map_get(w->after->metadata.annotations, w->after->metadata.annotations_count,
                        STR(DEPLOYMENT_REVISION));
    ck_assert(revision != NULL && str_eqc(*revision, "3"));
}
END_TEST

/* Old sets beyond the history limit go, the oldest first. */
START_TEST(trims_history)
{
    AUTO_ARENA *a = arena_new(0);
    const char *sets[] = {SET("a", "v1", "1", "0", "0"), SET("b", "v2", "2", "0", "0"),
                          SET("c", "v3", "3", "4", "4"), NULL};
    struct plan p = plan(a, DEPLOY("v3", "\"revisionHistoryLimit\":1," ROLL), sets, false);
    ck_assert_uint_eq(p.removal_count, 1);
    ck_assert(str_eqc(p.removals[0]->metadata.name, "a"));
}
END_TEST

/* Percentages: surge rounds up, unavailable down; both zero would stand still. */
START_TEST(fenceposts)
{
#define POSTS(surge, unavailable)                                                                  \
    DEPLOY("v", "\"replicas\":3,\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{"      \
                "\"maxSurge\":" surge ",\"maxUnavailable\":" unavailable "}}")
    AUTO_ARENA *a = arena_new(0);
    int32_t surge, unavailable;
    deployment_fenceposts(decoded(a, &apps_v1_deployment_msg, POSTS("\"25%\"", "\"25%\"")), &surge,
                          &unavailable);
    ck_assert(surge == 1 && unavailable == 0);
    deployment_fenceposts(decoded(a, &apps_v1_deployment_msg, POSTS("0", "\"10%\"")), &surge,
                          &unavailable);
    ck_assert(surge == 0 && unavailable == 1);
    deployment_fenceposts(decoded(a, &apps_v1_deployment_msg, POSTS("2", "1")), &surge,
                          &unavailable);
    ck_assert(surge == 2 && unavailable == 1);
}
END_TEST

UNIT_MAIN("controllers/deployment_plan", {
    UNIT_TEST(creates_the_first_set);
    UNIT_TEST(rolls_within_bounds);
    UNIT_TEST(recreates);
    UNIT_TEST(pauses);
    UNIT_TEST(rolls_back);
    UNIT_TEST(trims_history);
    UNIT_TEST(fenceposts);
})
