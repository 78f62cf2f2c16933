/* usage.c - see usage.h. */
#include "kubelet/usage.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define CGROUP2_MAGIC 0x63677270
#define FILE_BYTES_MAX 16384u
#define PATH_BYTES_MAX 4096u
#define TREE_DEPTH_MAX 64

/* v1 says "no limit" by a number near the greatest one, rounded to pages. */
#define V1_UNLIMITED (1ull << 62)

struct reader {
    int dir;
    char text[FILE_BYTES_MAX];
};

struct usage_root usage_root_find(const char *path)
{
    struct statfs fs;
    return (struct usage_root){.path = path,
                               .v2 = statfs(path, &fs) == 0 && fs.f_type == CGROUP2_MAGIC};
}

/* --- files of numbers --------------------------------------------------------------------- */
static bool open_group(struct reader *r, const struct usage_root *root, const char *controller,
                       const char *group)
{
    char path[PATH_BYTES_MAX];
    int n = root->v2 ? snprintf(path, sizeof(path), "%s%s", root->path, group)
                     : snprintf(path, sizeof(path), "%s/%s%s", root->path, controller, group);
    r->dir = n < (int)sizeof(path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return r->dir >= 0;
}

static void close_group(struct reader *r)
{
    close(r->dir);
}

/* What does not fit is left out: the fields wanted stand before it. */
static bool read_file(struct reader *r, const char *name, struct str *ret)
{
    int fd = openat(r->dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t have = 0;
    for (ssize_t n = 1; n > 0 && have<sizeof(r->text); have += n> 0 ? (size_t)n : 0)
        n = read(fd, r->text + have, sizeof(r->text) - have);
    close(fd);
    *ret = str_n(r->text, have);
    return have != 0;
}

/* A number, or "max". */
static bool read_number(struct reader *r, const char *name, uint64_t *ret)
{
    struct str text;
    if (!read_file(r, name, &text))
        return false;
    text = str_trim(text);
    if (str_eqc(text, "max")) {
        *ret = USAGE_UNLIMITED;
        return true;
    }
    return str_to_u64(text, ret);
}

struct field {
    const char *name;
    uint64_t *value;
};

/* Lines "name number". True: the file is there. */
static bool read_fields(struct reader *r, const char *file, const struct field *fields,
                        size_t count)
{
    struct str rest, line, name, value;
    if (!read_file(r, file, &rest))
        return false;
    for (bool more = true; more;) {
        more = str_cut(rest, '\n', &line, &rest);
        if (!str_cut(line, ' ', &name, &value))
            continue;
        for (size_t i = 0; i < count; i++)
            if (str_eqc(name, fields[i].name))
                (void)str_to_u64(str_trim(value), fields[i].value);
    }
    return true;
}

/* --- groups -------------------------------------------------------------------------------- */
static void set_working_set(struct usage *u, uint64_t inactive_file)
{
    u->working_set_bytes = u->memory_bytes > inactive_file ? u->memory_bytes - inactive_file : 0;
}

/* io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 ..." for each device. */
static bool read_io(struct reader *r, struct usage *u)
{
    struct str rest, line, word;
    const struct field fields[] = {{"rbytes", &u->read_bytes},
                                   {"wbytes", &u->written_bytes},
                                   {"rios", &u->reads},
                                   {"wios", &u->writes}};
    if (!read_file(r, "io.stat", &rest))
        return false;
    for (bool more = true; more;) {
        more = str_cut(rest, '\n', &line, &rest);
        for (bool words = true; words;) {
            struct str name, value;
            uint64_t n;
            words = str_cut(line, ' ', &word, &line);
            if (!str_cut(word, '=', &name, &value) || !str_to_u64(value, &n))
                continue;
            for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                if (str_eqc(name, fields[i].name))
                    *fields[i].value += n;
        }
    }
    return true;
}

static void read_v2(const struct usage_root *root, const char *group, bool all, struct usage *u)
{
    struct reader r;
    uint64_t usage_us = 0, user_us = 0, system_us = 0, throttled_us = 0, inactive = 0;
    const struct field cpu[] = {{"usage_usec", &usage_us},
                                {"user_usec", &user_us},
                                {"system_usec", &system_us},
                                {"nr_periods", &u->periods},
                                {"nr_throttled", &u->throttled_periods},
                                {"throttled_usec", &throttled_us}};
    const struct field memory[] = {
        {"anon", &u->rss_bytes},           {"file", &u->cache_bytes},
        {"file_mapped", &u->mapped_bytes}, {"inactive_file", &inactive},
        {"pgfault", &u->page_faults},      {"pgmajfault", &u->major_page_faults}};
    const struct field events[] = {{"max", &u->memory_failures}, {"oom_kill", &u->oom_kills}};
    if (!open_group(&r, root, NULL, group))
        return;
    u->has_cpu = read_fields(&r, "cpu.stat", cpu, ARRAY_SIZE(cpu));
    u->cpu_ns = usage_us * 1000;
    u->cpu_user_ns = user_us * 1000;
    u->cpu_system_ns = system_us * 1000;
    u->throttled_ns = throttled_us * 1000;
    u->has_cfs = u->has_cpu && u->periods != 0;
    u->has_memory = read_number(&r, "memory.current", &u->memory_bytes) &&
                    read_fields(&r, "memory.stat", memory, ARRAY_SIZE(memory));
    set_working_set(u, inactive);
    if (!read_number(&r, "memory.max", &u->memory_limit_bytes))
        u->memory_limit_bytes = USAGE_UNLIMITED;
    u->has_swap = read_number(&r, "memory.swap.current", &u->swap_bytes);
    if (!u->has_swap || !read_number(&r, "memory.swap.max", &u->swap_limit_bytes))
        u->swap_limit_bytes = USAGE_UNLIMITED;
    if (all) {
        (void)read_fields(&r, "memory.events", events, ARRAY_SIZE(events));
        u->has_pids = read_number(&r, "pids.current", &u->processes);
        u->has_io = read_io(&r, u);
    }
    close_group(&r);
}

static void read_v1_cpu(const struct usage_root *root, const char *group, bool all, struct usage *u)
{
    struct reader r;
    uint64_t user = 0, system = 0;
    uint64_t tick_ns = 1000000000u / (uint64_t)MAX_OF(sysconf(_SC_CLK_TCK), 1);
    const struct field stat[] = {{"user", &user}, {"system", &system}};
    const struct field cfs[] = {{"nr_periods", &u->periods},
                                {"nr_throttled", &u->throttled_periods},
                                {"throttled_time", &u->throttled_ns}};
    if (open_group(&r, root, "cpuacct", group)) {
        u->has_cpu = read_number(&r, "cpuacct.usage", &u->cpu_ns);
        if (all && read_fields(&r, "cpuacct.stat", stat, ARRAY_SIZE(stat))) {
            u->cpu_user_ns = user * tick_ns;
            u->cpu_system_ns = system * tick_ns;
        }
        close_group(&r);
    }
    if (all && open_group(&r, root, "cpu", group)) {
        (void)read_fields(&r, "cpu.stat", cfs, ARRAY_SIZE(cfs));
        u->has_cfs = u->periods != 0;
        close_group(&r);
    }
}

static void read_v1_memory(const struct usage_root *root, const char *group, bool all,
                           struct usage *u)
{
    struct reader r;
    uint64_t inactive = 0, limit = V1_UNLIMITED, both = V1_UNLIMITED;
    const struct field memory[] = {
        {"total_rss", &u->rss_bytes},
        {"total_cache", &u->cache_bytes},
        {"total_mapped_file", &u->mapped_bytes},
        {"total_inactive_file", &inactive},
        {"total_pgfault", &u->page_faults},
        {"total_pgmajfault", &u->major_page_faults},
        {"total_swap", &u->swap_bytes},
        {"hierarchical_memory_limit", &limit},
        {"hierarchical_memsw_limit", &both},
    };
    const struct field oom[] = {{"oom_kill", &u->oom_kills}};
    if (!open_group(&r, root, "memory", group))
        return;
    u->has_memory = read_number(&r, "memory.usage_in_bytes", &u->memory_bytes) &&
                    read_fields(&r, "memory.stat", memory, ARRAY_SIZE(memory));
    set_working_set(u, inactive);
    u->has_swap = u->has_memory && faccessat(r.dir, "memory.memsw.usage_in_bytes", F_OK, 0) == 0;
    u->memory_limit_bytes = limit >= V1_UNLIMITED ? USAGE_UNLIMITED : limit;
    u->swap_limit_bytes = both >= V1_UNLIMITED || limit >= V1_UNLIMITED ? USAGE_UNLIMITED
                          : both > limit                                ? both - limit
                                                                        : 0;
    if (all) {
        (void)read_number(&r, "memory.failcnt", &u->memory_failures);
        (void)read_fields(&r, "memory.oom_control", oom, ARRAY_SIZE(oom));
    }
    close_group(&r);
}

static int64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void usage_read_group(const struct usage_root *root, const char *group, bool all, struct usage *ret)
{
    struct reader r;
    *ret = (struct usage){.time_ns = wall_ns(),
                          .memory_limit_bytes = USAGE_UNLIMITED,
                          .swap_limit_bytes = USAGE_UNLIMITED};
    if (root->v2) {
        read_v2(root, group, all, ret);
        return;
    }
    read_v1_cpu(root, group, all, ret);
    read_v1_memory(root, group, all, ret);
    if (all && open_group(&r, root, "pids", group)) {
        ret->has_pids = read_number(&r, "pids.current", &ret->processes);
        close_group(&r);
    }
}

/* --- /proc ------------------------------------------------------------------------------------ */
/* Lines "ID:CONTROLLERS:PATH". */
const char *usage_group_of(struct arena *a, const struct usage_root *r, struct str proc_cgroup,
                           const char *container_id)
{
    struct str rest = proc_cgroup, line, id, controllers, path = STR_NULL;
    for (bool more = true; more && path.len == 0;) {
        struct str tail;
        more = str_cut(rest, '\n', &line, &rest);
        if (!str_cut(line, ':', &id, &tail) || !str_cut(tail, ':', &controllers, &tail))
            continue;
        if (r->v2 ? controllers.len == 0 : str_eqc(controllers, "memory"))
            path = tail;
    }
    if (path.len == 0 || path.data[0] != '/')
        return NULL;
    ptrdiff_t at = str_find_str(path, str_of(container_id));
    ptrdiff_t end = at >= 0 ? str_find(path, '/', (size_t)at) : -1;
    return str_c(arena_str(a, end >= 0 ? str_sub(path, 0, (size_t)end) : path));
}

static uint64_t meminfo(struct str text, const char *name)
{
    struct str rest = text, line, key, value;
    uint64_t kib = 0;
    for (bool more = true; more;) {
        more = str_cut(rest, '\n', &line, &rest);
        if (!str_cut(line, ':', &key, &value) || !str_eqc(key, name))
            continue;
        (void)str_cut(str_trim(value), ' ', &value, &line);
        (void)str_to_u64(value, &kib);
        break;
    }
    return kib * 1024;
}

static void read_vmstat(struct reader *r, struct usage *u)
{
    const struct field fields[] = {{"pgfault", &u->page_faults},
                                   {"pgmajfault", &u->major_page_faults},
                                   {"oom_kill", &u->oom_kills}};
    (void)read_fields(r, "vmstat", fields, ARRAY_SIZE(fields));
}

/* The first line of /proc/stat, for machines whose cgroups do not account: user, nice, system,
 * idle, iowait, irq, softirq in ticks. */
static void read_proc_stat(struct reader *r, struct usage *u)
{
    struct str text;
    unsigned long long t[7] = {0};
    uint64_t tick_ns = 1000000000u / (uint64_t)MAX_OF(sysconf(_SC_CLK_TCK), 1);
    if (!read_file(r, "stat", &text))
        return;
    r->text[MIN_OF(text.len, sizeof(r->text) - 1)] = '\0';
    if (sscanf(r->text, "cpu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4],
               &t[5], &t[6]) != 7)
        return;
    u->has_cpu = true;
    u->cpu_user_ns = (t[0] + t[1]) * tick_ns;
    u->cpu_system_ns = (t[2] + t[5] + t[6]) * tick_ns;
    u->cpu_ns = u->cpu_user_ns + u->cpu_system_ns;
}

void usage_read_machine(const struct usage_root *root, const char *proc, struct usage *ret)
{
    struct reader r = {.dir = open(proc, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    struct str text;
    struct usage group;
    usage_read_group(root, "", false, &group);
    *ret = (struct usage){.time_ns = group.time_ns,
                          .has_cpu = group.has_cpu,
                          .cpu_ns = group.cpu_ns,
                          .cpu_user_ns = group.cpu_user_ns,
                          .cpu_system_ns = group.cpu_system_ns,
                          .memory_limit_bytes = USAGE_UNLIMITED,
                          .swap_limit_bytes = USAGE_UNLIMITED};
    if (r.dir < 0)
        return;
    if (!ret->has_cpu)
        read_proc_stat(&r, ret);
    if (read_file(&r, "meminfo", &text)) {
        uint64_t total = meminfo(text, "MemTotal"), unused = meminfo(text, "MemFree");
        uint64_t swap = meminfo(text, "SwapTotal");
        ret->has_memory = total != 0;
        ret->memory_limit_bytes = total;
        ret->memory_bytes = total > unused ? total - unused : 0;
        ret->rss_bytes = meminfo(text, "AnonPages");
        ret->cache_bytes = meminfo(text, "Cached");
        ret->mapped_bytes = meminfo(text, "Mapped");
        set_working_set(ret, meminfo(text, "Inactive(file)"));
        ret->has_swap = true;
        ret->swap_limit_bytes = swap;
        ret->swap_bytes = swap - MIN_OF(swap, meminfo(text, "SwapFree"));
    }
    read_vmstat(&r, ret);
    close(r.dir);
}

/* Two lines of headings, then "eth0: rx_bytes packets errs drop fifo frame compressed multicast
 * tx_bytes packets errs drop ...". */
struct usage_interface *usage_parse_net_dev(struct arena *a, struct str text, size_t *ret_count)
{
    struct usage_interface *list = NULL;
    struct str rest = text, line, name, numbers;
    size_t cap = 0, count = 0;
    for (bool more = true; more;) {
        unsigned long long v[12];
        more = str_cut(rest, '\n', &line, &rest);
        if (!str_cut(line, ':', &name, &numbers) || str_eqc(str_trim(name), "lo"))
            continue;
        if (sscanf(str_c(arena_str(a, numbers)),
                   "%llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1],
                   &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10], &v[11]) != 12)
            continue;
        list = arena_grow(a, list, count, &cap, sizeof(*list));
        list[count++] = (struct usage_interface){
            .name = str_c(arena_str(a, str_trim(name))),
            .rx_bytes = v[0],
            .rx_packets = v[1],
            .rx_errors = v[2],
            .rx_dropped = v[3],
            .tx_bytes = v[8],
            .tx_packets = v[9],
            .tx_errors = v[10],
            .tx_dropped = v[11],
        };
    }
    *ret_count = count;
    return list;
}

const char *usage_default_interface(struct arena *a, struct str route_text)
{
    struct str rest = route_text, line, name, tail, destination;
    for (bool more = true; more;) {
        more = str_cut(rest, '\n', &line, &rest);
        if (str_cut(line, '\t', &name, &tail) && str_cut(tail, '\t', &destination, &tail) &&
            str_eqc(destination, "00000000"))
            return str_c(arena_str(a, str_trim(name)));
    }
    return NULL;
}

/* --- trees -------------------------------------------------------------------------------------
 */
struct tree {
    dev_t device;
    size_t left;
    uint64_t bytes, inodes;
};

static void count_entry(struct tree *t, const struct stat *s)
{
    /* Each of n links has an n-th of the file. */
    uint64_t links = s->st_nlink > 1 && !S_ISDIR(s->st_mode) ? (uint64_t)s->st_nlink : 1;
    t->bytes += (uint64_t)s->st_blocks * 512 / links;
    t->inodes++;
}

static void walk(struct tree *t, int fd, int depth)
{
    DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return;
    }
    for (struct dirent *e; t->left > 0 && (e = readdir(d)) != NULL;) {
        struct stat s;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(d), e->d_name, &s, AT_SYMLINK_NOFOLLOW) != 0 || s.st_dev != t->device)
            continue;
        t->left--;
        count_entry(t, &s);
        if (!S_ISDIR(s.st_mode) || depth >= TREE_DEPTH_MAX)
            continue;
        int sub = openat(dirfd(d), e->d_name,
                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (sub >= 0)
            walk(t, sub, depth + 1);
    }
    closedir(d);
}

bool usage_read_tree(const char *path, size_t entries_max, uint64_t *ret_bytes,
                     uint64_t *ret_inodes)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &s) != 0) {
        close(fd);
        return false;
    }
    struct tree t = {.device = s.st_dev, .left = entries_max};
    count_entry(&t, &s);
    walk(&t, fd, 0);
    *ret_bytes = t.bytes;
    *ret_inodes = t.inodes;
    return true;
}
