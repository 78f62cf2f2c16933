/* test_pod_support.c - what a node refuses for want of support, rules about exits, files of
 * variables. */
#include "kubelet/admission.h"
#include "kubelet/env_file.h"
#include "kubelet/pod_support.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"

#include "api/core_v1.h"
#include "test/unit/unit.h"

static struct flag_list list_of(const char **items, size_t count)
{
    struct flag_list l = {0};
    l.items = items;
    l.count = count;
    return l;
}

static const char *refusal(struct arena *a, const struct node_support *s,
                           const struct core_v1_pod *pod)
{
    struct admission_refusal r = {0};
    return pod_support_check(a, s, pod, &r) ? "" : r.message;
}

/* Safe sysctls and allowed ones pass, under both ways to write them; others and the node's do not.
 */
START_TEST(test_sysctls)
{
    static const struct {
        const char *name, *refusal;
        bool host_ipc, host_network;
    } cases[] = {
        {"net.ipv4.tcp_syncookies", "", false, false},
        {"net.ipv4.tcp_syncookies",
         "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled", false,
         true},
        {"net/ipv4/tcp_syncookies", "", true, false},
        {"net.core.somaxconn", "", false, false},
        {"kernel.msgmax", "", false, false},
        {"kernel.msgmax", "forbidden sysctl: \"kernel.msgmax\" not allowed with host ipc enabled",
         true, false},
        {"kernel.sem", "forbidden sysctl: \"kernel.sem\" not allowlisted", false, false},
        {"vm/swappiness", "forbidden sysctl: \"vm.swappiness\" not allowlisted", false, false},
    };
    const char *allowed[] = {"net.core.somaxconn", "kernel.msg*"};
    struct flag_list list = list_of(allowed, 2);
    struct node_support s = {.unsafe_sysctls = &list};
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct core_v1_sysctl sysctl = {.name = str_of(cases[i].name), .value = STR("1")};
        struct core_v1_pod_security_context sc = {.sysctls = &sysctl, .sysctls_count = 1};
        struct core_v1_pod pod = {.spec = {.security_context = &sc,
                                           .host_ipc = cases[i].host_ipc,
                                           .host_network = cases[i].host_network}};
        ck_assert_str_eq(refusal(a, &s, &pod), cases[i].refusal);
    }
}
END_TEST

/* Only what has a namespace of its own can be allowed. */
START_TEST(test_unsafe_sysctls)
{
    const char *good[] = {"net.*", "kernel.sem", "fs.mqueue.*"}, *bad[] = {"kernel.pid_max"};
    struct flag_list fine = list_of(good, 3), wrong = list_of(bad, 1);
    struct error err;
    ck_assert_int_eq(unsafe_sysctls_check(&fine, &err), 0);
    ck_assert_int_eq(unsafe_sysctls_check(&wrong, &err), E_INVALID);
    ck_assert(strstr(error_message(&err), "'kernel.pid_max' has no namespace") != NULL);
}
END_TEST

/* Profiles need the kernel, strict groups a runtime that has said that it has them. */
START_TEST(test_kernel_and_runtime)
{
    struct core_v1_app_armor_profile profile = {.type = STR("RuntimeDefault")};
    struct core_v1_security_context own = {.app_armor_profile = &profile};
    struct core_v1_container c = {.security_context = &own};
    struct core_v1_pod armored = {.spec = {.init_containers = &c, .init_containers_count = 1}};
    struct core_v1_pod_security_context sc = {.supplemental_groups_policy = STR("Strict")};
    struct core_v1_pod strict = {.spec = {.security_context = &sc}};
    struct node_support s = {0};
    AUTO_ARENA *a = arena_new(0);
    ck_assert_str_eq(refusal(a, &s, &armored),
                     "Cannot enforce AppArmor: AppArmor is not enabled on the host");
    profile.type = STR("Unconfined");
    ck_assert_str_eq(refusal(a, &s, &armored), "");
    ck_assert_str_eq(refusal(a, &s, &strict), "");
    s.features_known = true;
    ck_assert_str_eq(refusal(a, &s, &strict),
                     "SupplementalGroupsPolicy=Strict is not supported in this node");
    s.strict_groups = true;
    ck_assert_str_eq(refusal(a, &s, &strict), "");
}
END_TEST

/* Handlers differ: one that is not known, or says nothing, can do nothing. */
START_TEST(test_handlers)
{
    char plain[] = "", other[] = "sandboxed";
    const struct runtime_handler list[] = {{.name = plain, .recursive_read_only = true},
                                           {.name = other, .user_namespaces = true}};
    struct node_support s = {0};
    ck_assert(!node_support_handler(&s, "").recursive_read_only);
    ck_assert(node_support_set_handlers(&s, list, 2));
    ck_assert(!node_support_set_handlers(&s, list, 2));
    ck_assert(node_support_handler(&s, "").recursive_read_only);
    ck_assert(!node_support_handler(&s, "").user_namespaces);
    ck_assert(!node_support_handler(&s, "sandboxed").recursive_read_only);
    ck_assert(node_support_handler(&s, "sandboxed").user_namespaces);
    ck_assert(!node_support_handler(&s, "missing").user_namespaces);
    ck_assert(node_support_set_handlers(&s, NULL, 0));
    free(s.handlers);
}
END_TEST

/* IfPossible is what the runtime can; nothing is made recursive that is not read-only. */
START_TEST(test_recursive_mounts)
{
    struct core_v1_volume_mount m = {.read_only = true};
    ck_assert(!mount_is_recursive(&m, true));
    m.has_recursive_read_only = true;
    m.recursive_read_only = STR("IfPossible");
    ck_assert(mount_is_recursive(&m, true));
    ck_assert(!mount_is_recursive(&m, false));
    m.recursive_read_only = STR("Enabled");
    ck_assert(mount_is_recursive(&m, false));
    m.recursive_read_only = STR("Disabled");
    ck_assert(!mount_is_recursive(&m, true));
    m.recursive_read_only = STR("Enabled");
    m.read_only = false;
    ck_assert(!mount_is_recursive(&m, true));
}
END_TEST

/* Rules come first, then the container's policy; without either the pod's decides. */
START_TEST(test_exits)
{
    int32_t values[] = {42, 43};
    struct core_v1_container_restart_rule_on_exit_codes in = {
        .operator= STR("In"), .values = values, .values_count = 2};
    struct core_v1_container_restart_rule rule = {.action = STR("Restart"), .exit_codes = &in};
    struct core_v1_container c = {0};
    bool again = false;
    ck_assert(!container_exit_decides(&c, 0, &again));
    c = (struct core_v1_container){.has_restart_policy = true,
                                   .restart_policy = STR("Never"),
                                   .restart_policy_rules = &rule,
                                   .restart_policy_rules_count = 1};
    ck_assert(container_exit_decides(&c, 43, &again) && again);
    ck_assert(container_exit_decides(&c, 1, &again) && !again);
    in.operator= STR("NotIn");
    ck_assert(container_exit_decides(&c, 1, &again) && again);
    ck_assert(container_exit_decides(&c, 42, &again) && !again);
    c = (struct core_v1_container){.has_restart_policy = true, .restart_policy = STR("OnFailure")};
    ck_assert(container_exit_decides(&c, 0, &again) && !again);
    ck_assert(container_exit_decides(&c, 9, &again) && again);
}
END_TEST

/* Values in quotes, over lines, the last one counts; anything else is named with its line. */
START_TEST(test_env_file)
{
    struct str text = STR("# first\n\n A='1'\nB='two\nlines' # so\nA='3'\n"), value;
    bool found;
    struct error err;
    ck_assert_int_eq(env_file_get(text, STR("A"), &value, &found, &err), 0);
    ck_assert(found && str_eqc(value, "3"));
    ck_assert_int_eq(env_file_get(text, STR("B"), &value, &found, &err), 0);
    ck_assert(found && str_eqc(value, "two\nlines"));
    ck_assert_int_eq(env_file_get(text, STR("C"), &value, &found, &err), 0);
    ck_assert(!found);
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"A=1\n", "line 1: the value is not in single quotes"},
        {"\nA\n", "line 2: expected NAME='value'"},
        {"A='1\n", "line 1: the closing quote is missing"},
        {"A='1\n' x\n", "line 2: nothing but a comment may follow the value"},
        {"export A='1'\n", "line 1: the name holds a blank or a quote"},
        {"='1'\n", "line 1: expected NAME='value'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        ck_assert_int_eq(env_file_get(str_of(bad[i].text), STR("A"), &value, &found, &err),
                         E_INVALID);
        ck_assert_str_eq(error_message(&err), bad[i].message);
    }
}
END_TEST

UNIT_MAIN("pod_support", {
    UNIT_TEST(test_sysctls);
    UNIT_TEST(test_unsafe_sysctls);
    UNIT_TEST(test_kernel_and_runtime);
    UNIT_TEST(test_handlers);
    UNIT_TEST(test_recursive_mounts);
    UNIT_TEST(test_exits);
    UNIT_TEST(test_env_file);
})
