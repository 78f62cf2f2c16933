/* defaults.h - what becomes of members that were left out. */
#ifndef APISERVER_KINDS_DEFAULTS_H
#define APISERVER_KINDS_DEFAULTS_H

#include "lib/base/str.h"

/* Members that are empty when absent. */
static inline void default_str(struct str *s, struct str to)
{
    if (str_empty(*s))
        *s = to;
}

/* Members that tell absent from empty: has_x and x. */
static inline void default_opt_str(bool *has, struct str *s, struct str to)
{
    if (!*has) {
        *has = true;
        *s = to;
    }
}

static inline void default_opt_int(bool *has, int32_t *v, int32_t to)
{
    if (!*has) {
        *has = true;
        *v = to;
    }
}

static inline void default_opt_bool(bool *has, bool *v, bool to)
{
    if (!*has) {
        *has = true;
        *v = to;
    }
}

#endif
