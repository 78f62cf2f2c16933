/* test_zpages.c - /statusz and /flagz: which form, and what they say. */
#include "lib/api/zpages.h"
#include "lib/base/buf.h"
#include "lib/base/flags.h"
#include "lib/base/version.h"
#include "test/unit/unit.h"

#define S INT64_C(1000000000)
#define STARTED (INT64_C(1761697801) * S) /* 2025-10-29T00:30:01Z */
#define AS_STATUS ";v=v1beta1;g=config.k8s.io;as=Statusz"

static const char *const paths[] = {"/healthz", "/statusz", NULL};

static int answer(const struct zpages *z, const char *path, const char *accept, struct buf *b,
                  const char **ret_type)
{
    buf_clear(b);
    int status = zpages_answer(z, str_of(path), str_of(accept), STARTED + 3723 * S, b, ret_type);
    buf_putc(b, '\0');
    b->len--;
    return status;
}

static bool says(const struct buf *b, const char *text)
{
    return str_find_str(buf_str(b), str_of(text)) >= 0;
}

/* Text unless a whole structured form is asked for; what cannot be had is 406. */
START_TEST(forms)
{
    static const struct {
        const char *accept;
        int status;
        const char *type;
    } cases[] = {
        {"", 200, "text/plain; charset=utf-8"},
        {"*/*", 200, "text/plain; charset=utf-8"},
        {"text/plain", 200, "text/plain; charset=utf-8"},
        {"application/json" AS_STATUS, 200, "application/json"},
        {"application/json; v=v1alpha1; g=config.k8s.io; as=Statusz", 200, "application/json"},
        {"application/yaml" AS_STATUS, 200, "application/yaml"},
        {"application/json", 406, NULL},
        {"application/json;v=v1beta1;g=config.k8s.io", 406, NULL},
        {"application/json;v=v1beta1;g=config.k8s.io;as=Flagz", 406, NULL},
        {"application/json;v=v9;g=config.k8s.io;as=Statusz", 406, NULL},
        {"application/json;v=v9;g=config.k8s.io;as=Statusz,*/*", 200, "text/plain; charset=utf-8"},
        {"text/plain;q=0.5, application/json" AS_STATUS, 200, "application/json"},
        {"application/json" AS_STATUS ";q=0.1, text/plain;q=0.9", 200, "text/plain; charset=utf-8"},
        {"application/xml", 406, NULL},
    };
    AUTO_BUF b = BUF_INIT;
    struct zpages *z = zpages_new("kube-scheduler", NULL, paths, STARTED);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *type;
        ck_assert_msg(answer(z, "/statusz", cases[i].accept, &b, &type) == cases[i].status, "%s",
                      cases[i].accept);
        if (cases[i].type != NULL)
            ck_assert_str_eq(type, cases[i].type);
        else
            ck_assert(says(&b, "application/json;v=v1beta1;g=config.k8s.io;as=Statusz"));
    }
    zpages_free(z);
}
END_TEST

START_TEST(status)
{
    AUTO_BUF b = BUF_INIT;
    const char *type;
    struct zpages *z = zpages_new("kube-scheduler", NULL, paths, STARTED);
    ck_assert_int_eq(answer(z, "/statusz", "", &b, &type), 200);
    ck_assert(str_has_prefix(buf_str(&b), STR("\nkube-scheduler statusz\nWarning: ")));
    ck_assert(says(&b, "\nStarted: Wed Oct 29 00:30:01 UTC 2025\nUp: 1 hr 02 min 03 sec\n"));
    ck_assert(
        says(&b, "\nBinary version: 1.36.2\nEmulation version: 1.36\nPaths: /healthz /statusz\n"));
    answer(z, "/statusz", "application/json" AS_STATUS, &b, &type);
    ck_assert_str_eq((const char *)b.data,
                     "{\"kind\":\"Statusz\",\"apiVersion\":\"config.k8s.io/v1beta1\",\"metadata\":{"
                     "\"name\":\"kube-scheduler\"},\"startTime\":\"2025-10-29T00:30:01Z\","
                     "\"uptimeSeconds\":3723,\"goVersion\":\"\",\"binaryVersion\":\"1.36.2\","
                     "\"emulationVersion\":\"1.36\",\"paths\":[\"/healthz\",\"/statusz\"]}\n");
    zpages_free(z);
}
END_TEST

static int accept_any(const char *value, void *arg, struct error *err)
{
    UNUSED(value);
    UNUSED(arg);
    UNUSED(err);
    return 0;
}

/* Flags in order, as they hold: given or by default, as pflag prints them. */
START_TEST(flags)
{
    const char *name = "x", *none = NULL;
    bool on = true;
    int64_t port = 10259, wait_ns = 90 * S;
    double qps = 0.5;
    struct flag_list list = {0}, map = {0};
    struct flag_set *f = flag_set_new("t");
    flag_string(f, &name, "name", "");
    flag_string(f, &none, "config", "");
    flag_bool(f, &on, "on", "");
    flag_int(f, &port, "secure-port,p", "");
    flag_duration(f, &wait_ns, "wait", "");
    flag_float(f, &qps, "qps", "");
    flag_strings(f, &list, "list", "");
    flag_map(f, &map, "map", "");
    flag_func(f, "func", "", accept_any, NULL);
    flag_ignored(f, "ignored", true, NULL);
    char *const argv[] = {"t", "--on=false", "--list=b,a", "--map=k=v", "--func=given", "-p", "0"};
    struct error err = {0};
    ck_assert_int_eq(flag_set_parse(f, ARRAY_SIZE(argv), argv, &err), 0);
    struct zpages *z = zpages_new("kubelet", f, paths, STARTED);
    flag_set_free(f);
    AUTO_BUF b = BUF_INIT;
    const char *type;
    ck_assert_int_eq(answer(z, "/flagz", "", &b, &type), 200);
    ck_assert(str_has_prefix(buf_str(&b), STR("\nkubelet flagz\nWarning: ")));
    ck_assert(str_has_suffix(buf_str(&b),
                             STR("\n\nconfig=\nfunc=given\nlist=[b,a]\nmap=k=v\nname=x\non=false\n"
                                 "qps=0.5\nsecure-port=0\nwait=1m30s\n")));
    answer(z, "/flagz", "application/json;v=v1beta1;g=config.k8s.io;as=Flagz", &b, &type);
    ck_assert(says(&b, "\"kind\":\"Flagz\",\"apiVersion\":\"config.k8s.io/v1beta1\""));
    ck_assert(says(&b, "\"flags\":{\"config\":\"\",\"func\":\"given\",\"list\":\"[b,a]\","));
    ck_assert(zpages_has(STR("/flagz")) && zpages_has(STR("/statusz")));
    ck_assert(!zpages_has(STR("/flagz/")) && !zpages_has(STR("/metrics")));
    zpages_free(z);
}
END_TEST

UNIT_MAIN("zpages", {
    UNIT_TEST(forms);
    UNIT_TEST(status);
    UNIT_TEST(flags);
})
