/* test_options.c - flags, variables and configuration files under etcd's names. */
#include "raftstore/options.h"

#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <string.h>

#define ARGS_MAX 16

static struct options o;
static struct error err;

/* Parses and checks "word word word". */
static int run_env(const char *line, char *const *environ)
{
    static char text[2048];
    static char *argv[ARGS_MAX];
    int argc = 0;
    options_done(&o);
    error_clear(&err);
    snprintf(text, sizeof(text), "trireme-raftstore %s", line);
    for (char *w = strtok(text, " "); w != NULL && argc < ARGS_MAX; w = strtok(NULL, " "))
        argv[argc++] = w;
    int rc = options_parse(&o, argc, argv, environ, &err);
    if (rc == 0)
        rc = options_check(&o, &err);
    return rc == 0 ? options_names_self(&o, &err) : rc;
}

static int run(const char *line)
{
    return run_env(line, NULL);
}

#define REFUSES(line, text)                                                                        \
    do {                                                                                           \
        ck_assert_int_eq(run(line), E_INVALID);                                                    \
        ck_assert_msg(strstr(error_message(&err), text) != NULL, "%s", error_message(&err));       \
    } while (0)

/* Without flags it is etcd's single member on loopback. */
START_TEST(defaults)
{
    struct store_config c;
    ck_assert_msg(run("") == 0, "%s", error_message(&err));
    options_store_config(&o, &c);
    ck_assert_str_eq(c.name, "default");
    ck_assert_str_eq(c.data_dir, "default.etcd");
    ck_assert_str_eq(c.listen_address, "127.0.0.1:2380");
    ck_assert_str_eq(c.advertise_address, "localhost:2380");
    ck_assert_str_eq(c.client_urls, "http://localhost:2379");
    ck_assert_uint_eq(c.initial_member_count, 1);
    ck_assert_str_eq(c.initial_members[0].address, "localhost:2380");
    ck_assert_uint_eq(c.heartbeat_ms, 100);
    ck_assert_uint_eq(c.election_ms, 1000);
    ck_assert_uint_eq(c.quota_bytes, UINT64_C(2) << 30);
    ck_assert_uint_eq(c.snapshot_log_bytes, 0);
    ck_assert(!c.join && c.peers_any_organization && c.peers_plain);
    ck_assert_int_eq(o.compaction, COMPACTION_OFF);
}
END_TEST

/* A list that is given twice is the last one, as with etcd: what a script adds behind its
 * usual flags goes before them. */
START_TEST(the_last_list_counts)
{
    ck_assert_int_eq(run("--initial-advertise-peer-urls http://127.0.0.1:1 "
                         "--initial-cluster default=http://127.0.0.1:1 "
                         "--initial-advertise-peer-urls http://127.0.0.1:2 "
                         "--initial-cluster default=http://127.0.0.1:2"),
                     0);
    ck_assert_str_eq(o.advertise_peer.address, "127.0.0.1:2");
    ck_assert_uint_eq(o.member_count, 1);
}
END_TEST

#define THREE                                                                                      \
    "--initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380 "

/* Every member derives the same ids from the same list; another token gives others. */
START_TEST(members_get_the_same_ids)
{
    uint64_t ids[3];
    ck_assert_int_eq(run(THREE "--name a --initial-advertise-peer-urls http://10.0.0.1:2380"), 0);
    for (int i = 0; i < 3; i++)
        ids[i] = o.members[i].id;
    ck_assert(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != 0);
    ck_assert_int_eq(run(THREE "-name=b -initial-advertise-peer-urls http://10.0.0.2:2380"), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(o.members[i].id, ids[i]);
    ck_assert_int_eq(run(THREE "--name b --initial-advertise-peer-urls http://10.0.0.2:2380 "
                               "--initial-cluster-token other --initial-cluster-state existing"),
                     0);
    ck_assert_uint_ne(o.members[0].id, ids[0]);
    ck_assert(o.join);
}
END_TEST

/* What does not fit together is refused in etcd's words, naming the flag. */
START_TEST(refuses_contradictions)
{
    REFUSES(THREE "--name d", "couldn't find local name \"d\"");
    REFUSES(THREE "--name a", "--initial-cluster has a=10.0.0.1:2380 but missing from");
    REFUSES("--initial-cluster a=http://h:1,b=http://h:1 --name a", "duplicate peer URL");
    REFUSES("--initial-cluster nonsense", "is not name=URL");
    REFUSES("--listen-client-urls http://localhost:1", "--advertise-client-urls is required");
    REFUSES("--listen-client-urls https://localhost:1 --advertise-client-urls https://localhost:1",
            "no certificate");
    REFUSES("--listen-client-urls http://example.org:1 --advertise-client-urls http://h:1",
            "expected IP in URL for binding");
    REFUSES("--listen-peer-urls ftp://127.0.0.1:1", "URL scheme must be http");
    REFUSES("--listen-peer-urls http://127.0.0.1", "does not have the form \"host:port\"");
    REFUSES("--listen-peer-urls http://127.0.0.1:1/x", "must not contain a path");
    REFUSES("--heartbeat-interval 300", "should be at least as 5 times");
    REFUSES("--election-timeout 60000", "is too long");
    REFUSES("--cert-file a", "must both be present");
    REFUSES("--client-cert-auth", "--trusted-ca-file");
    REFUSES("--initial-cluster-state old", "unexpected clusterState");
    REFUSES("--auto-compaction-mode daily", "unknown --auto-compaction-mode");
    REFUSES("--auto-compaction-mode revision --auto-compaction-retention 5m", "error parsing");
    REFUSES("--max-txn-ops 100000", "--max-txn-ops");
    REFUSES("--log-level loud", "unknown log level");
    REFUSES("--bcrypt-cost 40", "--bcrypt-cost");
    REFUSES("word", "is not a valid flag");
}
END_TEST

/* What etcd has and we have not is refused by name, unless it asks for nothing. */
START_TEST(refuses_what_it_has_not)
{
    REFUSES("--discovery http://x", "\"--discovery\" flag: not supported by this store");
    REFUSES("--wal-dir /x", "--wal-dir");
    REFUSES("--enable-v2", "the v2 API is not served");
    REFUSES("--auto-tls", "--cert-file");
    REFUSES("--no-such-flag=1", "unknown flag: --no-such-flag");
    ck_assert_int_eq(run("--enable-v2=false --proxy off --auto-tls=false --pre-vote --cors * "
                         "--logger zap --max-wals 5 --strict-reconfig-check=true"),
                     0);
}
END_TEST

START_TEST(compaction)
{
    ck_assert_int_eq(run("--auto-compaction-retention 1"), 0);
    ck_assert_int_eq(o.compaction, COMPACTION_PERIODIC);
    ck_assert_int_eq(o.compaction_retention, 3600000);
    ck_assert_int_eq(run("--auto-compaction-retention 5m"), 0);
    ck_assert_int_eq(o.compaction_retention, 300000);
    ck_assert_int_eq(run("--auto-compaction-mode revision --auto-compaction-retention 1000"), 0);
    ck_assert_int_eq(o.compaction, COMPACTION_REVISION);
    ck_assert_int_eq(o.compaction_retention, 1000);
}
END_TEST

/* A variable stands for its flag; the flag goes before it. */
START_TEST(variables)
{
    char *environ[] = {"PATH=/x",
                       "ETCD_NAME=from-env",
                       "ETCD_ELECTION_TIMEOUT=2000",
                       "ETCD_UNSUPPORTED_ARCH=arm",
                       "ETCD_LOG_LEVEL=",
                       NULL};
    ck_assert_int_eq(run_env("", environ), 0);
    ck_assert_str_eq(o.name, "from-env");
    ck_assert_int_eq(o.election_ms, 2000);
    ck_assert_int_eq(run_env("--name from-flag", environ), 0);
    ck_assert_str_eq(o.name, "from-flag");
    char *bad[] = {"ETCD_ELECTION_TIMEOUT=soon", NULL};
    ck_assert_int_eq(run_env("", bad), E_INVALID);
    ck_assert_ptr_nonnull(strstr(error_message(&err), "ETCD_ELECTION_TIMEOUT"));
}
END_TEST

static int file(const char *text)
{
    run("");
    error_clear(&err);
    int rc = options_file_parse(o.flags, str_of(text), &err);
    return rc == 0 ? options_check(&o, &err) : rc;
}

START_TEST(configuration_file)
{
    ck_assert_msg(file("# comment\n"
                       "name: 'b'\n"
                       "initial-cluster: a=http://10.0.0.1:2380,b=http://10.0.0.2:2380\n"
                       "initial-advertise-peer-urls: http://10.0.0.2:2380\n"
                       "listen-client-urls: [\"http://10.0.0.2:2379\", \"http://127.0.0.1:2379\"]\n"
                       "advertise-client-urls: http://10.0.0.2:2379\n"
                       "quota-backend-bytes: 1000000\n"
                       "strict-reconfig-check: true\n"
                       "discovery:\n"
                       "wal-dir: null\n"
                       "peer-transport-security:\n"
                       "  cert-file: /a\n"
                       "  key-file: /b\n") == 0,
                  "%s", error_message(&err));
    ck_assert_str_eq(o.name, "b");
    ck_assert_uint_eq(o.member_count, 2);
    ck_assert_uint_eq(o.listen_clients.count, 2);
    ck_assert_str_eq(o.listen_clients.items[1].address, "127.0.0.1:2379");
    ck_assert_int_eq(o.quota_bytes, 1000000);
    ck_assert_str_eq(o.peer.cert_file, "/a");
}
END_TEST

START_TEST(configuration_file_errors)
{
    ck_assert_int_eq(file("nam: x\n"), E_INVALID);
    ck_assert_ptr_nonnull(strstr(error_message(&err), "unknown key \"nam\""));
    ck_assert_int_eq(file("peer-transport-security: {cert: x}\n"), E_INVALID);
    ck_assert_ptr_nonnull(strstr(error_message(&err), "peer-transport-security.cert"));
    ck_assert_int_eq(file("- a\n"), E_INVALID);
    ck_assert_int_eq(file("name: [a, {b: c}]\n"), E_INVALID);
    ck_assert_int_eq(file("name: \"x\n"), E_INVALID);
    ck_assert_int_eq(file("election-timeout: soon\n"), E_INVALID);
    ck_assert_int_eq(file("discovery: http://x\n"), E_INVALID);
    ck_assert_int_eq(file(""), 0);
}
END_TEST

START_TEST(urls)
{
    ck_assert_int_eq(run("--listen-client-urls http://[::1]:5,unix:///run/a "
                         "--advertise-client-urls http://[::1]:5"),
                     0);
    ck_assert_str_eq(o.listen_clients.items[0].address, "[::1]:5");
    ck_assert_str_eq(o.listen_clients.items[1].address, "unix:/run/a");
    ck_assert(!o.listen_clients.items[0].tls);
    struct store_config c;
    ck_assert_int_eq(run("--listen-peer-urls http://127.0.0.1:7,http://[::1]:7"), 0);
    options_store_config(&o, &c);
    ck_assert_str_eq(c.listen_address, "127.0.0.1:7,[::1]:7");
    REFUSES("--listen-peer-urls http://127.0.0.1:7,https://127.0.0.1:8 --peer-cert-file a "
            "--peer-key-file b",
            "all https");
}
END_TEST

UNIT_MAIN("options", {
    UNIT_TEST(defaults);
    UNIT_TEST(the_last_list_counts);
    UNIT_TEST(members_get_the_same_ids);
    UNIT_TEST(refuses_contradictions);
    UNIT_TEST(refuses_what_it_has_not);
    UNIT_TEST(compaction);
    UNIT_TEST(variables);
    UNIT_TEST(configuration_file);
    UNIT_TEST(configuration_file_errors);
    UNIT_TEST(urls);
    options_done(&o);
})
