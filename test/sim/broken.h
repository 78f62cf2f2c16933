/* broken.h - a child process in which something was broken on purpose: that it crashes is one of
 * the ways to be caught, so what it says about it, itself or through a sanitizer, is not wanted. */
#ifndef TEST_SIM_BROKEN_H
#define TEST_SIM_BROKEN_H

#include <fcntl.h>
#include <unistd.h>

/* There only when the program is built with a sanitizer. */
void __sanitizer_set_report_path(const char *path) __attribute__((weak));

static inline void be_silent(void)
{
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    if (__sanitizer_set_report_path)
        __sanitizer_set_report_path("stderr");
}

#endif
