/* metrics_process.c - the process metrics every Prometheus client has; Linux's
 * /proc is where they come from. */
#include "lib/base/metrics.h"

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/version.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct process_metrics {
    struct metric *cpu, *resident, *virtual_size, *start, *fds, *fds_max;
    pthread_mutex_t lock; /* CPU time is a counter: two renderings must not add it twice. */
};

static size_t process_fd_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return 0;
    size_t count = 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        count += e->d_name[0] != '.';
    closedir(dir);
    return count > 0 ? count - 1 : 0; /* Without the folder's own. */
}

static double process_start_seconds(void)
{
    AUTO_BUF b = BUF_INIT;
    if (file_read("/proc/self/stat", 8192, &b, NULL) < 0)
        return 0;
    buf_putc(&b, '\0');
    /* Field 22, counted behind the command's closing parenthesis (field 2). */
    const char *p = strrchr((const char *)b.data, ')');
    for (int field = 2; p != NULL && field < 22; field++)
        p = strchr(p + 1, ' ');
    struct timespec wall, up;
    if (p == NULL || clock_gettime(CLOCK_REALTIME, &wall) < 0 ||
        clock_gettime(CLOCK_BOOTTIME, &up) < 0)
        return 0;
    double boot = (double)(wall.tv_sec - up.tv_sec) + (double)(wall.tv_nsec - up.tv_nsec) / 1e9;
    return boot + (double)strtoull(p, NULL, 10) / (double)sysconf(_SC_CLK_TCK);
}

static void process_metrics_render(void *arg)
{
    struct process_metrics *p = arg;
    struct timespec cpu;
    pthread_mutex_lock(&p->lock);
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
        double seconds = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
        double grown = seconds - metric_value(p->cpu);
        metric_add(p->cpu, grown > 0 ? grown : 0);
    }
    pthread_mutex_unlock(&p->lock);
    AUTO_BUF b = BUF_INIT;
    unsigned long pages_virtual = 0, pages_resident = 0;
    if (file_read("/proc/self/statm", 4096, &b, NULL) == 0) {
        buf_putc(&b, '\0');
        char *end = NULL;
        pages_virtual = strtoul((const char *)b.data, &end, 10);
        pages_resident = strtoul(end, NULL, 10);
    }
    double page = (double)sysconf(_SC_PAGESIZE);
    metric_set(p->virtual_size, (double)pages_virtual * page);
    metric_set(p->resident, (double)pages_resident * page);
    metric_set(p->fds, (double)process_fd_count());
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metric_set(p->fds_max, (double)limit.rlim_cur);
}

static void tell_build(struct metrics *m)
{
    metric_set(
        METRIC_OF(
            metric_gauge(m, "kubernetes_build_info", "1, with what was built as labels.",
                         METRIC_LABELS("build_date", "compiler", "git_commit", "git_tree_state",
                                       "git_version", "go_version", "major", "minor", "platform")),
            STR("1970-01-01T00:00:00Z"), STR("gcc"), STR(""), STR(""),
            STR(KUBERNETES_VERSION "+trireme"), STR(""), STR("1"), STR("36"), STR("linux/amd64")),
        1);
}

/* Lives as long as the process: registries are not freed outside of tests. */
static struct process_metrics process = {.lock = PTHREAD_MUTEX_INITIALIZER};

void metrics_add_process(struct metrics *m)
{
    process.cpu = metric_single(metric_counter(
        m, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", NULL));
    process.resident = metric_single(
        metric_gauge(m, "process_resident_memory_bytes", "Resident memory size in bytes.", NULL));
    process.virtual_size = metric_single(
        metric_gauge(m, "process_virtual_memory_bytes", "Virtual memory size in bytes.", NULL));
    process.start =
        metric_single(metric_gauge(m, "process_start_time_seconds",
                                   "Start time of the process since unix epoch in seconds.", NULL));
    process.fds = metric_single(
        metric_gauge(m, "process_open_fds", "Number of open file descriptors.", NULL));
    process.fds_max = metric_single(
        metric_gauge(m, "process_max_fds", "Maximum number of open file descriptors.", NULL));
    metric_set(process.start, process_start_seconds());
    tell_build(m);
    metrics_on_render(m, process_metrics_render, &process);
}
