/* What the kernel's files say of use, and what is made of it for metrics-server. */
#include "kubelet/server.h"
#include "kubelet/usage_view.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "test/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[64];

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    *strrchr(path, '/') = '\0';
    ck_assert_int_eq(file_mkdir_p(path, 0755, NULL), 0);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    ck_assert_int_eq(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static void setup(void)
{
    strcpy(dir, "/tmp/usage-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    file_remove_tree(dir, NULL);
}

/* cgroup v2: microseconds become nanoseconds, the working set leaves inactive files out. */
START_TEST(reads_cgroup_v2)
{
    struct usage_root root = {dir, true};
    struct usage u;
    put("kubepods/podx/cpu.stat", "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n"
                                  "nr_periods 10\nnr_throttled 3\nthrottled_usec 700\n");
    put("kubepods/podx/memory.current", "10485760\n");
    put("kubepods/podx/memory.max", "max\n");
    put("kubepods/podx/memory.stat",
        "anon 4194304\nfile 5242880\nfile_mapped 4096\ninactive_file 2097152\npgfault 77\n"
        "pgmajfault 2\n");
    put("kubepods/podx/memory.swap.current", "4096\n");
    put("kubepods/podx/memory.swap.max", "8192\n");
    put("kubepods/podx/memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\n");
    put("kubepods/podx/pids.current", "5\n");
    put("kubepods/podx/io.stat",
        "8:0 rbytes=100 wbytes=20 rios=3 wios=2 dbytes=0 dios=0\n8:16 rbytes=11 wbytes=1 rios=1 "
        "wios=1\n");
    usage_read_group(&root, "/kubepods/podx", true, &u);
    ck_assert(u.has_cpu && u.has_memory && u.has_swap && u.has_cfs && u.has_pids && u.has_io);
    ck_assert_uint_eq(u.cpu_ns, 1500000000);
    ck_assert_uint_eq(u.cpu_user_ns, 1000000000);
    ck_assert_uint_eq(u.throttled_ns, 700000);
    ck_assert_uint_eq(u.throttled_periods, 3);
    ck_assert_uint_eq(u.memory_bytes, 10485760);
    ck_assert_uint_eq(u.working_set_bytes, 8388608);
    ck_assert_uint_eq(u.rss_bytes, 4194304);
    ck_assert_uint_eq(u.cache_bytes, 5242880);
    ck_assert_uint_eq(u.page_faults, 77);
    ck_assert_uint_eq(u.major_page_faults, 2);
    ck_assert(u.memory_limit_bytes == USAGE_UNLIMITED);
    ck_assert_uint_eq(u.swap_bytes, 4096);
    ck_assert_uint_eq(u.swap_limit_bytes, 8192);
    ck_assert_uint_eq(u.memory_failures, 4);
    ck_assert_uint_eq(u.oom_kills, 1);
    ck_assert_uint_eq(u.processes, 5);
    ck_assert_uint_eq(u.read_bytes, 111);
    ck_assert_uint_eq(u.writes, 3);
    usage_read_group(&root, "/kubepods/gone", true, &u);
    ck_assert(!u.has_cpu && !u.has_memory && !u.has_swap);
}
END_TEST

/* cgroup v1: each controller in its own folder, hierarchical figures, limits near 2^63 are none. */
START_TEST(reads_cgroup_v1)
{
    struct usage_root root = {dir, false};
    struct usage u;
    put("cpuacct/k/cpuacct.usage", "123456789\n");
    put("cpuacct/k/cpuacct.stat", "user 7\nsystem 5\n");
    put("cpu/k/cpu.stat", "nr_periods 4\nnr_throttled 1\nthrottled_time 99\n");
    put("memory/k/memory.usage_in_bytes", "1000000\n");
    put("memory/k/memory.stat",
        "cache 1\nrss 2\ninactive_file 3\nhierarchical_memory_limit 2000000\n"
        "hierarchical_memsw_limit 3000000\ntotal_cache 500\ntotal_rss 600\ntotal_swap 44\n"
        "total_inactive_file 400000\ntotal_pgfault 9\ntotal_pgmajfault 1\n");
    put("memory/k/memory.failcnt", "6\n");
    put("memory/k/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
    put("memory/k/memory.memsw.usage_in_bytes", "1\n");
    put("pids/k/pids.current", "3\n");
    usage_read_group(&root, "/k", true, &u);
    ck_assert_uint_eq(u.cpu_ns, 123456789);
    ck_assert_uint_eq(u.cpu_user_ns, 7u * (1000000000u / (unsigned)sysconf(_SC_CLK_TCK)));
    ck_assert_uint_eq(u.throttled_ns, 99);
    ck_assert_uint_eq(u.working_set_bytes, 600000);
    ck_assert_uint_eq(u.rss_bytes, 600);
    ck_assert_uint_eq(u.memory_limit_bytes, 2000000);
    ck_assert(u.has_swap);
    ck_assert_uint_eq(u.swap_bytes, 44);
    ck_assert_uint_eq(u.swap_limit_bytes, 1000000);
    ck_assert_uint_eq(u.memory_failures, 6);
    ck_assert_uint_eq(u.oom_kills, 2);
    ck_assert_uint_eq(u.processes, 3);
    put("memory/k/memory.stat", "hierarchical_memory_limit 9223372036854771712\n");
    usage_read_group(&root, "/k", false, &u);
    ck_assert(u.memory_limit_bytes == USAGE_UNLIMITED);
    ck_assert(u.swap_limit_bytes == USAGE_UNLIMITED);
}
END_TEST

/* A process may live deeper than its container's cgroup, and v1 has a line for each controller. */
START_TEST(finds_the_group_of_a_container)
{
    AUTO_ARENA *a = arena_new(0);
    struct usage_root v2 = {"/x", true}, v1 = {"/x", false};
    struct str text = STR("5:cpu,cpuacct:/kubepods/poda/abc\n4:memory:/kubepods/podb/abc\n"
                          "0::/kubepods.slice/pod_a.slice/cri-containerd-abc.scope/init.scope\n");
    ck_assert_str_eq(usage_group_of(a, &v2, text, "abc"),
                     "/kubepods.slice/pod_a.slice/cri-containerd-abc.scope");
    ck_assert_str_eq(usage_group_of(a, &v1, text, "abc"), "/kubepods/podb/abc");
    ck_assert_str_eq(usage_group_of(a, &v1, text, "zzz"), "/kubepods/podb/abc");
    ck_assert_ptr_null(usage_group_of(a, &v2, STR("1:name=systemd:/x\n"), "abc"));
    ck_assert_ptr_null(usage_group_of(a, &v2, STR(""), "abc"));
    ck_assert_ptr_null(usage_group_of(a, &v2, STR("0::\n"), "abc"));
}
END_TEST

/* The machine: what is neither free nor an inactive file works. */
START_TEST(reads_the_machine)
{
    struct usage_root root = {dir, true};
    struct usage u;
    put("cpu.stat", "usage_usec 2\nuser_usec 1\nsystem_usec 1\n");
    put("proc/meminfo",
        "MemTotal:       1000 kB\nMemFree:         300 kB\nMemAvailable:    600 kB\n"
        "Cached: 100 kB\nInactive(file):  200 kB\nAnonPages: 50 kB\n"
        "SwapTotal: 40 kB\nSwapFree: 30 kB\n");
    put("proc/vmstat", "pgfault 5\npgmajfault 1\n");
    char proc[80];
    snprintf(proc, sizeof(proc), "%s/proc", dir);
    usage_read_machine(&root, proc, &u);
    ck_assert(u.has_cpu && u.has_memory && u.has_swap);
    ck_assert_uint_eq(u.cpu_ns, 2000);
    ck_assert_uint_eq(u.memory_bytes, 700 * 1024);
    ck_assert_uint_eq(u.working_set_bytes, 500 * 1024);
    ck_assert_uint_eq(u.memory_limit_bytes, 1000 * 1024);
    ck_assert_uint_eq(u.swap_bytes, 10 * 1024);
    ck_assert_uint_eq(u.page_faults, 5);
    put("cpu.stat", "");
    put("proc/stat", "cpu  100 0 50 1000 3 1 1 0 0 0\ncpu0 1 2 3\n");
    usage_read_machine(&root, proc, &u);
    ck_assert_uint_eq(u.cpu_ns, 152u * (1000000000u / (unsigned)sysconf(_SC_CLK_TCK)));
}
END_TEST

START_TEST(reads_interfaces)
{
    AUTO_ARENA *a = arena_new(0);
    size_t n;
    struct usage_interface *list = usage_parse_net_dev(
        a,
        STR("Inter-|   Receive                                                |  Transmit\n"
            " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets\n"
            "    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
            "  eth0: 100 2 3 4 0 0 0 0 200 5 6 7 0 0 0 0\n  bad: 1 2\n"),
        &n);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(list[0].name, "eth0");
    ck_assert_uint_eq(list[0].rx_bytes, 100);
    ck_assert_uint_eq(list[0].rx_dropped, 4);
    ck_assert_uint_eq(list[0].tx_bytes, 200);
    ck_assert_uint_eq(list[0].tx_errors, 6);
    ck_assert_str_eq(usage_default_interface(a, STR("Iface\tDestination\tGateway\n"
                                                    "br0\t000A0A0A\t00000000\n"
                                                    "eth1\t00000000\t0100000A\n")),
                     "eth1");
    ck_assert_ptr_null(usage_default_interface(a, STR("Iface\tDestination\n")));
}
END_TEST

/* A file with two names counts once. */
START_TEST(walks_a_tree)
{
    uint64_t bytes, inodes, bytes2, inodes2;
    char from[128], to[128];
    put("t/sub/file", "0123456789");
    snprintf(from, sizeof(from), "%s/t", dir);
    ck_assert(usage_read_tree(from, 1000, &bytes, &inodes));
    ck_assert_uint_eq(inodes, 3);
    snprintf(from, sizeof(from), "%s/t/sub/file", dir);
    snprintf(to, sizeof(to), "%s/t/link", dir);
    ck_assert_int_eq(link(from, to), 0);
    snprintf(from, sizeof(from), "%s/t", dir);
    ck_assert(usage_read_tree(from, 1000, &bytes2, &inodes2));
    ck_assert_uint_eq(bytes, bytes2);
    ck_assert(!usage_read_tree("/nowhere/at/all", 10, &bytes, &inodes));
}
END_TEST

/* The page that metrics-server reads, to the letter. */
START_TEST(writes_resource_metrics)
{
    struct usage_container c = {.name = "web",
                                .id = "abc",
                                .image = "img",
                                .started_ns = 1500000000250000000,
                                .u = {.time_ns = 1600000000123000000,
                                      .has_cpu = true,
                                      .has_memory = true,
                                      .has_swap = true,
                                      .cpu_ns = 12000345678,
                                      .working_set_bytes = 4096,
                                      .swap_limit_bytes = USAGE_UNLIMITED}};
    struct usage_pod p = {.name = "p",
                          .namespace_name = "ns",
                          .uid = "u",
                          .containers = &c,
                          .container_count = 1,
                          .u = c.u};
    struct usage_view v = {.pods = &p, .pod_count = 1, .node = c.u};
    AUTO_BUF b = BUF_INIT;
    v.node.has_swap = false;
    resource_metrics_write(&v, &b);
    buf_putc(&b, '\0');
    const char *const lines[] = {
        "# TYPE container_cpu_usage_seconds_total counter\n"
        "container_cpu_usage_seconds_total{container=\"web\",namespace=\"ns\",pod=\"p\"} "
        "12.000345678 1600000000123\n",
        "container_memory_working_set_bytes{container=\"web\",namespace=\"ns\",pod=\"p\"} 4096 "
        "1600000000123\n",
        "container_start_time_seconds{container=\"web\",namespace=\"ns\",pod=\"p\"} "
        "1500000000.250000000\n",
        "container_swap_usage_bytes{container=\"web\",namespace=\"ns\",pod=\"p\"} 0 "
        "1600000000123\n",
        "\nnode_cpu_usage_seconds_total 12.000345678 1600000000123\n",
        "\nnode_memory_working_set_bytes 4096 1600000000123\n",
        "pod_cpu_usage_seconds_total{namespace=\"ns\",pod=\"p\"} 12.000345678 1600000000123\n",
        "pod_memory_working_set_bytes{namespace=\"ns\",pod=\"p\"} 4096 1600000000123\n",
        "\nresource_scrape_error 0\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        ck_assert_msg(strstr((const char *)b.data, lines[i]) != NULL, "%s not in\n%s", lines[i],
                      (const char *)b.data);
    ck_assert_ptr_null(strstr((const char *)b.data, "container_swap_limit_bytes{"));
    ck_assert_ptr_null(strstr((const char *)b.data, "node_swap"));
}
END_TEST

START_TEST(writes_cadvisor_metrics)
{
    struct usage u = {.time_ns = 1600000000123000000,
                      .has_cpu = true,
                      .has_memory = true,
                      .cpu_ns = 1000000000,
                      .memory_limit_bytes = 77,
                      .swap_limit_bytes = USAGE_UNLIMITED};
    struct usage_container c = {
        .name = "web", .id = "abc", .image = "img:1", .group = "/k/abc", .u = u};
    struct usage_interface eth = {.name = "eth0", .rx_bytes = 5};
    struct usage_pod p = {.name = "p",
                          .namespace_name = "ns",
                          .group = "/k",
                          .containers = &c,
                          .container_count = 1,
                          .interfaces = &eth,
                          .interface_count = 1,
                          .u = u};
    AUTO_ARENA *a = arena_new(0);
    struct usage_view v = {.arena = a, .pods = &p, .pod_count = 1, .node = u};
    AUTO_BUF b = BUF_INIT;
    cadvisor_metrics_write(&v, 2000, &b);
    buf_putc(&b, '\0');
    const char *const lines[] = {
        "container_cpu_usage_seconds_total{container=\"web\",cpu=\"total\",id=\"/k/abc\","
        "image=\"img:1\",name=\"abc\",namespace=\"ns\",pod=\"p\"} 1.000000000 1600000000123\n",
        "container_cpu_usage_seconds_total{container=\"\",cpu=\"total\",id=\"/k\",image=\"\","
        "name=\"\",namespace=\"ns\",pod=\"p\"} 1.000000000 1600000000123\n",
        "container_cpu_usage_seconds_total{container=\"\",cpu=\"total\",id=\"/\",image=\"\","
        "name=\"\",namespace=\"\",pod=\"\"} 1.000000000 1600000000123\n",
        "container_network_receive_bytes_total{container=\"\",interface=\"eth0\",id=\"/k\",image="
        "\"\",name=\"\",namespace=\"ns\",pod=\"p\"} 5 1600000000123\n",
        "container_spec_memory_limit_bytes{container=\"web\",id=\"/k/abc\",image=\"img:1\",name="
        "\"abc\",namespace=\"ns\",pod=\"p\"} 77\n",
        "\nmachine_cpu_cores 2\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        ck_assert_msg(strstr((const char *)b.data, lines[i]) != NULL, "%s not in\n%s", lines[i],
                      (const char *)b.data);
}
END_TEST

UNIT_MAIN("usage", {
    tcase_add_checked_fixture(tc, setup, teardown);
    UNIT_TEST(reads_cgroup_v2);
    UNIT_TEST(reads_cgroup_v1);
    UNIT_TEST(finds_the_group_of_a_container);
    UNIT_TEST(reads_the_machine);
    UNIT_TEST(reads_interfaces);
    UNIT_TEST(walks_a_tree);
    UNIT_TEST(writes_resource_metrics);
    UNIT_TEST(writes_cadvisor_metrics);
})
