/* cel_zone.h - how far local time is from UTC, by the system's database of time
 * zones (RFC 8536 files below /usr/share/zoneinfo). */
#ifndef API_CEL_CEL_ZONE_H
#define API_CEL_CEL_ZONE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

#include <stdint.h>

/* Any thread. A zone's file is read when it is first asked for and then kept;
 * false: there is no such zone. */
bool cel_zone_offset(struct str name, int64_t at_s, int64_t *ret_s);

/* The same of a file's bytes. False: they are damaged. */
bool cel_zone_offset_in(struct str file, int64_t at_s, int64_t *ret_s);

#endif
