/* test_feature_gates.c - what --feature-gates takes. */
#include "apiserver/feature_gates.h"

#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "test/unit/unit.h"

#include <string.h>

START_TEST(texts)
{
    static const struct {
        const char *given, *message;
    } cases[] = {
        {"WatchList=true", NULL},
        {"kube:WatchList=True", NULL},
        {"AllAlpha=false", NULL},
        {"APIResponseCompression = 1", NULL},
        {"NoSuchGate=true", "unrecognized feature gate: NoSuchGate"},
        {"A=true", "unrecognized feature gate: A"},
        {"zzz=true", "unrecognized feature gate: zzz"},
        {"WatchList", "missing bool value for WatchList"},
        {"WatchList=on", "invalid value of WatchList=on, err: strconv.ParseBool: parsing \"on\": "
                         "invalid syntax"},
        {"SystemdWatchdog=true", NULL},
        {"SystemdWatchdog=false",
         "cannot set feature gate SystemdWatchdog to false, feature is locked to true"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *items[] = {cases[i].given};
        struct flag_list list = {.items = items, .count = 1};
        struct error err = {0};
        int code = feature_gates_check(&list, &err);
        ck_assert_msg((code == 0) == (cases[i].message == NULL), "%s: %s", cases[i].given,
                      error_message(&err));
        if (code != 0)
            ck_assert_str_eq(error_message(&err), cases[i].message);
    }
}
END_TEST

UNIT_MAIN("feature_gates", { UNIT_TEST(texts); })
