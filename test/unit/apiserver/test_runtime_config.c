/* test_runtime_config.c - what --runtime-config takes, and what is served then. */
#include "apiserver/registry.h"
#include "apiserver/runtime_config.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "test/unit/unit.h"

#include <string.h>

START_TEST(texts)
{
    static const struct {
        const char *given, *message;
    } cases[] = {
        {"api/all=true", NULL},
        {"api/beta=false", NULL},
        {"batch/v1", NULL},
        {"resource.k8s.io/v1beta1=true", NULL},
        {"storagemigration.k8s.io/v1beta1=true", NULL},
        {"apps/v1/daemonsets=false", NULL},
        {"api/all=false", "invalid runtime-config with only api/all=false"},
        {"api/all=1", "invalid value api/all=1"},
        {"v1=true", "runtime-config invalid key v1"},
        {"a/b/c/d=true", "runtime-config invalid key a/b/c/d"},
        {"x.io/v1=true", "unknown api groups x.io/v1"},
        {"batch/v1=on", "invalid value of batch/v1: on, err: strconv.ParseBool: parsing \"on\": "
                        "invalid syntax"},
        {"batch/v1/Jobs=true", "invalid key batch/v1/Jobs: group/version/resource and resource is "
                               "always lowercase plural, not \"Jobs\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *items[] = {cases[i].given};
        struct flag_list list = {.items = items, .count = 1};
        struct error err = {0};
        int code = runtime_config_check(&list, &err);
        ck_assert_msg((code == 0) == (cases[i].message == NULL), "%s: %s", cases[i].given,
                      error_message(&err));
        if (code != 0)
            ck_assert_str_eq(error_message(&err), cases[i].message);
    }
}
END_TEST

static bool serves(struct str group, struct str version, struct str resource, const void *arg)
{
    return runtime_config_serves(arg, group, version, resource);
}

static bool found(const char *group, const char *version, const char *resource)
{
    return registry_find(str_of(group), str_of(version), str_of(resource)) != NULL;
}

START_TEST(served)
{
    static const char *items[] = {"autoscaling/v1=false", "batch/v1=false", "batch/v1/jobs=true",
                                  "policy/v1=false", "apps/v1/daemonsets=0"};
    static const struct flag_list list = {.items = items, .count = ARRAY_SIZE(items)};
    size_t pos = 0;
    registry_restrict(serves, &list);
    ck_assert(found("", "v1", "pods"));
    ck_assert(!found("autoscaling", "v1", "horizontalpodautoscalers"));
    ck_assert(found("autoscaling", "v2", "horizontalpodautoscalers"));
    ck_assert(!registry_has_version(STR("autoscaling"), STR("v1")));
    ck_assert(found("batch", "v1", "jobs"));
    ck_assert(!found("batch", "v1", "cronjobs"));
    ck_assert(str_eqc(registry_next(STR("batch"), STR("v1"), &pos)->gr.resource, "jobs"));
    ck_assert(registry_next(STR("batch"), STR("v1"), &pos) == NULL);
    ck_assert(!found("apps", "v1", "daemonsets"));
    ck_assert(!registry_has_group(STR("policy")));
    ck_assert(registry_owns_group(STR("policy")));
    ck_assert(registry_storage(STR("policy"), STR("poddisruptionbudgets")) != NULL);
}
END_TEST

UNIT_MAIN("runtime_config", {
    registry_init();
    UNIT_TEST(texts);
    UNIT_TEST(served);
})
