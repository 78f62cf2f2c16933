/* log.h - leveled log lines on stderr. Thread-safe; one write(2) per line.
 *
 *   I1121 23:48:58.123456 apiserver serving on https://127.0.0.1:6443
 *
 * Expected outcomes are never logged; an error is logged once, at the edge. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "lib/base/base.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

/* Call once, before threads start. component is borrowed for ever. */
void log_setup(const char *component, enum log_level min_level);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_enabled(LOG_DEBUG))                                                                \
            log_line(LOG_DEBUG, __VA_ARGS__);                                                      \
    } while (0)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
