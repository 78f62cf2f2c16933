/* pinning_internal.h - what the files of pinning.h share. */
#ifndef KUBELET_PINNING_INTERNAL_H
#define KUBELET_PINNING_INTERNAL_H

#include "kubelet/cpu_manager.h"
#include "kubelet/kubelet.h"
#include "kubelet/memory_manager.h"
#include "kubelet/pinning.h"

struct buf;

/* The file of one manager. */
struct pinning_file {
    struct pinning *pinning;
    char *path;
    const char *manager; /* "CPU", "memory" */
    uint64_t saved;      /* The generation that is on the disk. */
    bool saving, failed;
    uint64_t (*generation)(const struct pinning *p);
    void (*write)(const struct pinning *p, struct buf *out);
};

struct pinning {
    struct kubelet *k;
    struct machine_topology machine;
    struct topology *topology;
    struct cpu_manager *cpus;
    struct memory_manager *memory;
    struct pinning_file cpu_file, memory_file;
    struct map given; /* Container id -> struct given: where the runtime has it run. */
    struct deferred look;
    uv_timer_t timer;
    bool started;
    size_t updates; /* Under way. */
};

/* pinning_apply.c: something may be other than before. */
void pinning_changed(struct pinning *p);
int pinning_save_now(struct pinning_file *f, struct error *err); /* Blocking. */
void pinning_init_apply(struct pinning *p);
/* pinning.c */
void pinning_add_metrics(struct pinning *p);

#endif
