/* age.c - ages as kubectl prints them. */
#include "lib/api/time.h"

#include <stdio.h>

/* The steps of apimachinery's duration.HumanDuration: two units while the
 * larger one is small, then one. */
size_t age_format(int64_t seconds, char ret[AGE_TEXT_MAX])
{
    const long long s = seconds, m = s / 60, h = s / 3600, d = h / 24, y = d / 365;
    int n;
    if (s < -1)
        n = snprintf(ret, AGE_TEXT_MAX, "<invalid>");
    else if (s < 0)
        n = snprintf(ret, AGE_TEXT_MAX, "0s");
    else if (s < 120)
        n = snprintf(ret, AGE_TEXT_MAX, "%llds", s);
    else if (m < 10 && s % 60 != 0)
        n = snprintf(ret, AGE_TEXT_MAX, "%lldm%llds", m, s % 60);
    else if (m < 180)
        n = snprintf(ret, AGE_TEXT_MAX, "%lldm", m);
    else if (h < 8 && m % 60 != 0)
        n = snprintf(ret, AGE_TEXT_MAX, "%lldh%lldm", h, m % 60);
    else if (h < 48)
        n = snprintf(ret, AGE_TEXT_MAX, "%lldh", h);
    else if (d < 8 && h % 24 != 0)
        n = snprintf(ret, AGE_TEXT_MAX, "%lldd%lldh", d, h % 24);
    else if (y < 2)
        n = snprintf(ret, AGE_TEXT_MAX, "%lldd", d);
    else if (y < 8 && d % 365 != 0)
        n = snprintf(ret, AGE_TEXT_MAX, "%lldy%lldd", y, d % 365);
    else
        n = snprintf(ret, AGE_TEXT_MAX, "%lldy", y);
    return (size_t)n;
}
