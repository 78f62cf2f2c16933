/* feature_gates.h - the feature gates that Kubernetes 1.36 knows. */
#ifndef APISERVER_FEATURE_GATES_H
#define APISERVER_FEATURE_GATES_H

struct error;
struct flag_list;

/* Refuses in upstream's words what it refuses; warns of what is switched, as
 * everything here is as it is by default. */
int feature_gates_check(const struct flag_list *given, struct error *err);

#endif
