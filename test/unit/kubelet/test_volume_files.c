/* test_volume_files.c - what is done to folders that containers write to at the same time, and what
 * is left by who was stopped half-way. */
#include "kubelet/atomic_writer.h"
#include "kubelet/volumes.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "test/unit/unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/trireme-vfiles-XXXXXX";

static void make_dir(void)
{
    strcpy(dir + sizeof(dir) - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void drop_dir(void)
{
    ck_assert_int_eq(file_remove_tree(dir, NULL), 0);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    ck_assert_msg(lstat(path, &st) == 0, "%s", path);
    return st.st_mode & 07777;
}

static void write_file(const char *path, mode_t mode)
{
    ck_assert_int_eq(file_write_atomic(path, "x", 1, mode, NULL), 0);
}

/* The group gets files and folders; what links point to stays as it is. */
START_TEST(the_group_gets_files_but_not_what_links_point_to)
{
    struct error err;
    make_dir();
    AUTO_FREE char *root = xasprintf("%s/v", dir);
    AUTO_FREE char *deep = xasprintf("%s/v/a/b", dir);
    AUTO_FREE char *file = xasprintf("%s/v/a/b/file", dir);
    AUTO_FREE char *link = xasprintf("%s/v/a/link", dir);
    AUTO_FREE char *folder_link = xasprintf("%s/v/a/folder", dir);
    AUTO_FREE char *outside = xasprintf("%s/outside", dir);
    AUTO_FREE char *secret = xasprintf("%s/outside/secret", dir);
    ck_assert_int_eq(file_mkdir_p(deep, 0700, &err), 0);
    ck_assert_int_eq(file_mkdir_p(outside, 0700, &err), 0);
    write_file(file, 0600);
    write_file(secret, 0600);
    ck_assert_int_eq(symlink(secret, link), 0);
    ck_assert_int_eq(symlink(outside, folder_link), 0);
    struct volume v = {.name = "v", .path = root, .gid = (int64_t)getegid()};
    ck_assert_msg(volume_give_to_group(&v, &err) == 0, "%s", error_message(&err));
    ck_assert_uint_eq(mode_of(file), 0660);
    ck_assert_uint_eq(mode_of(deep), 02770);
    ck_assert_uint_eq(mode_of(root) & 02770, 02770);
    ck_assert_uint_eq(mode_of(secret), 0600);
    ck_assert_uint_eq(mode_of(outside), 0700);
    drop_dir();
}
END_TEST

/* OnRootMismatch believes the root: it must not match before all below it does. */
START_TEST(the_root_is_given_last)
{
    struct error err;
    make_dir();
    AUTO_BUF deep = BUF_INIT;
    AUTO_FREE char *root = xasprintf("%s/v", dir);
    buf_puts(&deep, root);
    for (int i = 0; i < 300; i++)
        buf_puts(&deep, "/d");
    AUTO_FREE char *path = xasprintf(STR_FMT, STR_ARG(buf_str(&deep)));
    ck_assert_int_eq(file_mkdir_p(path, 0700, &err), 0);
    struct volume v = {
        .name = "v", .path = root, .gid = (int64_t)getegid(), .gid_if_root_differs = true};
    int rc = volume_give_to_group(&v, &err);
    ck_assert_msg(rc == E_TOO_LARGE, "%s", error_message(&err));
    ck_assert_uint_eq(mode_of(root) & 02070, 0);
    drop_dir();
}
END_TEST

/* A root that has the group is believed, if asked to. */
START_TEST(on_root_mismatch_leaves_what_matches)
{
    struct error err;
    make_dir();
    AUTO_FREE char *root = xasprintf("%s/v", dir);
    AUTO_FREE char *file = xasprintf("%s/v/file", dir);
    ck_assert_int_eq(file_mkdir_p(root, 0700, &err), 0);
    ck_assert_int_eq(chmod(root, 02770), 0);
    write_file(file, 0600);
    struct volume v = {
        .name = "v", .path = root, .gid = (int64_t)getegid(), .gid_if_root_differs = true};
    ck_assert_int_eq(volume_give_to_group(&v, &err), 0);
    ck_assert_uint_eq(mode_of(file), 0600);
    v.gid_if_root_differs = false;
    ck_assert_int_eq(volume_give_to_group(&v, &err), 0);
    ck_assert_uint_eq(mode_of(file), 0660);
    drop_dir();
}
END_TEST

/* Between making a folder of a sub-path and giving it its mode, a container may put a link there.
 */
START_TEST(a_link_in_place_of_a_new_folder_is_not_followed)
{
    struct error err;
    make_dir();
    AUTO_FREE char *secret = xasprintf("%s/secret", dir);
    AUTO_FREE char *link = xasprintf("%s/new", dir);
    int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(mkdir(secret, 0700), 0);
    ck_assert_int_eq(symlink(secret, link), 0);
    ck_assert_int_ne(volume_set_new_mode(at, "new", -1, 0777, &err), 0);
    ck_assert_uint_eq(mode_of(secret), 0700);
    ck_assert_int_eq(volume_set_new_mode(at, "secret", -1, 0777, &err), 0);
    ck_assert_uint_eq(mode_of(secret), 0777);
    close(at);
    drop_dir();
}
END_TEST

/* Whoever is stopped after the switch, or has no space for the links, makes them the next time. */
START_TEST(missing_links_are_made_again)
{
    struct error err;
    bool changed;
    make_dir();
    struct payload_file files[] = {{.path = "a", .data = STR("1"), .mode = 0644, .uid = -1},
                                   {.path = "b/c", .data = STR("2"), .mode = 0644, .uid = -1}};
    struct payload p = {.files = files, .count = 2, .gid = -1};
    AUTO_FREE char *link = xasprintf("%s/b", dir);
    AUTO_FREE char *file = xasprintf("%s/b/c", dir);
    ck_assert_int_eq(atomic_writer_write(dir, &p, &changed, &err), 0);
    ck_assert_int_eq(unlink(link), 0);
    ck_assert(!file_exists(file));
    ck_assert_int_eq(atomic_writer_write(dir, &p, &changed, &err), 0);
    ck_assert(file_exists(file));
    ck_assert_int_eq(atomic_writer_write(dir, &p, &changed, &err), 0);
    ck_assert(!changed);
    drop_dir();
}
END_TEST

/* An emptyDir stands under its name only once all may write there; what the container then makes of
 * its mode is its own affair. */
START_TEST(an_empty_dir_is_never_half_made)
{
    struct error err;
    make_dir();
    AUTO_FREE char *path = xasprintf("%s/pods/u/volumes/kubernetes.io~empty-dir/e", dir);
    AUTO_FREE char *begun = xasprintf("%s.new", path);
    AUTO_FREE char *pod = xasprintf("%s/pods/u", dir);
    AUTO_FREE char *logs = xasprintf("%s/logs", dir);
    ck_assert_int_eq(file_mkdir_p(begun, 0700, &err), 0);
    struct volume v = {.name = "e", .kind = VOLUME_EMPTY_DIR, .path = path, .gid = -1};
    struct volume_set s = {
        .root_dir = dir, .pod_dir = pod, .log_dir = logs, .items = &v, .count = 1};
    ck_assert_msg(volumes_apply(&s, &err) == 0, "%s", error_message(&err));
    ck_assert_uint_eq(mode_of(path), 0777);
    ck_assert(!file_exists(begun));
    ck_assert_int_eq(chmod(path, 0700), 0);
    ck_assert_int_eq(volumes_apply(&s, &err), 0);
    ck_assert_uint_eq(mode_of(path), 0700);
    drop_dir();
}
END_TEST

UNIT_MAIN("kubelet/volume files", {
    UNIT_TEST(the_group_gets_files_but_not_what_links_point_to);
    UNIT_TEST(the_root_is_given_last);
    UNIT_TEST(on_root_mismatch_leaves_what_matches);
    UNIT_TEST(a_link_in_place_of_a_new_folder_is_not_followed);
    UNIT_TEST(missing_links_are_made_again);
    UNIT_TEST(an_empty_dir_is_never_half_made);
})
