/* test_feature_gates.c - what --feature-gates takes. */
#include "lib/api/feature_gates.h"

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

/* What a program heeds has its default, or what was said last. */
START_TEST(heeded)
{
    const char *items[] = {"CSIVolumeHealth=true", "kube:ResourceHealthStatus=false",
                           "ResourceHealthStatus=true"};
    struct flag_list list = {.items = items};
    struct error err = {0};
    bool health = true, resources = false;
    const struct feature_switch all[] = {{"CSIVolumeHealth", &health},
                                         {"ResourceHealthStatus", &resources}};
    const bool want[][2] = {{false, true}, {true, true}, {true, false}, {true, true}};
    for (; list.count <= ARRAY_SIZE(items); list.count++) {
        ck_assert_int_eq(feature_gates_set(&list, all, ARRAY_SIZE(all), &err), 0);
        ck_assert_int_eq(health, want[list.count][0]);
        ck_assert_int_eq(resources, want[list.count][1]);
    }
    const char *bad[] = {"CSIVolumeHealth=maybe"};
    list = (struct flag_list){.items = bad, .count = 1};
    ck_assert_int_ne(feature_gates_set(&list, all, ARRAY_SIZE(all), &err), 0);
}
END_TEST

UNIT_MAIN("feature_gates", {
    UNIT_TEST(texts);
    UNIT_TEST(heeded);
})
