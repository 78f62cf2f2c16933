/* test_storage.c - folders that are volumes, and what CSI volumes leave on disk. */
#include "kubelet/csi.h"
#include "kubelet/local_volumes.h"
#include "lib/base/arena.h"
#include "lib/base/file.h"
#include "test/unit/unit.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/trireme-storage-XXXXXX";

static void make_dir(void)
{
    strcpy(dir + sizeof(dir) - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void drop_dir(void)
{
    ck_assert_int_eq(file_remove_tree(dir, NULL), 0);
}

/* Only what a persistent volume can be called: nothing that leaves the folder. */
START_TEST(names_stay_inside)
{
    static const char *const bad[] = {"", ".", "..", ".x", "a/b", "../x", "A", "a b", "a\n"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(!local_volume_name_ok(str_of(bad[i])), "%s", bad[i]);
    ck_assert(local_volume_name_ok(STR("pvc-8361f59b-1e10-47ab-8446-67fda2864131")));
}
END_TEST

/* Making and removing may both be repeated; what is in it goes with it. */
START_TEST(folders_come_and_go)
{
    struct stat st;
    struct error err;
    make_dir();
    AUTO_FREE char *base = xasprintf("%s/deep/volumes", dir);
    AUTO_FREE char *path = xasprintf("%s/pvc-1", base);
    AUTO_FREE char *file = xasprintf("%s/file", path);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(local_volume_make(base, "pvc-1", &err), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0777);
    ck_assert_int_eq(file_write_atomic(file, "x", 1, 0600, &err), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(local_volume_remove(base, "pvc-1", &err), 0);
    ck_assert(!file_exists(path));
    drop_dir();
}
END_TEST

/* What a pod has mounted is known from the disk alone, and until its folder is gone. */
START_TEST(csi_volumes_are_found_again)
{
    AUTO_ARENA *a = arena_new(0);
    struct csi_found *found;
    struct error err;
    size_t count;
    make_dir();
    const char *pod = str_c(arena_printf(a, "%s/pods/uid-1", dir));
    struct csi_mount m = {.driver = "d.test",
                          .handle = "vol/with \"odd\" name",
                          .pv_name = "pv",
                          .stage_root = csi_stage_root(a, dir, "d.test", "vol/with \"odd\" name")};
    m.stage = str_c(arena_printf(a, "%s/globalmount", m.stage_root));
    m.pod_volume = str_c(arena_printf(a, "%s/volumes/kubernetes.io~csi/pv", pod));
    ck_assert_int_eq(csi_find_volumes(a, pod, &found, &count, &err), 0);
    ck_assert_uint_eq(count, 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(csi_make_dirs(&m, &err), 0);
    ck_assert_int_eq(csi_find_volumes(a, pod, &found, &count, &err), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(found[0].data.driver, m.driver);
    ck_assert_str_eq(found[0].data.handle, m.handle);
    ck_assert_str_eq(found[0].dir, m.pod_volume);
    ck_assert(csi_is_used(dir, m.driver, m.handle));
    ck_assert_int_eq(csi_find_unused_stages(a, dir, &found, &count, &err), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert(!csi_is_used(dir, m.driver, "another"));
    ck_assert_int_eq(csi_remove_volume(m.pod_volume, &err), 0);
    ck_assert(!csi_is_used(dir, m.driver, m.handle));
    /* Killed here, what is staged is found by its own folder. */
    ck_assert_int_eq(csi_find_unused_stages(a, dir, &found, &count, &err), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(found[0].dir, m.stage_root);
    ck_assert_str_eq(found[0].data.handle, m.handle);
    ck_assert_int_eq(csi_remove_stage(m.stage_root, &err), 0);
    ck_assert(!file_exists(m.stage_root));
    ck_assert_int_eq(csi_find_unused_stages(a, dir, &found, &count, &err), 0);
    ck_assert_uint_eq(count, 0);
    drop_dir();
}
END_TEST

/* Where something is left, or still mounted, nothing is removed. */
START_TEST(csi_folders_with_content_stay)
{
    AUTO_ARENA *a = arena_new(0);
    struct error err;
    make_dir();
    const char *volume = str_c(arena_printf(a, "%s/v", dir));
    const char *inside = str_c(arena_printf(a, "%s/mount/sub", volume));
    ck_assert_int_eq(file_mkdir_p(inside, 0755, &err), 0);
    ck_assert_int_ne(csi_remove_volume(volume, &err), 0);
    ck_assert(file_exists(inside));
    drop_dir();
}
END_TEST

/* A vol_data.json that cannot be read holds up nobody: the stage that names the volume tells what
 * it is; without one, only the stages that may be meant count as used. */
START_TEST(damaged_csi_volumes)
{
    static const char *const damage[] = {"", "{\"driverName\":", "{}", "\x01\x02"};
    AUTO_ARENA *a = arena_new(0);
    struct csi_found *found;
    struct error err;
    size_t count;
    make_dir();
    const char *pod = str_c(arena_printf(a, "%s/pods/uid-1", dir));
    struct csi_mount m = {.driver = "d.test", .handle = "vol-1", .pv_name = "pv-1"};
    struct csi_mount other = {.driver = "d.test", .handle = "vol-2", .pv_name = "pv-2"};
    struct csi_mount *all[] = {&m, &other};
    for (size_t i = 0; i < 2; i++) {
        all[i]->stage_root = csi_stage_root(a, dir, all[i]->driver, all[i]->handle);
        all[i]->stage = str_c(arena_printf(a, "%s/globalmount", all[i]->stage_root));
        all[i]->pod_volume =
            str_c(arena_printf(a, "%s/volumes/kubernetes.io~csi/%s", pod, all[i]->pv_name));
        ck_assert_int_eq(csi_make_dirs(all[i], &err), 0);
    }
    ck_assert_int_eq(csi_remove_volume(other.pod_volume, &err), 0);
    const char *data = str_c(arena_printf(a, "%s/vol_data.json", m.pod_volume));
    const char *stage_data = str_c(arena_printf(a, "%s/vol_data.json", m.stage_root));
    for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
        ck_assert_int_eq(file_write_atomic(data, damage[i], strlen(damage[i]), 0600, &err), 0);
        ck_assert_int_eq(csi_find_volumes(a, pod, &found, &count, &err), 0);
        ck_assert_uint_eq(count, 1);
        ck_assert(found[0].damaged);
        ck_assert_str_eq(found[0].name, "pv-1");
        ck_assert(csi_find_lost(a, dir, &found[0]));
        ck_assert_str_eq(found[0].data.handle, "vol-1");
        ck_assert(!found[0].damaged);
        ck_assert(csi_is_used(dir, "d.test", "vol-1"));
        ck_assert(!csi_is_used(dir, "d.test", "vol-2"));
        ck_assert_int_eq(csi_find_unused_stages(a, dir, &found, &count, &err), 0);
        ck_assert_uint_eq(count, 1);
        ck_assert_str_eq(found[0].data.handle, "vol-2");
    }
    /* Both are damaged: nothing on disk tells. It is in nobody's way, and mounted anew it is good.
     */
    ck_assert_int_eq(file_write_atomic(stage_data, "x", 1, 0600, &err), 0);
    ck_assert_int_eq(csi_find_volumes(a, pod, &found, &count, &err), 0);
    ck_assert(!csi_find_lost(a, dir, &found[0]));
    ck_assert(!csi_is_used(dir, "d.test", "vol-2"));
    ck_assert(csi_is_used(dir, "d.test", "vol-1")); /* It may be meant. */
    ck_assert_int_eq(csi_make_dirs(&m, &err), 0);
    ck_assert_int_eq(csi_find_volumes(a, pod, &found, &count, &err), 0);
    ck_assert(!found[0].damaged);
    drop_dir();
}
END_TEST

UNIT_MAIN("kubelet/storage", {
    UNIT_TEST(damaged_csi_volumes);
    UNIT_TEST(names_stay_inside);
    UNIT_TEST(folders_come_and_go);
    UNIT_TEST(csi_volumes_are_found_again);
    UNIT_TEST(csi_folders_with_content_stay);
})
