/* machine_topology.c - see machine_topology.h. Files are named in the kernel's
 * Documentation/ABI/stable/sysfs-devices-system-cpu and -node. */
#include "kubelet/machine_topology.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX 65536
#define CACHES_MAX 8
#define PAGE_KIB_MAX (64ll << 20) /* 64 GiB: beyond every architecture's. */

static int read_text(const char *path, struct buf *b, struct error *err)
{
    buf_clear(b);
    return file_read(path, FILE_MAX, b, err);
}

static int read_set(const char *path, struct cpu_set *ret, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    int rc = read_text(path, &b, err);
    if (rc == 0)
        rc = cpu_set_parse(buf_str(&b), ret, err);
    return rc == 0 ? 0 : error_prefix(err, "%s", path);
}

static bool read_number(const char *path, int64_t *ret)
{
    AUTO_BUF b = BUF_INIT;
    return read_text(path, &b, NULL) == 0 && str_to_i64(str_trim(buf_str(&b)), ret);
}

/* The lowest processor that shares something; itself where the kernel does not say. */
static int lowest(const char *path, int cpu)
{
    struct cpu_set s;
    if (read_set(path, &s, NULL) != 0 || !cpu_set_has(&s, cpu))
        return cpu;
    return cpu_set_next(&s, 0);
}

/* Kernels before 5.x call them thread_siblings_list and core_siblings_list, and still do. */
static int place_cache(struct arena *a, const char *dir, int cpu, int socket)
{
    int64_t best = 0;
    int cache = socket;
    for (int i = 0; i < CACHES_MAX; i++) {
        int64_t level;
        if (!read_number(str_c(arena_printf(a, "%s/cache/index%d/level", dir, i)), &level))
            break;
        if (level > best) {
            best = level;
            cache = lowest(str_c(arena_printf(a, "%s/cache/index%d/shared_cpu_list", dir, i)), cpu);
        }
    }
    return best >= 3 ? cache : socket; /* Upstream's uncore cache is the third level's. */
}

static void place_cpu(const char *base, int cpu, struct cpu_place *ret)
{
    AUTO_ARENA *a = arena_new(0);
    const char *dir = str_c(arena_printf(a, "%s/cpu/cpu%d", base, cpu));
    ret->core = lowest(str_c(arena_printf(a, "%s/topology/thread_siblings_list", dir)), cpu);
    ret->socket = lowest(str_c(arena_printf(a, "%s/topology/core_siblings_list", dir)), cpu);
    ret->cache = place_cache(a, dir, cpu, ret->socket);
}

static void count_places(struct machine_topology *t)
{
    t->cpu_count = cpu_set_count(&t->online);
    CPU_SET_FOREACH(cpu, &t->online)
    {
        const struct cpu_place *p = &t->places[cpu];
        t->core_count += p->core == cpu;
        t->socket_count += p->socket == cpu;
        t->cache_count += p->cache == cpu;
    }
}

/* Offline processors must not name a group: the lowest that is online does. */
static void settle_groups(struct machine_topology *t)
{
    for (size_t field = 0; field < 3; field++) {
        int *names = xmalloc(CPU_MAX * sizeof(*names));
        for (int i = 0; i < CPU_MAX; i++)
            names[i] = -1;
        CPU_SET_FOREACH(cpu, &t->online)
        {
            struct cpu_place *p = &t->places[cpu];
            int *group = field == 0 ? &p->core : field == 1 ? &p->socket : &p->cache;
            if (names[*group] < 0)
                names[*group] = cpu;
            *group = names[*group];
        }
        free(names);
    }
}

/* --- NUMA ------------------------------------------------------------------------------------- */

static void add_hugepage_size(struct machine_topology *t, int64_t bytes)
{
    size_t at = 0;
    while (at < t->hugepage_size_count && t->hugepage_bytes[at] < bytes)
        at++;
    if (at < t->hugepage_size_count && t->hugepage_bytes[at] == bytes)
        return;
    if (t->hugepage_size_count == HUGEPAGE_SIZES_MAX)
        return;
    memmove(&t->hugepage_bytes[at + 1], &t->hugepage_bytes[at],
            (t->hugepage_size_count - at) * sizeof(t->hugepage_bytes[0]));
    t->hugepage_bytes[at] = bytes;
    t->hugepage_size_count++;
}

static void find_hugepages(struct machine_topology *t, const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        long long kib;
        if (sscanf(e->d_name, "hugepages-%lldkB", &kib) == 1 && kib > 0 && kib <= PAGE_KIB_MAX)
            add_hugepage_size(t, kib * 1024);
    }
    if (d != NULL)
        closedir(d);
}

static void read_hugepages(struct machine_topology *t, struct arena *a, const char *dir, int node)
{
    for (size_t i = 0; i < t->hugepage_size_count; i++) {
        int64_t count = 0;
        read_number(str_c(arena_printf(a, "%s/hugepages/hugepages-%lldkB/nr_hugepages", dir,
                                       (long long)(t->hugepage_bytes[i] / 1024))),
                    &count);
        t->memory[node].hugepages[i] = count;
    }
}

/* "Node 0 MemTotal:       16384000 kB" */
static void read_memory(struct machine_topology *t, const char *path, int node)
{
    AUTO_BUF b = BUF_INIT;
    long long kib = 0;
    if (read_text(path, &b, NULL) != 0)
        return;
    buf_putc(&b, '\0');
    const char *at = strstr((const char *)b.data, "MemTotal:");
    if (at != NULL && sscanf(at, "MemTotal: %lld", &kib) == 1 && kib > 0 && kib < INT64_MAX / 1024)
        t->memory[node].bytes = kib * 1024;
}

/* "10 21 21": to each node that is online, in ascending order. */
static int read_distances(struct machine_topology *t, const char *path, int node,
                          const struct cpu_set *nodes, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    if (read_text(path, &b, NULL) != 0)
        return 0; /* Not all architectures tell. */
    struct str rest = str_trim(buf_str(&b)), one;
    CPU_SET_FOREACH(other, nodes)
    {
        int64_t distance;
        str_cut(rest, ' ', &one, &rest);
        if (!str_to_i64(one, &distance) || distance < 0 || distance > UINT8_MAX)
            return error_set(err, E_INVALID, "%s: '" STR_FMT "' is not a distance", path,
                             STR_ARG(one));
        t->numa.distance[node][other] = (uint8_t)distance;
    }
    return 0;
}

static int read_node(struct machine_topology *t, const char *base, int node,
                     const struct cpu_set *nodes, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct cpu_set cpus;
    const char *dir = str_c(arena_printf(a, "%s/node/node%d", base, node));
    int rc = read_set(str_c(arena_printf(a, "%s/cpulist", dir)), &cpus, err);
    if (rc != 0)
        return rc;
    t->numa.nodes |= (numa_mask)1 << node;
    CPU_SET_FOREACH(cpu, &cpus)
    {
        if (cpu_set_has(&t->online, cpu))
            t->places[cpu].numa = node;
    }
    read_memory(t, str_c(arena_printf(a, "%s/meminfo", dir)), node);
    read_hugepages(t, a, dir, node);
    return read_distances(t, str_c(arena_printf(a, "%s/distance", dir)), node, nodes, err);
}

/* All of it is one node. */
static void read_flat(struct machine_topology *t, const char *root, int64_t memory_bytes)
{
    AUTO_ARENA *a = arena_new(0);
    t->numa.nodes = 1;
    t->numa.distance[0][0] = 10;
    t->memory[0].bytes = memory_bytes;
    const char *mm = str_c(arena_printf(a, "%s/sys/kernel/mm", root));
    find_hugepages(t, str_c(arena_printf(a, "%s/hugepages", mm)));
    read_hugepages(t, a, mm, 0);
}

static int read_numa(struct machine_topology *t, const char *root, const char *base,
                     int64_t memory_bytes, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct cpu_set nodes;
    const char *path = str_c(arena_printf(a, "%s/node/online", base));
    int rc = read_set(path, &nodes, NULL);
    if (rc != 0 || cpu_set_is_empty(&nodes)) {
        read_flat(t, root, memory_bytes);
        return 0;
    }
    rc = 0;
    CPU_SET_FOREACH(node, &nodes)
    {
        if (node >= NUMA_NODE_MAX)
            return error_set(err, E_INVALID, "%s: NUMA node %d is above %d", path, node,
                             NUMA_NODE_MAX - 1);
        find_hugepages(t, str_c(arena_printf(a, "%s/node/node%d/hugepages", base, node)));
    }
    CPU_SET_FOREACH(node, &nodes)
    {
        if (rc == 0)
            rc = read_node(t, base, node, &nodes, err);
    }
    return rc;
}

/* --- all -------------------------------------------------------------------------------------- */

int machine_topology_read(const char *root, int64_t memory_bytes, struct machine_topology *ret,
                          struct error *err)
{
    struct machine_topology t = {0};
    AUTO_FREE char *base = xasprintf("%s/sys/devices/system", root);
    AUTO_FREE char *online = xasprintf("%s/cpu/online", base);
    int rc = read_set(online, &t.online, err);
    if (rc == 0 && cpu_set_is_empty(&t.online))
        rc = error_set(err, E_INVALID, "%s names no processor", online);
    if (rc != 0)
        return rc;
    t.places = xzalloc(CPU_MAX * sizeof(*t.places));
    CPU_SET_FOREACH(cpu, &t.online)
    {
        place_cpu(base, cpu, &t.places[cpu]);
    }
    settle_groups(&t);
    count_places(&t);
    rc = read_numa(&t, root, base, memory_bytes, err);
    if (rc == 0)
        *ret = t;
    else
        machine_topology_done(&t);
    return rc;
}

void machine_topology_done(struct machine_topology *t)
{
    free(t->places);
    t->places = NULL;
}

struct cpu_set machine_cpus_of(const struct machine_topology *t, numa_mask nodes)
{
    struct cpu_set s = {0};
    CPU_SET_FOREACH(cpu, &t->online)
    {
        if ((nodes >> t->places[cpu].numa & 1) != 0)
            cpu_set_add(&s, cpu);
    }
    return s;
}

struct cpu_set machine_with_siblings(const struct machine_topology *t, const struct cpu_set *s)
{
    struct cpu_set cores = {0}, all = {0};
    CPU_SET_FOREACH(cpu, s)
    {
        cpu_set_add(&cores, t->places[cpu].core);
    }
    CPU_SET_FOREACH(cpu, &t->online)
    {
        if (cpu_set_has(&cores, t->places[cpu].core))
            cpu_set_add(&all, cpu);
    }
    return all;
}

numa_mask machine_numa_of(const struct machine_topology *t, const struct cpu_set *s)
{
    numa_mask m = 0;
    CPU_SET_FOREACH(cpu, s)
    {
        m |= (numa_mask)1 << t->places[cpu].numa;
    }
    return m;
}

int machine_cpus_per_core(const struct machine_topology *t)
{
    return t->core_count > 0 ? MAX_OF(t->cpu_count / t->core_count, 1) : 1;
}
