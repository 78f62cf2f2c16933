/* fuzz_figures.c - the pages on which nodes tell their use: cut in two at the first NUL, the second
 * comes after the first. What is found is sorted, without doubles, and of rates that make sense. */
#include "apiserver/figures/figures.h"

#include <string.h>

static void check(const struct figures *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct figure_pod *p = &f->pods[i];
        ASSERT(p->count > 0);
        ASSERT(figures_find(f, p->ns, p->name) == p);
        for (size_t j = 0; j < p->count; j++) {
            ASSERT(p->containers[j].f.cpu_ns != 0 && p->containers[j].f.memory_bytes != 0);
            ASSERT(p->containers[j].f.window_ms >= 0);
            ASSERT(j == 0 || str_cmp(p->containers[j - 1].name, p->containers[j].name) < 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *cut = size != 0 ? memchr(data, 0, size) : NULL;
    size_t first = cut != NULL ? (size_t)(cut - data) : size;
    struct figures *x = figures_parse(str_n((const char *)data, first), 1000, 15000, NULL);
    check(x);
    if (cut != NULL) {
        struct str rest = str_n((const char *)cut + 1, size - first - 1);
        struct figures *y = figures_parse(rest, 16000, 15000, x);
        check(y);
        figures_unref(y);
    }
    figures_unref(x);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
#define LABELS "{container=\"c\",namespace=\"n\",pod=\"p\"}"
    static const char seed[] = "container_cpu_usage_seconds_total" LABELS " 1.5 1000\n"
                               "container_memory_working_set_bytes" LABELS " 4096 1000\n"
                               "container_start_time_seconds" LABELS " 0.5\n"
                               "node_cpu_usage_seconds_total 7 1000\n"
                               "node_memory_working_set_bytes 1e6 1000\n\0"
                               "container_cpu_usage_seconds_total" LABELS " 2.5 16000\n"
                               "container_memory_working_set_bytes" LABELS " 4097 16000\n"
                               "container_start_time_seconds" LABELS " 0.5\n";
    if (i > 0)
        return 0;
    size_t n = MIN_OF(sizeof(seed) - 1, cap);
    memcpy(p, seed, n);
    return n;
}
