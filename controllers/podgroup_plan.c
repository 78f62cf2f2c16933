/* podgroup_plan.c - see podgroup_plan.h. */
#include "controllers/podgroup_plan.h"

#include "api/core_v1.h"
#include "api/scheduling_x_v1alpha1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

struct counts {
    int32_t pods, scheduled, running, succeeded, failed;
};

/* Pods that are being deleted and still run hold their places, and count. */
static struct counts count_pods(struct api_object *const *pods, size_t count)
{
    struct counts c = {0};
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_pod *p = pods[i]->msg;
        c.pods++;
        c.scheduled += !str_empty(p->spec.node_name);
        c.running += str_eqc(p->status.phase, "Running");
        c.succeeded += str_eqc(p->status.phase, "Succeeded");
        c.failed += str_eqc(p->status.phase, "Failed");
    }
    return c;
}

static bool is_one_of(struct str phase, const char *x, const char *y)
{
    return str_eqc(phase, x) || str_eqc(phase, y);
}

static bool was_whole(struct str phase)
{
    return is_one_of(phase, "Scheduled", "Running") || str_eqc(phase, "Unknown");
}

static struct str phase_of(const struct counts *c, int32_t min, struct str old)
{
    if (c->pods == 0 || c->pods < min)
        return was_whole(old) && c->scheduled != 0 ? STR("Unknown") : STR("Pending");
    if (c->failed != 0 && c->failed + c->running + c->succeeded >= min)
        return STR("Failed");
    if (c->succeeded >= min)
        return STR("Finished");
    if (c->running + c->succeeded >= min)
        return STR("Running");
    if (c->scheduled >= min)
        return STR("Scheduled");
    if (c->scheduled != 0)
        return was_whole(old) ? STR("Unknown") : STR("Scheduling");
    return STR("PreScheduling");
}

/* "namespace/owner,...", each once and sorted. */
static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static struct str owners_of(struct arena *a, const struct core_v1_pod *p)
{
    AUTO_BUF b = BUF_INIT;
    size_t n = p->metadata.owner_references_count;
    struct str *names = ARENA_ARRAY(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        names[i] = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(p->metadata.namespace),
                                STR_ARG(p->metadata.owner_references[i].name));
    if (n > 1)
        qsort(names, n, sizeof(*names), by_text);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s" STR_FMT, i != 0 ? "," : "", STR_ARG(names[i]));
    return arena_str(a, buf_str(&b));
}

void podgroup_plan_status(struct arena *a, const struct scheduling_x_v1alpha1_pod_group *group,
                          struct api_object *const *pods, size_t count, struct meta_v1_time *now,
                          struct scheduling_x_v1alpha1_pod_group_status *ret)
{
    struct counts c = count_pods(pods, count);
    struct str old = group->status.phase;
    *ret = group->status;
    if (c.pods == 0 && is_one_of(old, "Finished", "Failed"))
        return; /* What became of it stands, though its pods are gone. */
    ret->phase = phase_of(&c, group->spec.min_member, old);
    ret->scheduled = c.scheduled;
    ret->running = c.running;
    ret->succeeded = c.succeeded;
    ret->failed = c.failed;
    if (str_eqc(ret->phase, "Pending")) {
        ret->schedule_start_time = c.pods != 0 ? ret->schedule_start_time : NULL;
    } else if (ret->schedule_start_time == NULL) {
        ret->schedule_start_time = now;
        ret->occupied_by = count != 0 ? owners_of(a, pods[0]->msg) : STR_NULL;
    }
}
