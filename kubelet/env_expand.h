/* env_expand.h - $(NAME) references in commands, arguments and variables.
 *
 * $(NAME) becomes the value, $$ a dollar sign; a reference that nothing
 * resolves, or that is not closed, stays as it was written. */
#ifndef KUBELET_ENV_EXPAND_H
#define KUBELET_ENV_EXPAND_H

#include "lib/base/str.h"

struct arena;

struct env_var {
    struct str name;
    struct str value;
};

struct env_list {
    struct env_var *items;
    size_t count;
    size_t cap;
};

/* Sets name, in its old place when it exists. Strings are borrowed. */
void env_list_set(struct arena *a, struct env_list *l, struct str name, struct str value);
const struct str *env_list_get(const struct env_list *l, struct str name);

/* The input itself when it holds no dollar sign, else a copy in the arena.
 * Looks in first, then in second (either may be NULL). */
struct str env_expand(struct arena *a, struct str input, const struct env_list *first,
                      const struct env_list *second);

#endif
