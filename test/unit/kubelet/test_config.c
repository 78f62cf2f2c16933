/* test_config.c - the node agent's flags and its configuration file. */
#include "kubelet/config.h"
#include "kubelet/kubelet.h"

#include "lib/base/arena.h"

#include "test/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

/* What the command line leads to; the message of a refusal in err. */
static int parse(struct kubelet_config *c, char *flag, struct error *err)
{
    char *argv[] = {(char *)(uintptr_t) "kubelet", flag, NULL};
    struct flag_set *f = kubelet_flags(c);
    int rc = flag_set_parse(f, flag != NULL ? 2 : 1, argv, err);
    if (rc == 0)
        rc = kubelet_config_check(c, err);
    flag_set_free(f);
    return rc;
}

static void assert_refused(const char *flag, const char *message)
{
    struct kubelet_config c;
    struct error err;
    AUTO_FREE char *text = xstrdup(flag);
    ck_assert_int_eq(parse(&c, text, &err), E_INVALID);
    ck_assert_str_eq(error_message(&err), message);
}

static void assert_taken(const char *flag)
{
    struct kubelet_config c;
    struct error err;
    AUTO_FREE char *text = xstrdup(flag);
    ck_assert_msg(parse(&c, text, &err) == 0, "%s: %s", flag, error_message(&err));
}

/* A name server that is no address would end up in every pod's resolv.conf. */
START_TEST(test_cluster_dns)
{
    assert_taken("--cluster-dns=10.96.0.10");
    assert_taken("--cluster-dns=10.96.0.10,fd00::a");
    assert_refused("--cluster-dns=10.96.0.10,dns.example",
                   "--cluster-dns: 'dns.example' is no IP address");
}
END_TEST

/* Values that contradict each other are told at the start. */
START_TEST(test_check)
{
    assert_taken("--v=2");
    assert_refused("--cgroup-driver=none",
                   "--cgroup-driver: 'none' is neither cgroupfs nor systemd");
    assert_refused("--root-dir=here", "--root-dir and --pod-logs-dir must be absolute");
}
END_TEST

/* What a file of this text and a flag (or NULL) lead to; the file's own path, which no test can
 * know before, is cut off the front of the message. */
static void assert_file_refused(const char *text, const char *flag, const char *message)
{
    struct kubelet_config c;
    struct error err = {0};
    char path[] = "/tmp/kubelet-config-XXXXXX", option[64];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(dprintf(fd, "kind: KubeletConfiguration\n%s\n", text),
                     (int)(strlen("kind: KubeletConfiguration\n") + strlen(text) + 1));
    close(fd);
    snprintf(option, sizeof(option), "--config=%s", path);
    AUTO_FREE char *other = flag != NULL ? xstrdup(flag) : NULL;
    char *argv[] = {(char *)(uintptr_t) "kubelet", option, other, NULL};
    struct flag_set *f = kubelet_flags(&c);
    int rc = flag_set_parse(f, other != NULL ? 3 : 2, argv, &err);
    if (rc == 0)
        rc = kubelet_config_load(&c, f, &err);
    if (rc == 0)
        rc = kubelet_config_check(&c, &err);
    unlink(path);
    ck_assert_int_eq(rc, E_INVALID);
    char start[96];
    snprintf(start, sizeof(start), "--config %s: ", path);
    const char *told = error_message(&err);
    if (strncmp(told, start, strlen(start)) == 0)
        told += strlen(start);
    ck_assert_msg(strncmp(told, message, strlen(message)) == 0, "%s\nis not: %s", told, message);
    flag_set_free(f);
    arena_free(c.file_values);
}

/* Thresholds of a file are told by the file's field, those of a flag by the flag. */
START_TEST(test_eviction_in_file)
{
    assert_file_refused("evictionHard: {memory.available: 12Qx}", NULL,
                        "evictionHard: '12Qx' of memory.available is neither an amount such as "
                        "100Mi nor a percentage such as 10%: quantities must match");
    assert_file_refused("evictionHard: {memory.free: 1Gi}", NULL,
                        "evictionHard: unsupported eviction signal memory.free");
    assert_file_refused("evictionSoft: {memory.available: 1Gi}", NULL,
                        "evictionSoftGracePeriod: grace period must be specified for the soft "
                        "eviction threshold memory.available");
    assert_file_refused("evictionMinimumReclaim: {nodefs.available: much}", NULL,
                        "evictionMinimumReclaim: 'much' of nodefs.available is neither");
    assert_file_refused("evictionHard: {memory.available: 12Qx}",
                        "--eviction-hard=memory.available<13Qx",
                        "--eviction-hard: '13Qx' of memory.available is neither");
}
END_TEST

UNIT_MAIN("kubelet configuration", {
    UNIT_TEST(test_eviction_in_file);
    UNIT_TEST(test_cluster_dns);
    UNIT_TEST(test_check);
})
