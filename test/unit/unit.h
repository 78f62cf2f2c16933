/* unit.h - the main() of a unit test program, on libcheck.
 *
 * A test file defines its tests with START_TEST, lists them in a TCase
 * function given to UNIT_MAIN and gets the exit code and the closing line
 * that tools/run-tests adds up. CK_FORK=no runs all in one process. */
#ifndef TEST_UNIT_H
#define TEST_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* body: statements that add tests with UNIT_TEST(name) to the case `tc`. */
#define UNIT_TEST(name) tcase_add_test(tc, name)
#define UNIT_MAIN(suite_name, body)                                                                \
    int main(void)                                                                                 \
    {                                                                                              \
        Suite *suite = suite_create(suite_name);                                                   \
        TCase *tc = tcase_create("all");                                                           \
        tcase_set_timeout(tc, 120);                                                                \
        body;                                                                                      \
        suite_add_tcase(suite, tc);                                                                \
        SRunner *runner = srunner_create(suite);                                                   \
        srunner_run_all(runner, CK_NORMAL);                                                        \
        int failed = srunner_ntests_failed(runner);                                                \
        printf("%d passed, %d failed\n", srunner_ntests_run(runner) - failed, failed);             \
        srunner_free(runner);                                                                      \
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;                                          \
    }

#endif
