/* test_file.c - whole-file reading and durable writing in a folder of its own. */
#include "lib/base/file.h"

#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/trireme-file-XXXXXX";

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", root, name);
}

/* What was written is read, with its mode, and replaces what was there. */
START_TEST(write_then_read)
{
    AUTO_FREE char *path = path_of("a");
    AUTO_BUF b = BUF_INIT;
    struct error err = {0};
    ck_assert_int_eq(file_read(path, 100, &b, &err), E_NOT_FOUND);
    ck_assert_int_eq(file_write_atomic(path, "one", 3, 0600, &err), 0);
    ck_assert_int_eq(file_write_atomic(path, "second", 6, 0640, &err), 0);
    ck_assert_int_eq(file_read(path, 6, &b, &err), 0);
    ck_assert(str_eqc(buf_str(&b), "second"));
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0640);
    ck_assert_int_eq(file_read(path, 5, &b, &err), E_TOO_LARGE);
    ck_assert_uint_eq(b.len, 6);
}
END_TEST

/* A failed write leaves neither the file nor a temporary one. */
START_TEST(write_into_missing_folder)
{
    AUTO_FREE char *path = path_of("missing/a");
    struct error err = {0};
    ck_assert_int_eq(file_write_atomic(path, "x", 1, 0600, &err), E_NOT_FOUND);
    ck_assert(!file_exists(path));
}
END_TEST

/* Folders appear with their parents and go with all they hold, but not through links. */
START_TEST(trees)
{
    AUTO_FREE char *deep = path_of("t/a/b/c/d");
    AUTO_FREE char *file = path_of("t/a/b/file");
    AUTO_FREE char *link = path_of("t/a/link");
    AUTO_FREE char *outside = path_of("kept");
    AUTO_FREE char *top = path_of("t");
    struct error err = {0};
    ck_assert_int_eq(file_mkdir_p(deep, 0755, &err), 0);
    ck_assert_int_eq(file_mkdir_p(deep, 0755, &err), 0);
    ck_assert_int_eq(file_mkdir_p(outside, 0755, &err), 0);
    ck_assert_int_eq(file_write_atomic(file, "x", 1, 0600, &err), 0);
    ck_assert_int_eq(symlink(outside, link), 0);
    ck_assert(file_mkdir_p(file, 0755, &err) < 0);
    ck_assert_int_eq(file_remove_tree(top, &err), 0);
    ck_assert(!file_exists(top));
    ck_assert(file_exists(outside));
    ck_assert_int_eq(file_remove_tree(top, &err), 0);
}
END_TEST

int main(void)
{
    if (mkdtemp(root) == NULL)
        return EXIT_FAILURE;
    Suite *suite = suite_create("file");
    TCase *tc = tcase_create("all");
    UNIT_TEST(write_then_read);
    UNIT_TEST(write_into_missing_folder);
    UNIT_TEST(trees);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    printf("%d passed, %d failed\n", srunner_ntests_run(runner) - failed, failed);
    srunner_free(runner);
    return file_remove_tree(root, NULL) == 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
