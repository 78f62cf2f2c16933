/* feature_gates.h - the feature gates that Kubernetes 1.36 knows: which are on, which are locked.
 */
#ifndef API_FEATURE_GATES_H
#define API_FEATURE_GATES_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct flag_list;

/* A gate that a program heeds: everything else is as it is by default. */
struct feature_switch {
    const char *name;
    bool *on; /* Its default first, then what is given. */
};

/* given: "Name=true", as --feature-gates has them. Refuses in upstream's words what it refuses;
 * warns of what is switched and not heeded. The later of two values counts. */
int feature_gates_set(const struct flag_list *given, const struct feature_switch *heeded,
                      size_t heeded_count, struct error *err);
/* The same of a program that heeds none. */
int feature_gates_check(const struct flag_list *given, struct error *err);

#endif
