/* pod.h - what every program must read alike in a pod. */
#ifndef API_POD_H
#define API_POD_H

#include "lib/base/str.h"

struct core_v1_pod;
struct core_v1_pod_spec;

/* "Succeeded" and "Failed" never change again. */
bool pod_phase_is_final(struct str phase);
/* Its phase is final: such a pod uses nothing. */
bool pod_is_terminal(const struct core_v1_pod *p);

/* Among all containers: init and ephemeral ones too. */
bool pod_has_container(const struct core_v1_pod_spec *s, struct str name);

#endif
