/* memory_manager_internal.h - what the files of the memory manager share. */
#ifndef KUBELET_MEMORY_MANAGER_INTERNAL_H
#define KUBELET_MEMORY_MANAGER_INTERNAL_H

#include "kubelet/memory_manager.h"

/* now is empty with all blocks of the state taken. */
struct memory_manager {
    bool is_static;
    struct memory_machine *empty, *now;
    struct memory_state state;
    uint64_t generation;
    struct memory_manager_counts counts;
};

/* Computes now. */
void memory_manager_settle(struct memory_manager *m);

#endif
