/* memory_state.h - which container's memory comes from which NUMA nodes, and its file. Pure.
 *
 * Blocks are the truth; what is free of each node follows from them. The file is upstream's
 * memory_manager_state: {"policyName", "machineState": {node: tables}, "entries": {pod uid:
 * {container: [{"numaAffinity", "type", "size"}]}}, "checksum"}. */
#ifndef KUBELET_MEMORY_STATE_H
#define KUBELET_MEMORY_STATE_H

#include "kubelet/machine_topology.h"

struct buf;

#define MEMORY_TYPES_MAX (1 + HUGEPAGE_SIZES_MAX)
#define MEMORY_TYPE_NAME_MAX 32

/* Of one kind of memory on one node; bytes. */
struct memory_table {
    int64_t total, system_reserved, allocatable, reserved, free;
};

struct memory_node {
    int64_t assignments; /* Blocks that name it. */
    numa_mask cells;     /* Itself, or the group of nodes that is only used as a whole. */
    struct memory_table tables[MEMORY_TYPES_MAX];
};

struct memory_machine {
    char types[MEMORY_TYPES_MAX][MEMORY_TYPE_NAME_MAX]; /* "memory", "hugepages-2Mi", ... */
    size_t type_count;
    numa_mask nodes;
    struct memory_node node[NUMA_NODE_MAX];
};

struct memory_block {
    numa_mask nodes;
    size_t type; /* Index in the machine's. */
    int64_t bytes;
};

struct memory_assignment {
    char *pod, *container;
    struct memory_block blocks[MEMORY_TYPES_MAX]; /* At most one of each type. */
    size_t count;
};

struct memory_state {
    char *policy;
    struct memory_assignment *items; /* By pod, then by container. */
    size_t count;
};

void memory_state_init(struct memory_state *s, const char *policy);
void memory_state_done(struct memory_state *s);
struct memory_assignment *memory_state_find(const struct memory_state *s, struct str pod,
                                            struct str container);
/* Found or made. */
struct memory_assignment *memory_state_add(struct memory_state *s, struct str pod,
                                           struct str container);
void memory_state_remove(struct memory_state *s, size_t index);

/* Type of this name; -1: the machine has none such. */
int memory_type_of(const struct memory_machine *m, struct str name);
/* Puts a block on top of what m says; what does not fit of it is left out. */
void memory_machine_take(struct memory_machine *m, const struct memory_block *b);

/* m: the machine with what the state holds. */
void memory_state_write(const struct memory_state *s, const struct memory_machine *m,
                        struct buf *out);
/* empty: the machine with nothing taken. E_INVALID: damaged, of another policy, or it does not go
 * with this machine; then s is left alone. */
int memory_state_read(struct memory_state *s, struct str text, const struct memory_machine *empty,
                      struct error *err);

#endif
