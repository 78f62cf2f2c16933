/* test_selinux.c - which label a volume is mounted with, and when it is none. */
#include "kubelet/csi.h"
#include "kubelet/selinux.h"
#include "kubelet/static_pods.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/file.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "test/unit/unit.h"

#include <string.h>
#include <unistd.h>

#define FILE_LABEL "system_u:object_r:container_file_t:s0"

static struct selinux host = {.enabled = true, .file = FILE_LABEL};
static struct str one_pod[] = {STR("ReadWriteOncePod")};
static struct str several[] = {STR("ReadWriteOncePod"), STR("ReadWriteOnce")};

struct decision {
    const char *pod_context, *containers;
    struct str *modes;
    size_t mode_count;
    bool gate, disabled, driver, no_driver_object;
    const char *label, *message;
};

static void decide(const struct decision *d)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *pod;
    struct error err = {0};
    AUTO_FREE char *text =
        xasprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns}\n"
                  "spec: {securityContext: {%s}, containers: [%s], volumes: [{name: v, emptyDir: "
                  "{}}, {name: w, emptyDir: {}}]}\n",
                  d->pod_context, d->containers);
    ck_assert_msg(static_pod_parse(str_of(text), "node1", "/m/p.yaml", &pod, &err) == 0, "%s",
                  error_message(&err));
    struct core_v1_persistent_volume pv = {
        .spec = {.access_modes = d->modes, .access_modes_count = d->mode_count}};
    struct storage_v1_csi_driver driver = {
        .spec = {.has_se_linux_mount = true, .se_linux_mount = d->driver}};
    struct selinux s = host;
    s.mount = d->gate;
    s.enabled = !d->disabled;
    const char *label = "untouched";
    int rc = selinux_mount_label(a, &s, pod->msg, "v", &pv, d->no_driver_object ? NULL : &driver,
                                 &label, &err);
    if (d->message != NULL) {
        ck_assert_int_eq(rc, E_INVALID);
        ck_assert_str_eq(error_message(&err), d->message);
    } else {
        ck_assert_int_eq(rc, 0);
        ck_assert_msg((label == NULL) == (d->label == NULL), "%s %s: %s", d->pod_context,
                      d->containers, label != NULL ? label : "none");
        if (label != NULL)
            ck_assert_str_eq(label, d->label);
    }
    api_object_unref(pod);
}

#define MOUNTS "volumeMounts: [{name: v, mountPath: /v}]"
#define C1(context) "{name: a, image: x, securityContext: {" context "}, " MOUNTS "}"
#define C2(context) "{name: b, image: x, securityContext: {" context "}, " MOUNTS "}"
#define LEVEL "seLinuxOptions: {level: 's0:c1,c2'}"
#define LABEL "system_u:object_r:container_file_t:s0:c1,c2"

START_TEST(decisions)
{
    const struct decision all[] = {
        {LEVEL, C1(""), one_pod, 1, .driver = true, .label = LABEL},
        /* What decides against it, one by one. */
        {LEVEL, C1(""), one_pod, 1, .driver = true, .disabled = true},
        {LEVEL, C1(""), one_pod, 1, .driver = false},
        {LEVEL, C1(""), one_pod, 1, .no_driver_object = true},
        {LEVEL, C1(""), several, 2, .driver = true},
        {LEVEL, C1(""), several + 1, 1, .driver = true},
        {LEVEL ", seLinuxChangePolicy: Recursive", C1(""), one_pod, 1, .driver = true},
        {"", C1(""), one_pod, 1, .driver = true},
        {"seLinuxOptions: {type: container_t}", C1(""), one_pod, 1, .driver = true},
        /* The gate opens it to all modes. */
        {LEVEL, C1(""), several, 2, .driver = true, .gate = true, .label = LABEL},
        {LEVEL ", seLinuxChangePolicy: MountOption", C1(""), several + 1, 1, .driver = true,
         .gate = true, .label = LABEL},
        /* A container's options go before the pod's; the type of processes is none of files. */
        {LEVEL, C1("seLinuxOptions: {user: me_u, role: me_r, type: me_t, level: 's0:c7'}"), one_pod,
         1, .driver = true, .label = "me_u:object_r:container_file_t:s0:c7"},
        /* All that mount it have to agree, whoever else is in the pod. */
        {LEVEL, C1("") ", " C2("seLinuxOptions: {level: 's0:c7'}"), one_pod, 1, .driver = true,
         .message =
             "multiple SELinux labels found: " LABEL ",system_u:object_r:container_file_t:s0:c7"},
        {LEVEL, C1("") ", " C2(LEVEL), one_pod, 1, .driver = true, .label = LABEL},
        {LEVEL,
         C1("") ", {name: b, image: x, securityContext: {seLinuxOptions: {level: 's0:c7'}}, "
                "volumeMounts: [{name: w, mountPath: /w}]}",
         one_pod, 1, .driver = true, .label = LABEL},
        /* Where it would not be passed on anyway, they need not. */
        {LEVEL, C1("") ", " C2("seLinuxOptions: {level: 's0:c7'}"), several, 2, .driver = true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        decide(&all[i]);
    AUTO_ARENA *a = arena_new(0);
    ck_assert_str_eq(selinux_mount_option(a, LABEL), "context=\"" LABEL "\"");
}
END_TEST

/* What a host has of SELinux is read from its files; without the kernel's part there is none. */
START_TEST(hosts)
{
    static const struct {
        const char *path, *text;
    } files[] = {
        {"/etc/selinux/config", "# a comment = x\nSELINUX=enforcing\n  SELINUXTYPE = targeted \n"},
        {"/etc/selinux/targeted/contexts/lxc_contexts",
         "process = \"system_u:system_r:container_t:s0\"\ncontent = \"x\"\nfile = \"" FILE_LABEL
         "\"\nro_file=\"y\"\n"},
        {"/sys/fs/selinux/policyvers", "33"},
    };
    char dir[] = "/tmp/trireme-selinux-XXXXXX";
    AUTO_ARENA *a = arena_new(0);
    struct selinux s;
    struct error err;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        selinux_read(a, dir, &s);
        ck_assert(!s.enabled);
        ck_assert_str_eq(s.file, "");
        AUTO_FREE char *path = xasprintf("%s%s", dir, files[i].path);
        AUTO_FREE char *folder = xstrndup(path, (size_t)(strrchr(path, '/') - path));
        ck_assert_int_eq(file_mkdir_p(folder, 0700, &err), 0);
        ck_assert_int_eq(file_write_atomic(path, files[i].text, strlen(files[i].text), 0600, &err),
                         0);
    }
    selinux_read(a, dir, &s);
    ck_assert(s.enabled);
    ck_assert_str_eq(s.file, FILE_LABEL);
    ck_assert_int_eq(file_remove_tree(dir, NULL), 0);
}
END_TEST

/* proc has no labels of files: nothing there is relabelled. */
START_TEST(mounts)
{
    ck_assert(!selinux_can_relabel("/proc"));
    ck_assert(!selinux_can_relabel("/not/mounted"));
}
END_TEST

UNIT_MAIN("kubelet/selinux", {
    UNIT_TEST(decisions);
    UNIT_TEST(hosts);
    UNIT_TEST(mounts);
})
