/* cpu_set.h - a set of processors by their numbers, copied by value, and its text ("0-3,8"), which
 * is the kernel's and upstream's. Pure. Also for NUMA nodes, where a text names them. */
#ifndef KUBELET_CPU_SET_H
#define KUBELET_CPU_SET_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

struct arena;

/* Linux can be built for 8192; the largest machines that are sold have below 2048. */
#define CPU_MAX 4096

struct cpu_set {
    uint64_t words[CPU_MAX / 64];
};

/* "" is the empty set. Numbers may come in any order, and twice. E_INVALID says what is wrong. */
int cpu_set_parse(struct str text, struct cpu_set *ret, struct error *err);
/* Ascending, neighbours as a range; in the arena. */
const char *cpu_set_text(const struct cpu_set *s, struct arena *a);

static inline bool cpu_set_has(const struct cpu_set *s, int cpu)
{
    return (s->words[cpu / 64] >> (cpu % 64) & 1) != 0;
}
static inline void cpu_set_add(struct cpu_set *s, int cpu)
{
    s->words[cpu / 64] |= (uint64_t)1 << (cpu % 64);
}
static inline void cpu_set_remove(struct cpu_set *s, int cpu)
{
    s->words[cpu / 64] &= ~((uint64_t)1 << (cpu % 64));
}

int cpu_set_count(const struct cpu_set *s);
bool cpu_set_is_empty(const struct cpu_set *s);
bool cpu_set_equal(const struct cpu_set *x, const struct cpu_set *y);
bool cpu_set_intersects(const struct cpu_set *x, const struct cpu_set *y);
bool cpu_set_contains(const struct cpu_set *whole, const struct cpu_set *part);
struct cpu_set cpu_set_or(const struct cpu_set *x, const struct cpu_set *y);
struct cpu_set cpu_set_and(const struct cpu_set *x, const struct cpu_set *y);
struct cpu_set cpu_set_minus(const struct cpu_set *x, const struct cpu_set *y);
/* The next member from this number on; -1: none. */
int cpu_set_next(const struct cpu_set *s, int from);
#define CPU_SET_FOREACH(cpu, set)                                                                  \
    for (int cpu = cpu_set_next((set), 0); cpu >= 0; cpu = cpu_set_next((set), cpu + 1))

#endif
