/* test_machine_topology.c - machines as sysfs tells of them, made up in a folder. */
#include "kubelet/machine_topology.h"

#include "lib/base/arena.h"
#include "lib/base/file.h"
#include "test/unit/unit.h"

#include <string.h>
#include <unistd.h>

static char root[] = "/tmp/trireme-sysfs-XXXXXX";

static void put(const char *path, const char *text)
{
    AUTO_FREE char *full = xasprintf("%s/sys/devices/system/%s", root, path);
    AUTO_FREE char *folder = xstrdup(full);
    struct error err;
    *strrchr(folder, '/') = '\0';
    ck_assert_int_eq(file_mkdir_p(folder, 0755, &err), 0);
    ck_assert_msg(file_write_atomic(full, text, strlen(text), 0644, &err) == 0, "%s",
                  error_message(&err));
}

static void put_cpu(int cpu, const char *core, const char *socket, const char *cache)
{
    AUTO_ARENA *a = arena_new(0);
    const char *dir = str_c(arena_printf(a, "cpu/cpu%d", cpu));
    put(str_c(arena_printf(a, "%s/topology/thread_siblings_list", dir)), core);
    put(str_c(arena_printf(a, "%s/topology/core_siblings_list", dir)), socket);
    put(str_c(arena_printf(a, "%s/cache/index0/level", dir)), "1\n");
    put(str_c(arena_printf(a, "%s/cache/index0/shared_cpu_list", dir)), core);
    if (cache == NULL)
        return;
    put(str_c(arena_printf(a, "%s/cache/index1/level", dir)), "3\n");
    put(str_c(arena_printf(a, "%s/cache/index1/shared_cpu_list", dir)), cache);
}

static void begin(void)
{
    memcpy(root + strlen(root) - 6, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void end(struct machine_topology *t)
{
    AUTO_FREE char *command = xasprintf("rm -rf %s", root);
    machine_topology_done(t);
    ck_assert_int_eq(system(command), 0);
}

static const char *text(const struct cpu_set *s)
{
    static struct arena *a;
    if (a == NULL)
        a = arena_new(0);
    return cpu_set_text(s, a);
}

/* Two sockets with a NUMA node each, two threads a core, one processor offline; huge pages and
 * distances. */
START_TEST(test_two_sockets)
{
    struct machine_topology t = {0};
    struct error err;
    begin();
    put("cpu/online", "0-6\n");
    put_cpu(0, "0,4\n", "0-1,4-5\n", "0-1,4-5\n");
    put_cpu(1, "1,5\n", "0-1,4-5\n", "0-1,4-5\n");
    put_cpu(2, "2,6\n", "2-3,6-7\n", "2-3,6-7\n");
    put_cpu(3, "3,7\n", "2-3,6-7\n", "2-3,6-7\n");
    put_cpu(4, "0,4\n", "0-1,4-5\n", "0-1,4-5\n");
    put_cpu(5, "1,5\n", "0-1,4-5\n", "0-1,4-5\n");
    put_cpu(6, "2,6\n", "2-3,6-7\n", "2-3,6-7\n");
    put("node/online", "0,2\n");
    put("node/node0/cpulist", "0-1,4-5\n");
    put("node/node2/cpulist", "2-3,6-7\n");
    put("node/node0/distance", "10 21\n");
    put("node/node2/distance", "21 10\n");
    put("node/node0/meminfo", "Node 0 MemTotal:       1048576 kB\nNode 0 MemFree: 5 kB\n");
    put("node/node2/meminfo", "Node 2 MemTotal:       2097152 kB\n");
    put("node/node0/hugepages/hugepages-2048kB/nr_hugepages", "16\n");
    put("node/node0/hugepages/hugepages-1048576kB/nr_hugepages", "1\n");
    put("node/node2/hugepages/hugepages-2048kB/nr_hugepages", "32\n");
    ck_assert_msg(machine_topology_read(root, 0, &t, &err) == 0, "%s", error_message(&err));
    ck_assert_str_eq(text(&t.online), "0-6");
    ck_assert_int_eq(t.cpu_count, 7);
    ck_assert_int_eq(t.core_count, 4);
    ck_assert_int_eq(t.socket_count, 2);
    ck_assert_int_eq(t.cache_count, 2);
    ck_assert_uint_eq(t.numa.nodes, 5);
    ck_assert_int_eq(t.places[6].numa, 2);
    ck_assert_int_eq(t.places[6].core, 2);
    ck_assert_int_eq(t.places[5].socket, 0);
    ck_assert_int_eq(t.numa.distance[0][2], 21);
    ck_assert_int_eq(t.numa.distance[2][2], 10);
    ck_assert_int_eq(t.memory[2].bytes, 2ll << 30);
    ck_assert_uint_eq(t.hugepage_size_count, 2);
    ck_assert_int_eq(t.hugepage_bytes[0], 2 << 20);
    ck_assert_int_eq(t.memory[0].hugepages[1], 1);
    ck_assert_int_eq(t.memory[2].hugepages[0], 32);
    struct cpu_set s = machine_cpus_of(&t, 4), one = {0};
    ck_assert_str_eq(text(&s), "2-3,6");
    cpu_set_add(&one, 5);
    s = machine_with_siblings(&t, &one);
    ck_assert_str_eq(text(&s), "1,5");
    end(&t);
}
END_TEST

/* Kernels without NUMA, and virtual machines that tell of no caches, are one node and a cache for
 * each socket. A core whose first thread is offline is named by the other. */
START_TEST(test_flat)
{
    struct machine_topology t = {0};
    struct error err;
    begin();
    put("cpu/online", "0,3\n");
    put_cpu(0, "0\n", "0-3\n", NULL);
    put_cpu(3, "2-3\n", "0-3\n", NULL);
    ck_assert_int_eq(machine_topology_read(root, 4096, &t, &err), 0);
    ck_assert_uint_eq(t.numa.nodes, 1);
    ck_assert_int_eq(t.memory[0].bytes, 4096);
    ck_assert_int_eq(t.core_count, 2);
    ck_assert_int_eq(t.places[3].core, 3);
    ck_assert_int_eq(t.cache_count, 1);
    ck_assert_int_eq(t.places[3].cache, 0);
    end(&t);
}
END_TEST

/* What is not there, or makes no sense, is named. */
START_TEST(test_errors)
{
    struct machine_topology t = {0};
    struct error err;
    begin();
    ck_assert_int_ne(machine_topology_read(root, 0, &t, &err), 0);
    put("cpu/online", "0-x\n");
    ck_assert_int_ne(machine_topology_read(root, 0, &t, &err), 0);
    ck_assert_msg(strstr(error_message(&err), "cpu/online") != NULL, "%s", error_message(&err));
    put("cpu/online", "0\n");
    put("node/online", "64\n");
    ck_assert_int_ne(machine_topology_read(root, 0, &t, &err), 0);
    ck_assert_msg(strstr(error_message(&err), "NUMA node 64") != NULL, "%s", error_message(&err));
    put("node/online", "0\n");
    put("node/node0/cpulist", "0\n");
    put("node/node0/distance", "far\n");
    ck_assert_int_ne(machine_topology_read(root, 0, &t, &err), 0);
    ck_assert_msg(strstr(error_message(&err), "'far'") != NULL, "%s", error_message(&err));
    end(&t);
}
END_TEST

/* This machine can be read, whatever it is. */
START_TEST(test_this_machine)
{
    struct machine_topology t = {0};
    struct error err;
    ck_assert_msg(machine_topology_read("", 1 << 30, &t, &err) == 0, "%s", error_message(&err));
    ck_assert_int_ge(t.cpu_count, 1);
    ck_assert_int_ge(t.core_count, 1);
    ck_assert(t.numa.nodes != 0);
    machine_topology_done(&t);
}
END_TEST

UNIT_MAIN("machine_topology", {
    UNIT_TEST(test_two_sockets);
    UNIT_TEST(test_flat);
    UNIT_TEST(test_errors);
    UNIT_TEST(test_this_machine);
})
