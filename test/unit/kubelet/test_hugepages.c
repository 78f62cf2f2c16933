/* test_hugepages.c - limits of huge pages: what a pod has, and what the kernel is told. */
#include "kubelet/hugepage_limits.h"
#include "kubelet/static_pods.h"

#include "lib/api/scheme.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "test/unit/unit.h"

#include <string.h>
#include <unistd.h>

#define MI ((int64_t)1 << 20)

static int64_t limit_of(const char *spec, int64_t page_bytes)
{
    AUTO_FREE char *text = xasprintf(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns}\nspec: %s\n", spec);
    struct api_object *pod;
    struct hugepage_limits l;
    struct error err;
    int64_t found = -1;
    int rc = static_pod_parse(str_of(text), "node1", "/m/p.yaml", &pod, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    hugepage_limits_of_pod(pod->msg, &l);
    ck_assert(l.set);
    for (size_t i = 0; i < l.count; i++)
        if (l.sizes[i].page_bytes == page_bytes)
            found = l.sizes[i].bytes;
    api_object_unref(pod);
    return found;
}

#define HUGE(n) "resources: {limits: {hugepages-2Mi: " n ", memory: 1Gi, cpu: 1}}"

/* Containers add up, init containers come one after the other beside the sidecars before them; the
 * pod's own limit goes before all. */
START_TEST(pods)
{
    static const struct {
        const char *spec;
        int64_t bytes; /* -1: not named. */
    } cases[] = {
        {"{containers: [{name: a, image: x}]}", -1},
        {"{containers: [{name: a, image: x, " HUGE("4Mi") "}]}", 4 * MI},
        {"{containers: [{name: a, image: x, " HUGE("4Mi") "}, {name: b, image: x, " HUGE(
             "2Mi") "}]}",
         6 * MI},
        {"{initContainers: [{name: i, image: x, " HUGE("8Mi") "}, {name: k, image: x, " HUGE(
             "2Mi") "}], containers: [{name: a, image: x, " HUGE("4Mi") "}]}",
         8 * MI},
        {"{initContainers: [{name: s, image: x, restartPolicy: Always, " HUGE(
             "2Mi") "}, {name: i, image: x, " HUGE("8Mi") "}], containers: [{name: a, image: "
                                                          "x, " HUGE("4Mi") "}]}",
         10 * MI},
        {"{initContainers: [{name: s, image: x, restartPolicy: Always, " HUGE(
             "2Mi") "}], containers: [{name: a, image: x, " HUGE("4Mi") "}]}",
         6 * MI},
        {"{" HUGE("12Mi") ", containers: [{name: a, image: x, " HUGE("4Mi") "}]}", 12 * MI},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_msg(limit_of(cases[i].spec, 2 * MI) == cases[i].bytes, "%s: %lld", cases[i].spec,
                      (long long)limit_of(cases[i].spec, 2 * MI));
}
END_TEST

START_TEST(names)
{
    char name[HUGEPAGE_NAME_MAX];
    static const struct {
        int64_t bytes;
        const char *name;
    } cases[] = {{64 << 10, "64KB"}, {2 * MI, "2MB"}, {1024 * MI, "1GB"}, {16384 * MI, "16GB"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        hugepage_size_name(cases[i].bytes, name);
        ck_assert_str_eq(name, cases[i].name);
    }
}
END_TEST

static char dir[] = "/tmp/trireme-hugetlb-XXXXXX";

static const char *content(const char *file)
{
    static char text[64];
    AUTO_FREE char *path = xasprintf("%s/%s", dir, file);
    AUTO_BUF b = BUF_INIT;
    ck_assert_int_eq(file_read(path, sizeof(text) - 1, &b, NULL), 0);
    memcpy(text, b.data, b.len);
    text[b.len] = '\0';
    return text;
}

/* Each size of the kernel's is limited, if to nothing; nothing else is written to. */
START_TEST(written)
{
    static const char *const suffix[] = {"limit_in_bytes", "max"};
    for (int v2 = 0; v2 < 2; v2++) {
        struct hugepage_limits l = {.sizes = {{2 * MI, 6 * MI}, {4 * MI, 8 * MI}}, .count = 2};
        struct error err;
        strcpy(dir + sizeof(dir) - 7, "XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(dir));
        static const char *const sizes[] = {"hugetlb.2MB", "hugetlb.2MB.rsvd",
                                            "hugetlb.1GB", "hugetlb.1GB.rsvd",
                                            "memory",      "hugetlb.2MB.events"};
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            AUTO_FREE char *path = xasprintf("%s/%s.%s", dir, sizes[i], suffix[v2]);
            ck_assert_int_eq(file_write_atomic(path, "-", 1, 0600, &err), 0);
        }
        AUTO_FREE char *pages = xasprintf("hugetlb.2MB.%s", suffix[v2]);
        AUTO_FREE char *reserved = xasprintf("hugetlb.2MB.rsvd.%s", suffix[v2]);
        AUTO_FREE char *large = xasprintf("hugetlb.1GB.%s", suffix[v2]);
        AUTO_FREE char *memory = xasprintf("memory.%s", suffix[v2]);
        AUTO_FREE char *events = xasprintf("hugetlb.2MB.events.%s", suffix[v2]);
        ck_assert_int_eq(hugepage_limits_write(dir, v2, &l, &err), 0);
        ck_assert_str_eq(content(pages), "-"); /* Classes of pods have none. */
        l.set = true;
        ck_assert_int_eq(hugepage_limits_write(dir, v2, &l, &err), 0);
        ck_assert_str_eq(content(pages), "6291456");
        ck_assert_str_eq(content(reserved), "6291456");
        ck_assert_str_eq(content(large), "0");
        ck_assert_str_eq(content(memory), "-");
        ck_assert_str_eq(content(events), "-");
        ck_assert_int_eq(file_remove_tree(dir, NULL), 0);
        ck_assert_int_eq(hugepage_limits_write(dir, v2, &l, &err), 0); /* It went meanwhile. */
    }
}
END_TEST

UNIT_MAIN("kubelet/huge pages", {
    UNIT_TEST(pods);
    UNIT_TEST(names);
    UNIT_TEST(written);
})
