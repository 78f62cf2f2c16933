/* log.c - see log.h. */
#include "lib/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 4096

static const char *log_component = "trireme";
static enum log_level log_min = LOG_INFO;

void log_setup(const char *component, enum log_level min_level)
{
    log_component = component;
    log_min = min_level;
}

bool log_enabled(enum log_level level)
{
    return level >= log_min;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    char line[LOG_LINE_MAX];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    int n = snprintf(line, sizeof(line), "%c%02d%02d %02d:%02d:%02d.%06ld %s ", "DIWE"[level],
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000,
                     log_component);
    size_t len = MIN_OF((size_t)n, sizeof(line) - 2);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
    va_end(ap);
    if (m > 0)
        len += MIN_OF((size_t)m, sizeof(line) - len - 2);
    /* What came from outside must not forge a line of its own. */
    for (size_t i = 0; i < len; i++)
        if (line[i] == '\n' || line[i] == '\r')
            line[i] = ' ';
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* Nowhere left to say it. */
}
