/* cel_civil.h - days since 1970-01-01 and dates of the proleptic Gregorian calendar. */
#ifndef API_CEL_CEL_CIVIL_H
#define API_CEL_CEL_CIVIL_H

#include <stdint.h>

int64_t cel_days_of(int64_t year, unsigned month, unsigned day);
void cel_civil(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day);

#endif
