/* cpu_state.h - which container has which processors for itself, and its file. Pure.
 *
 * The file is upstream's cpu_manager_state, byte for byte, so that a node can change from one agent
 * to the other: {"policyName", "defaultCpuSet", "entries": {pod uid: {container: cpus}},
 * "checksum"}. */
#ifndef KUBELET_CPU_STATE_H
#define KUBELET_CPU_STATE_H

#include "kubelet/cpu_set.h"

struct buf;

struct cpu_assignment {
    char *pod, *container; /* uid, name */
    struct cpu_set cpus;
};

struct cpu_state {
    char *policy;
    struct cpu_set shared; /* For everybody who has none of their own. */
    struct cpu_assignment *items;
    size_t count;
};

void cpu_state_init(struct cpu_state *s, const char *policy);
void cpu_state_done(struct cpu_state *s);
const struct cpu_set *cpu_state_find(const struct cpu_state *s, struct str pod,
                                     struct str container);
/* Replaces what it has. */
void cpu_state_set(struct cpu_state *s, struct str pod, struct str container,
                   const struct cpu_set *cpus);
void cpu_state_remove(struct cpu_state *s, size_t index);

void cpu_state_write(const struct cpu_state *s, struct buf *out);
/* Into an initialised one, whose policy must be the file's. E_INVALID with what is wrong; then it
 * is left alone. */
int cpu_state_read(struct cpu_state *s, struct str text, struct error *err);

#endif
