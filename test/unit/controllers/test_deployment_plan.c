/* test_deployment_plan.c - the steps of Deployments, one at a time. */
#include "controllers/deployment_plan.h"
#include "controllers/deployment_status.h"

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

/* Of old sets, what was rolled back to is the newest, whatever its age. */
START_TEST(trims_history_by_revision)
{
    AUTO_ARENA *a = arena_new(0);
    const char *sets[] = {SET("a", "v1", "4", "0", "0"), SET("b", "v2", "2", "0", "0"),
                          SET("c", "v3", "5", "4", "4"), NULL};
    struct plan p = plan(a, DEPLOY("v3", "\"revisionHistoryLimit\":1," ROLL), sets, false);
    ck_assert_uint_eq(p.removal_count, 1);
    ck_assert(str_eqc(p.removals[0]->metadata.name, "b"));
}
END_TEST

/* Recreate believes an old set that counts pods, even if none is seen. */
START_TEST(recreate_waits_for_the_sets_count)
{
    AUTO_ARENA *a = arena_new(0);
    const char *old[] = {
        "{\"metadata\":{\"name\":\"old\",\"namespace\":\"n\",\"uid\":\"old\"},\"spec\":{"
        "\"replicas\":0," TEMPLATE("v1") "},\"status\":{\"replicas\":1}}",
        NULL};
    struct plan p =
        plan(a, DEPLOY("v2", "\"replicas\":4,\"strategy\":{\"type\":\"Recreate\"}"), old, false);
    ck_assert_ptr_null(created(&p));
}
END_TEST

#define ROLLBACK(to, image)                                                                        \
    "{\"metadata\":{\"name\":\"w\",\"namespace\":\"n\",\"uid\":\"d\",\"annotations\":{\"mine\":"   \
    "\"x\",\"deprecated.deployment.rollback.to\":\"" to "\"}},\"spec\":{\"selector\":{"            \
    "\"matchLabels\":{\"app\":\"w\"}}," TEMPLATE(image) "," ROLL "}}"

static void check_rollback(const char *deployment, const char *reason, const char *message,
                           const char *image)
{
    AUTO_ARENA *a = arena_new(0);
    const char *sets[] = {SET("one", "v1", "1", "0", "0"), SET("two", "v2", "2", "0", "0"),
                          SET("three", "v3", "3", "4", "4"), NULL};
    struct plan p = plan(a, deployment, sets, false);
    ck_assert_ptr_nonnull(p.rollback_reason);
    ck_assert_str_eq(p.rollback_reason, reason);
    ck_assert_str_eq(p.rollback_message.data, message);
    ck_assert_uint_eq(p.write_count, 0);
    const struct apps_v1_deployment *d = p.deployment;
    ck_assert_str_eq(d->spec.template.spec.containers[0].image.data, image);
    ck_assert_ptr_null(api_str_map_get(d->metadata.annotations, d->metadata.annotations_count,
                                       STR("deprecated.deployment.rollback.to")));
    ck_assert(!str_eqc(d->spec.template.metadata.labels[0].key, POD_TEMPLATE_HASH));
}

/* The rollback of old clients: to a revision, to the last but one, to none. */
START_TEST(rolls_back_by_annotation)
{
    check_rollback(ROLLBACK("1", "v3"), "DeploymentRollback",
                   "Rolled back deployment \"w\" to revision 1", "v1");
    check_rollback(ROLLBACK("0", "v3"), "DeploymentRollback",
                   "Rolled back deployment \"w\" to revision 2", "v2");
    check_rollback(ROLLBACK("7", "v3"), "DeploymentRollbackRevisionNotFound",
                   "Unable to find the revision to rollback to.", "v3");
    check_rollback(ROLLBACK("3", "v3"), "DeploymentRollbackTemplateUnchanged",
                   "The rollback revision contains the same template as current deployment \"w\"",
                   "v3");
}
END_TEST

/* --- status --------------------------------------------------------------------------- */

#define CONDITION(type, status, reason)                                                            \
    "{\"type\":\"" type "\",\"status\":\"" status "\",\"reason\":\"" reason                        \
    "\",\"lastUpdateTime\":\"1970-01-01T00:00:05Z\",\"lastTransitionTime\":"                       \
    "\"1970-01-01T00:00:05Z\"}"
#define WITH_CONDITION(spec, condition)                                                            \
    "{\"metadata\":{\"name\":\"w\",\"uid\":\"d\"},\"spec\":{\"progressDeadlineSeconds\":600,"      \
    "\"selector\":{\"matchLabels\":{\"app\":\"w\"}}," TEMPLATE(                                    \
        "v1") "," spec "},\"status\":{\"replicas\":1,\"conditions\":[" condition "]}}"

static const struct apps_v1_deployment_condition *
condition_of(const struct apps_v1_deployment_status *s, const char *type)
{
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eqc(s->conditions[i].type, type))
            return &s->conditions[i];
    return NULL;
}

/* Pausing a rollout that is known to hang does not hide that it hangs. */
START_TEST(pausing_keeps_the_missed_deadline)
{
    AUTO_ARENA *a = arena_new(0);
    struct plan p =
        plan(a,
             WITH_CONDITION("\"paused\":true," ROLL,
                            CONDITION("Progressing", "False", "ProgressDeadlineExceeded")),
             NULL, false);
    ck_assert(str_eqc(condition_of(p.status, "Progressing")->reason, "ProgressDeadlineExceeded"));
}
END_TEST

/* While the sets are scaled, nothing is said about the rollout. */
START_TEST(scaling_is_no_progress)
{
    AUTO_ARENA *a = arena_new(0);
    const char *sets[] = {SET("one", "v1", "1", "4", "4"), NULL};
    struct plan p = plan(a,
                         WITH_CONDITION("\"replicas\":6", CONDITION("Progressing", "False",
                                                                    "ProgressDeadlineExceeded")),
                         sets, false);
    ck_assert_int_eq(write_of(&p, "one")->to, 6);
    ck_assert(str_eqc(condition_of(p.status, "Progressing")->reason, "ProgressDeadlineExceeded"));
}
END_TEST

/* A set's failure is told with its own time; pods on their way out only if all sets count them. */
START_TEST(tells_what_sets_tell)
{
    AUTO_ARENA *a = arena_new(0);
    const char *sets[] = {
        "{\"metadata\":{\"name\":\"one\",\"uid\":\"one\"},\"spec\":{\"replicas\":4," TEMPLATE(
            "v1") "},\"status\":{\"terminatingReplicas\":2,\"conditions\":[{\"type\":"
                  "\"ReplicaFailure\",\"status\":\"True\",\"reason\":\"FailedCreate\","
                  "\"message\":\"no\",\"lastTransitionTime\":\"1970-01-01T00:00:07Z\"}]}}",
        "{\"metadata\":{\"name\":\"two\",\"uid\":\"two\"},\"spec\":{\"replicas\":0," TEMPLATE(
            "v2") "},\"status\":{}}",
        NULL};
    struct plan p = plan(a, DEPLOY("v1", ROLL), sets, false);
    const struct apps_v1_deployment_condition *c = condition_of(p.status, "ReplicaFailure");
    ck_assert_int_eq(c->last_transition_time.seconds, 7);
    ck_assert_int_eq(c->last_update_time.seconds, 7);
    ck_assert(!p.status->has_terminating_replicas);
    sets[1] = NULL;
    p = plan(a, DEPLOY("v1", ROLL), sets, false);
    ck_assert(p.status->has_terminating_replicas && p.status->terminating_replicas == 2);
}
END_TEST

/* A set that could not be made was not created. */
START_TEST(failed_creation_is_told)
{
    AUTO_ARENA *a = arena_new(0);
    const struct apps_v1_deployment *d =
        decoded(a, &apps_v1_deployment_msg,
                WITH_CONDITION(ROLL, CONDITION("Progressing", "True", "NewReplicaSetCreated")));
    const struct apps_v1_deployment_status *s =
        deployment_status_not_created(a, d, STR("Failed to create"), 9);
    const struct apps_v1_deployment_condition *c = condition_of(s, "Progressing");
    ck_assert(str_eqc(c->status, "False") && str_eqc(c->reason, "ReplicaSetCreateError"));
    ck_assert_int_eq(s->replicas, 1);
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
    UNIT_TEST(trims_history_by_revision);
    UNIT_TEST(recreate_waits_for_the_sets_count);
    UNIT_TEST(rolls_back_by_annotation);
    UNIT_TEST(pausing_keeps_the_missed_deadline);
    UNIT_TEST(scaling_is_no_progress);
    UNIT_TEST(tells_what_sets_tell);
    UNIT_TEST(failed_creation_is_told);
})
