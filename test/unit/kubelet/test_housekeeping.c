/* test_housekeeping.c - which images go, and how logs are rotated. */
#include "kubelet/image_gc.h"
#include "kubelet/log_rotation.h"

#include "lib/base/file.h"

#include "test/unit/unit.h"

#include <dirent.h>

/* Unused images go, longest unused first, until enough is free; young ones stay. */
START_TEST(test_image_choice)
{
    struct image_candidate list[] = {
        {.id = "used", .size_bytes = 100, .keep = true},
        {.id = "recent", .size_bytes = 100, .last_used_ms = 900, .first_seen_ms = 1},
        {.id = "old", .size_bytes = 100, .last_used_ms = 10, .first_seen_ms = 1},
        {.id = "young", .size_bytes = 100, .first_seen_ms = 990},
    };
    ck_assert_uint_eq(image_gc_choose(list, 4, 50, 1000, 100), 1);
    ck_assert_str_eq(list[0].id, "old");
    ck_assert_uint_eq(image_gc_choose(list, 4, 500, 1000, 100), 2);
    ck_assert_str_eq(list[1].id, "recent");
    ck_assert_uint_eq(image_gc_choose(list, 4, 0, 1000, 100), 0);
}
END_TEST

/* What nothing has used for too long goes without any need for room; use and youth protect it. */
START_TEST(test_old_images)
{
    struct image_candidate list[] = {
        {.id = "used", .last_used_ms = 10, .first_seen_ms = 1, .keep = true},
        {.id = "recent", .last_used_ms = 900, .first_seen_ms = 1},
        {.id = "old", .last_used_ms = 10, .first_seen_ms = 1},
        {.id = "new", .first_seen_ms = 950},
        {.id = "never used", .first_seen_ms = 20},
    };
    ck_assert_uint_eq(image_gc_choose_old(list, 5, 1000, 100, 500), 2);
    ck_assert_str_eq(list[0].id, "old");
    ck_assert_str_eq(list[1].id, "never used");
    ck_assert_uint_eq(image_gc_choose_old(list, 5, 1000, 100, 2000), 0);
    ck_assert_uint_eq(image_gc_choose_old(list, 5, 1000, 2000, 500), 0);
}
END_TEST

static size_t count_entries(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* A log that is too large is moved aside; the number of files stays bounded. */
START_TEST(test_log_rotation)
{
    char dir[] = "/tmp/trireme-unit-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    AUTO_FREE char *path = xasprintf("%s/0.log", dir);
    AUTO_FREE char *older = xasprintf("%s/0.log.20200101-000000", dir);
    AUTO_FREE char *oldest = xasprintf("%s/0.log.20190101-000000.gz", dir);
    bool rotated;
    struct error err;
    ck_assert_int_eq(file_write_atomic(path, "12345", 5, 0640, &err), 0);
    ck_assert_int_eq(log_rotate_file(path, 5, 3, &rotated, &err), 0);
    ck_assert(!rotated);
    ck_assert_int_eq(file_write_atomic(older, "x", 1, 0640, &err), 0);
    ck_assert_int_eq(file_write_atomic(oldest, "x", 1, 0640, &err), 0);
    ck_assert_int_eq(log_rotate_file(path, 4, 3, &rotated, &err), 0);
    ck_assert(rotated);
    ck_assert(!file_exists(path) && !file_exists(oldest) && !file_exists(older));
    AUTO_FREE char *packed = xasprintf("%s.gz", older);
    ck_assert(file_exists(packed));
    ck_assert_uint_eq(count_entries(dir), 2);
    file_remove_tree(dir, NULL);
}
END_TEST

UNIT_MAIN("kubelet housekeeping", {
    UNIT_TEST(test_old_images);
    UNIT_TEST(test_image_choice);
    UNIT_TEST(test_log_rotation);
})
