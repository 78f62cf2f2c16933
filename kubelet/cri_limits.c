/* cri_limits.c - what a container may use, and how it is told to end; see cri_config.h. */
#include "kubelet/cri_config.h"
#include "kubelet/resources.h"

#include "lib/api/quantity.h"
#include "lib/base/arena.h"
#include "lib/client/reclaim.h"

#include "api/core_v1.h"

static char *page_size_name(struct arena *a, int64_t bytes)
{
    char name[HUGEPAGE_NAME_MAX];
    hugepage_size_name(bytes, name);
    return arena_strdup(a, name);
}

/* As upstream: no limit given means none of that size. */
static void hugepage_limits(struct arena *a, const struct container_inputs *in,
                            CRI(LinuxContainerResources) * r)
{
    const struct core_v1_resource_requirements *has = &in->container->resources;
    r->hugepage_limits = ARENA_ARRAY(a, CRI(HugepageLimit) *, in->hugepage_size_count + 1);
    for (size_t i = 0; i < in->hugepage_size_count; i++) {
        CRI(HugepageLimit) *l = CRI_NEW(a, HugepageLimit, hugepage_limit);
        l->page_size = page_size_name(a, in->hugepage_sizes[i]);
        for (size_t k = 0; k < has->limits_count; k++) {
            struct str size = has->limits[k].key;
            struct quantity q;
            if (!str_has_prefix(size, STR("hugepages-")) ||
                quantity_parse(str_sub(size, strlen("hugepages-"), size.len), &q, NULL) != 0 ||
                quantity_value(&q) != in->hugepage_sizes[i])
                continue;
            int64_t limit = 0;
            resource_value(&has->limits[k], 1, str_c(arena_str(a, size)), &limit);
            l->limit = (uint64_t)MAX_OF(limit, (int64_t)0);
        }
        r->hugepage_limits[r->n_hugepage_limits++] = l;
    }
}

/* "SIGRTMIN+3" is SIGRTMINPLUS3 there. */
CRI(Signal) container_stop_signal(struct arena *a, const struct core_v1_lifecycle *l)
{
    if (l == NULL || !l->has_stop_signal)
        return CRI_ENUM(SIGNAL__RUNTIME_DEFAULT);
    struct str s = l->stop_signal;
    ptrdiff_t plus = str_find(s, '+', 0), minus = str_find(s, '-', 0);
    ptrdiff_t at = plus >= 0 ? plus : minus;
    struct str name =
        at < 0 ? arena_str(a, s)
               : arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(str_sub(s, 0, (size_t)at)),
                              plus >= 0 ? "PLUS" : "MINUS",
                              STR_ARG(str_sub(s, (size_t)at + 1, s.len)));
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value_by_name(&runtime__v1__signal__descriptor, str_c(name));
    return v != NULL ? (CRI(Signal))v->value : CRI_ENUM(SIGNAL__RUNTIME_DEFAULT);
}

CRI(LinuxContainerResources) *
    container_resources(struct arena *a, const struct container_inputs *in)
{
    struct cgroup_limits l;
    container_cgroup_limits(in->container, &l);
    CRI(LinuxContainerResources) *r =
        CRI_NEW(a, LinuxContainerResources, linux_container_resources);
    r->cpu_period = CPU_PERIOD_US;
    r->cpu_shares = pod_reclaims(in->pod) ? CPU_SHARES_MIN : l.cpu_shares;
    r->cpu_quota = in->no_quota ? 0 : l.cpu_quota_us;
    r->cpuset_cpus = arena_strdup(a, in->cpus != NULL ? in->cpus : "");
    r->cpuset_mems = arena_strdup(a, in->mems != NULL ? in->mems : "");
    r->memory_limit_in_bytes = l.memory_bytes;
    r->oom_score_adj = oom_score_adj(in->pod, in->container, in->memory_capacity);
    hugepage_limits(a, in, r);
    return r;
}
