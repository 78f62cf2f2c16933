/* test_config.c - the node agent's flags and its configuration file. */
#include "kubelet/config.h"
#include "kubelet/kubelet.h"

#include "test/unit/unit.h"

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

UNIT_MAIN("kubelet configuration", {
    UNIT_TEST(test_cluster_dns);
    UNIT_TEST(test_check);
})
