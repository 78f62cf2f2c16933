/* test_user_namespaces.c - each pod with users of its own has a range of ids that no other has,
 * also after a restart; and what the runtime is told of it. */
#include "kubelet/cri_config.h"
#include "kubelet/user_namespaces.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

#include "api/core_v1.h"

#include "test/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

static char dir[32], subuid[64], subgid[64];
static struct user_namespaces_config config = {
    .root_dir = dir, .subuid = subuid, .subgid = subgid, .max_pods = 2, .ids_per_pod = 65536};

static void write_file(const char *path, const char *text)
{
    ck_assert_int_eq(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static void begin(void)
{
    snprintf(dir, sizeof(dir), "/tmp/trireme-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(subuid, sizeof(subuid), "%s/subuid", dir);
    snprintf(subgid, sizeof(subgid), "%s/subgid", dir);
}

static struct user_namespaces *open_ranges(void)
{
    struct user_namespaces *u = NULL;
    struct error err;
    ck_assert_msg(user_namespaces_new(&config, &u, &err) == 0, "%s", error_message(&err));
    return u;
}

static uint32_t take_range(struct user_namespaces *u, const char *uid)
{
    uint32_t first = 0;
    struct error err;
    ck_assert_msg(user_namespaces_take(u, uid, &first, &err) == 0, "%s", error_message(&err));
    return first;
}

static void end(struct user_namespaces *u)
{
    user_namespaces_free(u);
    ck_assert_int_eq(file_remove_tree(dir, NULL), 0);
}

START_TEST(test_ranges)
{
    uint32_t first;
    struct error err;
    begin();
    struct user_namespaces *u = open_ranges();
    ck_assert_uint_eq(user_namespaces_of(u, "a"), 0);
    ck_assert_uint_eq(take_range(u, "a"), 65536);
    ck_assert_uint_eq(take_range(u, "b"), 131072);
    ck_assert_uint_eq(take_range(u, "a"), 65536);
    ck_assert_int_eq(user_namespaces_take(u, "c", &first, &err), E_TOO_LARGE);
    ck_assert_str_eq(error_message(&err),
                     "all 2 ranges of user ids are taken by pods of this node");
    user_namespaces_release(u, "a");
    user_namespaces_release(u, "a");
    ck_assert_uint_eq(take_range(u, "c"), 65536);
    end(u);
}
END_TEST

/* What a pod has stands in its folder; what is no range of this node is nobody's. */
START_TEST(test_restart)
{
    begin();
    struct user_namespaces *u = open_ranges();
    char path[96];
    snprintf(path, sizeof(path), "%s/pods/b", dir);
    ck_assert_int_eq(file_mkdir_p(path, 0755, NULL), 0);
    take_range(u, "a");
    ck_assert_int_eq(
        user_namespaces_write(path, take_range(u, "b"), user_namespaces_length(u), NULL), 0);
    snprintf(path, sizeof(path), "%s/pods/odd", dir);
    ck_assert_int_eq(file_mkdir_p(path, 0755, NULL), 0);
    ck_assert_int_eq(user_namespaces_write(path, 7, 65536, NULL), 0);
    user_namespaces_free(u);
    u = open_ranges();
    ck_assert_uint_eq(user_namespaces_of(u, "b"), 131072);
    ck_assert_uint_eq(user_namespaces_of(u, "odd"), 0);
    ck_assert_uint_eq(take_range(u, "c"), 65536);
    end(u);
}
END_TEST

/* The user "kubelet" may be given other ids; what is wrong with its lines is told. */
START_TEST(test_subids)
{
    static const struct {
        const char *users, *groups, *message; /* After the folder's name, anywhere. */
    } bad[] = {
        {"kubelet:131072:131072\n", "", "must give kubelet the same range"},
        {"kubelet:100000:131072\n", "kubelet:100000:131072\n", "multiple of 65536"},
        {"kubelet:131072:65536\n", "kubelet:131072:65536\n", "131072 are needed"},
        {"kubelet:many:65536\n", "kubelet:many:65536\n", "is not kubelet:first:count"},
        {"kubelet:131072:131072\nkubelet:1:1\n", "", "more than one range"},
    };
    begin();
    write_file(subuid, "ann:100000:65536\nkubelet:262144:131072\n");
    write_file(subgid, "kubelet:262144:131072");
    struct user_namespaces *u = open_ranges();
    ck_assert_uint_eq(take_range(u, "a"), 262144);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct user_namespaces *none = NULL;
        struct error err;
        write_file(subuid, bad[i].users);
        write_file(subgid, bad[i].groups);
        ck_assert_int_eq(user_namespaces_new(&config, &none, &err), E_INVALID);
        ck_assert_msg(strstr(error_message(&err), bad[i].message) != NULL, "%s",
                      error_message(&err));
    }
    end(u);
}
END_TEST

/* The sandbox, the container and each of its mounts get the same range. */
START_TEST(test_runtime_is_told)
{
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_container c = {.name = STR("c")};
    struct core_v1_pod pod = {.spec = {.containers = &c, .containers_count = 1}};
    struct dns_settings dns = {0};
    struct env_list env = {0};
    struct container_mount mount = {.container_path = "/v", .host_path = "/h"};
    struct sandbox_inputs s = {.users = {.first = 131072, .length = 65536},
                               .pod = &pod,
                               .hostname = "h",
                               .log_dir = "/l",
                               .cgroup_parent = "",
                               .dns = &dns,
                               .seccomp_root = "/s"};
    struct container_inputs in = {.users = s.users,
                                  .pod = &pod,
                                  .container = &c,
                                  .image_ref = "x",
                                  .env = &env,
                                  .mounts = &mount,
                                  .mount_count = 1,
                                  .image_uid = -1,
                                  .image_user = "",
                                  .seccomp_root = "/s"};
    CRI(ContainerConfig) * config_of;
    struct error err;
    const CRI(UserNamespace) *n =
        sandbox_config(a, &s)->linux->security_context->namespace_options->userns_options;
    ck_assert_int_eq(n->mode, CRI_ENUM(NAMESPACE_MODE__POD));
    ck_assert_uint_eq(n->uids[0]->host_id, 131072);
    ck_assert_uint_eq(n->gids[0]->length, 65536);
    ck_assert_int_eq(container_config(a, &in, &config_of, &err), 0);
    n = config_of->linux->security_context->namespace_options->userns_options;
    ck_assert_uint_eq(n->uids[0]->host_id, 131072);
    ck_assert_uint_eq(config_of->mounts[0]->n_uidmappings, 1);
    ck_assert_uint_eq(config_of->mounts[0]->gidmappings[0]->host_id, 131072);
    in.users = (struct user_range){0};
    ck_assert_int_eq(container_config(a, &in, &config_of, &err), 0);
    ck_assert_ptr_null(config_of->linux->security_context->namespace_options->userns_options);
    ck_assert_uint_eq(config_of->mounts[0]->n_uidmappings, 0);
}
END_TEST

UNIT_MAIN("user namespaces", {
    UNIT_TEST(test_ranges);
    UNIT_TEST(test_restart);
    UNIT_TEST(test_subids);
    UNIT_TEST(test_runtime_is_told);
})
