/* load_stats.c - see load_stats.h. */
#include "test/bench/load_stats.h"

#include "lib/base/base.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void load_times_add(struct load_times *t, uint64_t ns)
{
    uint64_t us = ns / 1000;
    if (t->count == t->cap) {
        t->cap = t->cap != 0 ? t->cap * 2 : 65536;
        t->us = xrealloc(t->us, t->cap * sizeof(*t->us));
    }
    t->us[t->count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    t->max_us = MAX_OF(t->max_us, t->us[t->count - 1]);
}

void load_times_done(struct load_times *t)
{
    free(t->us);
    *t = (struct load_times){0};
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

double load_times_ms(struct load_times *t, unsigned per_mille)
{
    if (t->count == 0)
        return 0;
    qsort(t->us, t->count, sizeof(*t->us), by_value);
    return t->us[MIN_OF(t->count * per_mille / 1000, t->count - 1)] / 1e3;
}

/* utime and stime stand 12 and 13 fields behind the name, which may hold anything. */
static double cpu_of(int pid)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *p = strrchr(text, ')');
    if (p == NULL ||
        sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t rss_of(int pid)
{
    char path[64];
    unsigned long all = 0, resident = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%lu %lu", &all, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

struct load_usage load_usage_of(const char *pids)
{
    struct load_usage u = {0};
    for (const char *p = pids; *p != '\0'; p += strcspn(p, ","), p += *p == ',') {
        uint64_t rss = rss_of(atoi(p));
        u.cpu_s += cpu_of(atoi(p));
        u.rss_kib += rss;
        u.rss_max_kib = MAX_OF(u.rss_max_kib, rss);
    }
    return u;
}
