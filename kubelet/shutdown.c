/* shutdown.c - see shutdown.h. */
#include "kubelet/shutdown.h"

#include "kubelet/kubelet.h"
#include "kubelet/logind.h"
#include "kubelet/pod_worker.h"

#include "lib/base/log.h"

#include "api/core_v1.h"

#include <stdlib.h>

#define CRITICAL_PRIORITY 2000000000
#define LOOK_MS 100u
#define TELL_MAX_MS 2000u /* How long the last statuses may take. */
#define SECOND_NS 1000000000ll
#define SECONDS_MAX 86400

struct shutdown {
    struct kubelet *k;
    struct shutdown_plan plan;
    struct logind *logind;
    void (*on_change)(struct kubelet *k);
    void (*done)(struct kubelet *k);
    uv_timer_t timer;
    bool on;
    size_t group;
    uint64_t group_ms; /* When its turn came. */
};

/* --- plan ------------------------------------------------------------------------------------ */

static int by_priority(const void *x, const void *y)
{
    const struct shutdown_group *a = x, *b = y;
    return (a->priority > b->priority) - (a->priority < b->priority);
}

static int plan_groups(struct shutdown_plan *p, const struct flag_list *list, struct error *err)
{
    if (list->count > SHUTDOWN_GROUPS_MAX)
        return error_set(err, E_INVALID, "more than %d groups", SHUTDOWN_GROUPS_MAX);
    for (size_t i = 0; i < list->count; i++) {
        struct str key, value;
        int64_t priority, seconds;
        if (!str_cut(str_of(list->items[i]), '=', &key, &value) || !str_to_i64(key, &priority) ||
            !str_to_i64(value, &seconds) || priority < INT32_MIN || priority > INT32_MAX ||
            seconds < 0 || seconds > SECONDS_MAX)
            return error_set(err, E_INVALID, "'%s' is not of the form priority=seconds",
                             list->items[i]);
        p->groups[p->count++] = (struct shutdown_group){(int32_t)priority, seconds};
    }
    qsort(p->groups, p->count, sizeof(*p->groups), by_priority);
    return 0;
}

int shutdown_plan_init(struct shutdown_plan *p, const struct shutdown_config *c, struct error *err)
{
    *p = (struct shutdown_plan){0};
    if (c->critical_ns < 0 || c->critical_ns > c->grace_ns)
        return error_set(
            err, E_INVALID,
            "--shutdown-grace-period-critical-pods must be <= --shutdown-grace-period");
    if (c->grace_ns < 0 || (c->grace_ns > 0 && c->grace_ns < SECOND_NS))
        return error_set(err, E_INVALID,
                         "--shutdown-grace-period must be either zero or otherwise >= 1 sec");
    if (c->critical_ns > 0 && c->critical_ns < SECOND_NS)
        return error_set(
            err, E_INVALID,
            "--shutdown-grace-period-critical-pods must be either zero or otherwise >= 1 sec");
    if (c->by_priority.count > 0) {
        if (c->grace_ns > 0)
            return error_set(err, E_INVALID,
                             "--shutdown-grace-period-by-pod-priority and --shutdown-grace-period "
                             "exclude each other");
        int rc = plan_groups(p, &c->by_priority, err);
        return rc == 0 ? 0 : error_prefix(err, "--shutdown-grace-period-by-pod-priority");
    }
    if (c->grace_ns == 0)
        return 0;
    p->groups[p->count++] = (struct shutdown_group){0, (c->grace_ns - c->critical_ns) / SECOND_NS};
    p->groups[p->count++] = (struct shutdown_group){CRITICAL_PRIORITY, c->critical_ns / SECOND_NS};
    return 0;
}

/* The last group that begins at or below it; what lies below all of them goes with the first. */
size_t shutdown_group_of(const struct shutdown_plan *p, int32_t priority)
{
    size_t i = p->count;
    while (i > 1 && p->groups[i - 1].priority > priority)
        i--;
    return i > 0 ? i - 1 : 0;
}

int64_t shutdown_total_s(const struct shutdown_plan *p)
{
    int64_t sum = 0;
    for (size_t i = 0; i < p->count; i++)
        sum += p->groups[i].seconds;
    return sum;
}

/* --- carrying it out ---------------------------------------------------------------------------
 */

static void on_look(uv_timer_t *t);

static bool is_in_group(const struct shutdown *s, const struct pod_worker *w)
{
    const struct core_v1_pod *pod = pod_worker_pod(w);
    int32_t priority = pod != NULL && pod->spec.has_priority ? pod->spec.priority : 0;
    return pod != NULL && shutdown_group_of(&s->plan, priority) == s->group;
}

static void begin_group(struct shutdown *s)
{
    size_t pos = 0, count = 0;
    void *w;
    int64_t seconds = s->plan.groups[s->group].seconds;
    s->group_ms = kubelet_now_ms(s->k);
    while (map_next(&s->k->workers, &pos, NULL, &w)) {
        if (!is_in_group(s, w) || pod_worker_is_finished(w))
            continue;
        pod_worker_terminate(w, seconds);
        count++;
    }
    log_info("shutdown: %zu pods of priority %d and above end within %llds", count,
             (int)s->plan.groups[s->group].priority, (long long)seconds);
}

/* Before the last group's end others may be running, and statuses be under way. */
static bool group_is_over(const struct shutdown *s)
{
    size_t pos = 0;
    void *w;
    bool open = false, last = s->group + 1 == s->plan.count;
    uint64_t passed_ms = kubelet_now_ms(s->k) - s->group_ms,
             limit_ms = (uint64_t)s->plan.groups[s->group].seconds * 1000;
    while (!open && map_next(&s->k->workers, &pos, NULL, &w)) {
        if (is_in_group(s, w))
            open = !pod_worker_is_finished(w) && passed_ms < limit_ms;
        if (last && !open)
            open = !pod_worker_is_told(w) && passed_ms < limit_ms + TELL_MAX_MS;
    }
    return !open;
}

static void finish(struct shutdown *s)
{
    uv_timer_stop(&s->timer);
    log_info("shutdown: all pods have been ended");
    logind_release(s->logind);
    if (s->done != NULL)
        s->done(s->k);
}

static void on_look(uv_timer_t *t)
{
    struct shutdown *s = t->data;
    while (group_is_over(s)) {
        s->group++;
        if (s->group == s->plan.count) {
            finish(s);
            return;
        }
        begin_group(s);
    }
}

bool shutdown_begin(struct shutdown *s, void (*done)(struct kubelet *k))
{
    if (s == NULL || s->plan.count == 0)
        return false;
    s->done = done != NULL ? done : s->done;
    if (s->on)
        return true;
    log_info("shutdown: the node ends its pods, within %llds",
             (long long)shutdown_total_s(&s->plan));
    s->on = true;
    s->group = 0;
    s->on_change(s->k);
    begin_group(s);
    uv_timer_start(&s->timer, on_look, LOOK_MS, LOOK_MS);
    return true;
}

static void on_prepare(bool down, void *arg)
{
    struct shutdown *s = arg;
    if (down) {
        shutdown_begin(s, NULL);
        return;
    }
    log_info("shutdown: called off");
    uv_timer_stop(&s->timer);
    s->on = false;
    s->on_change(s->k);
}

bool shutdown_is_on(const struct shutdown *s)
{
    return s != NULL && s->on;
}

struct shutdown *shutdown_start(struct kubelet *k, void (*on_change)(struct kubelet *k))
{
    struct shutdown *s = xzalloc(sizeof(*s));
    struct error err;
    s->k = k;
    s->on_change = on_change;
    if (shutdown_plan_init(&s->plan, &k->config.shutdown, &err) != 0)
        PANIC("%s", error_message(&err)); /* It was checked with the flags. */
    uv_timer_init(k->loop, &s->timer);
    s->timer.data = s;
    struct logind_config config = {.loop = k->loop,
                                   .wanted_ms = (uint64_t)shutdown_total_s(&s->plan) * 1000,
                                   .on_prepare = on_prepare,
                                   .arg = s};
    if (s->plan.count > 0 && !k->config.shutdown.on_sigterm &&
        logind_start(&config, &s->logind, &err) != 0)
        log_warning("pods are not ended when the machine goes down: %s", error_message(&err));
    return s;
}
