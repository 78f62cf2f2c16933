/* admin.h - what a test asks of members: status, the list, adding, removing. */
#ifndef TEST_KVLOAD_ADMIN_H
#define TEST_KVLOAD_ADMIN_H

#include <stddef.h>

struct error;

/*   status             a JSON line per endpoint: who, leader, term, revision, alarms
 *   member-list        a JSON line per member
 *   member-add URL     prints the new member's id
 *   member-remove ID
 *   hash               a JSON line per endpoint: HashKV at the newest revision all have */
int admin_run(const char *const *endpoints, size_t endpoint_count, const char *const *args,
              size_t arg_count, struct error *err);

#endif
