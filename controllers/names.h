/* names.h - what --controllers may name: our controllers, by upstream's names of today and of
 * before 1.28, and those of upstream that are not here. Pure. */
#ifndef CONTROLLERS_NAMES_H
#define CONTROLLERS_NAMES_H

#include "lib/base/base.h"

/* The name in controller_table; NULL: there is none, see *ret_known. */
const char *controller_name(const char *name, bool *ret_known);

#endif
