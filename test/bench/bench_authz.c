/* bench_authz.c - CPU per decision of who may do what: the built-in roles, and
 * bindings as a cluster of many teams has them. Prints one line per question.
 *
 *   bench_authz [SECONDS [TEAMS]]     seconds per question, default 1; teams, default 5000 */
#include "api/core_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/authz.h"
#include "apiserver/authz_config.h"
#include "apiserver/node_graph.h"
#include "apiserver/rbac.h"
#include "apiserver/rbac_policy.h"
#include "apiserver/user.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <stdio.h>
#include <time.h>

static void add(struct authz_index *x, const struct policy_object *o)
{
    struct arena *own = arena_new(0);
    const char *kind = o->res->kind->resource;
    const void *obj = api_msg_clone(own, o->res->storage->msg, o->obj);
    /* Roles begin alike, bindings as well. */
    const struct rbac_v1_role *role = obj;
    const struct rbac_v1_role_binding *b = obj;
    if (strstr(kind, "bindings") != NULL)
        rbac_set_binding(x->rbac, o->ns, o->name, &b->role_ref, b->subjects, b->subjects_count,
                         own);
    else
        rbac_set_role(x->rbac, o->ns, o->name, role->rules, role->rules_count, own);
}

static void bind(struct authz_index *x, struct str ns, const char *role, const char *kind,
                 struct str subject)
{
    struct arena *own = arena_new(256);
    struct rbac_v1_role_ref *ref = ARENA_NEW(own, struct rbac_v1_role_ref);
    struct rbac_v1_subject *s = ARENA_NEW(own, struct rbac_v1_subject);
    ref->kind = STR("ClusterRole");
    ref->name = str_of(role);
    s->kind = str_of(kind);
    s->name = arena_str(own, subject);
    s->namespace = arena_str(own, ns);
    rbac_set_binding(x->rbac, ns, arena_printf(own, "%s-" STR_FMT, role, STR_ARG(subject)), ref, s,
                     1, own);
}

static void fill(struct authz *z, struct arena *a, int teams)
{
    struct policy_object o;
    struct authz_index *x = authz_lock(z);
    for (size_t i = 0; policy_make(a, i, &o); i++)
        add(x, &o);
    for (int i = 0; i < teams; i++) {
        struct str ns = arena_printf(a, "team-%d", i);
        bind(x, ns, "system:aggregate-to-edit", "Group", ns);
        bind(x, ns, "system:aggregate-to-view", "ServiceAccount", STR("bot"));
        struct core_v1_pod pod = {.metadata = {.name = STR("p"), .namespace = ns},
                                  .spec = {.node_name = arena_printf(a, "node-%d", i / 10),
                                           .service_account_name = STR("bot")}};
        struct core_v1_local_object_reference pull = {STR("pull")};
        pod.spec.image_pull_secrets = &pull;
        pod.spec.image_pull_secrets_count = 1;
        node_graph_set_pod(x->graph, a, &pod);
    }
    authz_unlock(z);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(const struct authz *z, const char *what, const char *name, const char *groups[],
                    struct authz_attributes at, bool expected, double seconds)
{
    AUTO_ARENA *a = arena_new(0);
    struct str g[4], reason;
    struct user u = {.name = str_of(name), .groups = g};
    for (; groups[u.group_count] != NULL; u.group_count++)
        g[u.group_count] = str_of(groups[u.group_count]);
    at.user = &u;
    at.resource_request = at.path.len == 0;
    if ((authz_decide(z, a, &at, false, &reason) == AUTHZ_ALLOW) != expected) {
        printf("%-44s is %s\n", what, expected ? "refused" : "allowed");
        exit(1);
    }
    uint64_t n = 0;
    double start = now_s(), end = start;
    while (end - start < seconds) {
        for (int i = 0; i < 1000; i++)
            authz_decide(z, a, &at, false, &reason);
        arena_clear(a);
        n += 1000;
        end = now_s();
    }
    printf("%-44s %7.0f ns\n", what, (end - start) * 1e9 / (double)n);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    int teams = argc > 2 ? atoi(argv[2]) : 5000;
    struct authz *z;
    struct error err = {0};
    AUTO_ARENA *a = arena_new(0);
    registry_init();
    struct authz_list *list;
    if (authz_list_of_flags(&(struct authz_flags){.modes = "Node,RBAC"}, &list, &err) != 0)
        return 1;
    z = authz_new(list);
    fill(z, a, teams);
    const char *auth[] = {"system:authenticated", NULL};
    const char *team[] = {"team-77", "system:authenticated", NULL};
    const char *nodes[] = {"system:nodes", "system:authenticated", NULL};
    const char *account[] = {"system:serviceaccounts", "system:serviceaccounts:team-77",
                             "system:authenticated", NULL};
    measure(z, "an edit of a team: update a deployment", "ann", team,
            (struct authz_attributes){.verb = "update",
                                      .group = STR("apps"),
                                      .resource = STR("deployments"),
                                      .name = STR("d"),
                                      .ns = STR("team-77")},
            true, seconds);
    measure(
        z, "a service account: list pods", "system:serviceaccount:team-77:bot", account,
        (struct authz_attributes){.verb = "list", .resource = STR("pods"), .ns = STR("team-77")},
        true, seconds);
    measure(z, "the scheduler: bind a pod", "system:kube-scheduler", auth,
            (struct authz_attributes){.verb = "create",
                                      .resource = STR("pods"),
                                      .subresource = STR("binding"),
                                      .name = STR("p"),
                                      .ns = STR("team-77")},
            true, seconds);
    measure(
        z, "the controllers: create a pod", "system:kube-controller-manager", auth,
        (struct authz_attributes){.verb = "create", .resource = STR("pods"), .ns = STR("team-77")},
        true, seconds);
    measure(z, "a node: update a pod's status", "system:node:node-7", nodes,
            (struct authz_attributes){.verb = "patch",
                                      .resource = STR("pods"),
                                      .subresource = STR("status"),
                                      .name = STR("p"),
                                      .ns = STR("team-77")},
            true, seconds);
    measure(
        z, "a node: get a secret of its pod", "system:node:node-7", nodes,
        (struct authz_attributes){
            .verb = "get", .resource = STR("secrets"), .name = STR("pull"), .ns = STR("team-77")},
        true, seconds);
    measure(z, "anybody: discovery", "ann", auth,
            (struct authz_attributes){.verb = "get", .path = STR("/apis/apps/v1")}, true, seconds);
    measure(
        z, "a refusal in another team's namespace", "ann", team,
        (struct authz_attributes){.verb = "list", .resource = STR("secrets"), .ns = STR("team-78")},
        false, seconds);
    authz_free(z);
    return 0;
}
