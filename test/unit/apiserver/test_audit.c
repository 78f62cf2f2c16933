/* Tests of apiserver/audit_policy.c and audit_log.c. */
#include "api/meta_v1.h"
#include "apiserver/audit_flags.h"
#include "apiserver/audit_log.h"
#include "apiserver/audit_policy.h"
#include "apiserver/authz.h"
#include "apiserver/user.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "test/unit/unit.h"

#include <dirent.h>
#include <stdatomic.h>
#include <unistd.h>

static struct audit_policy *parse(const char *rules)
{
    struct audit_policy *p;
    struct error err = {0};
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "apiVersion: audit.k8s.io/v1\nkind: Policy\n%s", rules);
    int code = audit_policy_parse(buf_str(&b), &p, &err);
    ck_assert_msg(code == 0, "%s", error_message(&err));
    return p;
}

static enum audit_level level(const struct audit_policy *p, const char *user, const char *group,
                              const char *verb, const char *ns, const char *resource,
                              const char *sub)
{
    struct str g = str_of(group);
    struct user u = {.name = str_of(user), .groups = &g, .group_count = 1};
    struct authz_attributes at = {.user = &u,
                                  .verb = verb,
                                  .resource_request = true,
                                  .resource = str_of(resource),
                                  .subresource = str_of(sub),
                                  .ns = str_of(ns)};
    return audit_policy_decide(p, &at).level;
}

static enum audit_level path_level(const struct audit_policy *p, const char *path)
{
    struct user u = {.name = STR("u")};
    struct authz_attributes at = {.user = &u, .verb = "get", .path = str_of(path)};
    return audit_policy_decide(p, &at).level;
}

/* The first rule that matches decides; without one nothing is recorded. */
START_TEST(first_rule)
{
    struct audit_policy *p = parse("rules:\n"
                                   "- {level: None, users: [noisy]}\n"
                                   "- {level: Request, userGroups: [devs], verbs: [create]}\n"
                                   "- {level: Metadata, namespaces: [a]}\n");
    ck_assert_int_eq(level(p, "noisy", "devs", "create", "a", "pods", ""), AUDIT_NONE);
    ck_assert_int_eq(level(p, "ann", "devs", "create", "a", "pods", ""), AUDIT_REQUEST);
    ck_assert_int_eq(level(p, "ann", "devs", "get", "a", "pods", ""), AUDIT_METADATA);
    ck_assert_int_eq(level(p, "ann", "ops", "create", "b", "pods", ""), AUDIT_NONE);
    ck_assert_int_eq(path_level(p, "/healthz"), AUDIT_NONE);
    audit_policy_free(p);
}
END_TEST

/* Resources with their subresources, and what stands for several of them. */
START_TEST(resources)
{
    struct audit_policy *p = parse("rules:\n"
                                   "- {level: Metadata, resources: [{group: '', resources: "
                                   "[secrets, pods/log]}]}\n"
                                   "- {level: Request, resources: [{group: '', resources: "
                                   "['*/status', 'nodes/*']}]}\n"
                                   "- {level: RequestResponse, resources: [{group: apps}]}\n");
    ck_assert_int_eq(level(p, "u", "", "get", "n", "secrets", ""), AUDIT_METADATA);
    ck_assert_int_eq(level(p, "u", "", "get", "n", "pods", "log"), AUDIT_METADATA);
    ck_assert_int_eq(level(p, "u", "", "get", "n", "pods", ""), AUDIT_NONE);
    ck_assert_int_eq(level(p, "u", "", "get", "n", "pods", "status"), AUDIT_REQUEST);
    ck_assert_int_eq(level(p, "u", "", "get", "", "nodes", "proxy"), AUDIT_REQUEST);
    ck_assert_int_eq(path_level(p, "/api"), AUDIT_NONE);
    audit_policy_free(p);
}
END_TEST

/* Paths, exact or by prefix. */
START_TEST(paths)
{
    struct audit_policy *p =
        parse("rules:\n- {level: None, nonResourceURLs: ['/healthz*', /version]}\n"
              "- {level: Metadata}\n");
    ck_assert_int_eq(path_level(p, "/healthz/etcd"), AUDIT_NONE);
    ck_assert_int_eq(path_level(p, "/version"), AUDIT_NONE);
    ck_assert_int_eq(path_level(p, "/version/x"), AUDIT_METADATA);
    audit_policy_free(p);
}
END_TEST

/* Stages left out by the policy and by a rule add up. */
START_TEST(stages)
{
    struct user u = {.name = STR("u")};
    struct authz_attributes at = {.user = &u, .verb = "get", .path = STR("/")};
    struct audit_policy *p = parse("omitStages: [RequestReceived]\nomitManagedFields: true\n"
                                   "rules:\n- {level: Metadata, omitStages: [ResponseStarted]}\n");
    struct audit_decision d = audit_policy_decide(p, &at);
    ck_assert_uint_eq(d.omit_stages, AUDIT_RECEIVED | AUDIT_STARTED);
    ck_assert(d.omit_managed_fields);
    audit_policy_free(p);
}
END_TEST

/* What is wrong is refused with its place. */
START_TEST(wrong)
{
    static const char *const bad[][2] = {
        {"apiVersion: audit.k8s.io/v1\nkind: Policy\n", "rules: want at least one"},
        {"apiVersion: v1\nkind: Policy\nrules: [{level: None}]\n", "audit.k8s.io/v1"},
        {"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Some}]\n", "rules[0]: level"},
        {"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, users: x}]\n", "users"},
        {"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, omitStages: [x]}]\n",
         "not a stage"},
        {"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, nonResourceURLs: [/x], "
         "namespaces: [a]}]\n",
         "nonResourceURLs"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct audit_policy *p;
        struct error err = {0};
        ck_assert_int_ne(audit_policy_parse(str_of(bad[i][0]), &p, &err), 0);
        ck_assert_msg(strstr(error_message(&err), bad[i][1]) != NULL, "%s", error_message(&err));
    }
}
END_TEST

static size_t count_files(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Files are rotated by size, old ones removed; every line is whole. */
/* Both plugins have their flags, whose names go with the set: ASan sees to that. */
START_TEST(plugin_flags)
{
    struct audit_flags a = {0};
    struct flag_set *f = flag_set_new("x [flags]");
    struct error err = {0};
    char *argv[] = {"x", "--audit-log-mode=batch", "--audit-webhook-batch-max-size=7", NULL};
    audit_flags_add(&a, f);
    ck_assert_int_eq(flag_set_parse(f, 3, argv, &err), 0);
    ck_assert_str_eq(a.log.mode, "batch");
    ck_assert_int_eq(a.log.batch_count, 1);
    ck_assert_int_eq(a.webhook.batch_count, 7);
    flag_set_free(f);
}
END_TEST

START_TEST(rotation)
{
    char dir[] = "/tmp/trireme-test-audit-XXXXXX", line[100];
    struct audit_log *l;
    struct error err = {0};
    ck_assert_ptr_nonnull(mkdtemp(dir));
    AUTO_FREE char *path = xasprintf("%s/audit.log", dir);
    struct audit_log_config c = {
        .path = path, .bytes_max = 1000, .backups_max = 2, .buffer_count = 100};
    memset(line, 'x', sizeof(line));
    for (int round = 0; round < 5; round++) {
        ck_assert_int_eq(audit_log_open(&c, &l, &err), 0);
        for (int i = 0; i < 15; i++)
            audit_log_write(l, str_n(line, sizeof(line)), NULL);
        ck_assert_uint_eq(audit_log_dropped(l), 0);
        audit_log_close(l);
        usleep(2000); /* Names of backups have milliseconds. */
    }
    AUTO_BUF b = BUF_INIT;
    ck_assert_int_eq(file_read(path, 100000, &b, &err), 0);
    ck_assert_uint_le(b.len, 1000);
    ck_assert_uint_eq(b.len % (sizeof(line) + 1), 0);
    ck_assert_uint_eq(count_files(dir), 3);
    ck_assert_int_eq(file_remove_tree(dir, &err), 0);
}
END_TEST

static atomic_int told[2]; /* Not stored, stored. */

static void on_done(struct audit_ticket *t, bool stored)
{
    UNUSED(t);
    atomic_fetch_add(&told[stored], 1);
}

/* Who waits for an event hears whether it is stored; nobody else fills the buffer for him. */
START_TEST(tickets)
{
    static const char *const files[] = {"/dev/full", "/dev/null"};
    for (int i = 0; i < 2; i++) {
        struct audit_log_config c = {.path = files[i], .buffer_count = 0};
        struct audit_ticket t[3];
        struct error err = {0};
        struct audit_log *l;
        ck_assert_int_eq(audit_log_open(&c, &l, &err), 0);
        for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
            list_init(&t[k].link);
            t[k].done = on_done;
            audit_log_write(l, STR("event"), &t[k]);
        }
        audit_log_write(l, STR("there is no room for this one"), NULL);
        ck_assert_uint_ge(audit_log_dropped(l), 1);
        audit_log_close(l);
        ck_assert_int_eq(atomic_load(&told[i]), 3);
        ck_assert_int_eq(atomic_load(&told[1]), i == 0 ? 0 : 3);
    }
}
END_TEST

UNIT_MAIN("audit", {
    UNIT_TEST(first_rule);
    UNIT_TEST(resources);
    UNIT_TEST(paths);
    UNIT_TEST(stages);
    UNIT_TEST(wrong);
    UNIT_TEST(plugin_flags);
    UNIT_TEST(rotation);
    UNIT_TEST(tickets);
})
