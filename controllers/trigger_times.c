/* trigger_times.c - see trigger_times.h. A pod changes its Service's endpoints when it becomes
 * ready or ceases to be; a Service when it is made. Times are seconds, kept as pointers. */
#include "controllers/trigger_times.h"

#include "api/core_v1.h"
#include "controllers/pods.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/map.h"

struct service_times {
    struct map pods; /* Name -> when it changed, as a number. */
    int64_t service_s;
};

struct trigger_times {
    struct map services; /* -> struct service_times */
};

struct trigger_times *trigger_times_new(void)
{
    struct trigger_times *t = xzalloc(sizeof(*t));
    map_init(&t->services);
    return t;
}

static void times_free(struct service_times *x)
{
    if (x == NULL)
        return;
    map_done(&x->pods);
    free(x);
}

void trigger_times_free(struct trigger_times *t)
{
    size_t pos = 0;
    void *x;
    if (t == NULL)
        return;
    while (map_next(&t->services, &pos, NULL, &x))
        times_free(x);
    map_done(&t->services);
    free(t);
}

void trigger_times_forget(struct trigger_times *t, struct str key)
{
    times_free(map_remove(&t->services, key));
}

static void take_earlier(int64_t *min_s, int64_t s)
{
    if (*min_s == 0 || s < *min_s)
        *min_s = s;
}

/* The earliest change of the pods since the last look; 0: none. */
static int64_t look_at_pods(struct service_times *x, struct api_object *const *pods,
                            size_t pod_count)
{
    int64_t min_s = 0;
    struct map now;
    map_init(&now);
    for (size_t i = 0; i < pod_count; i++) {
        const struct core_v1_pod *p = pods[i]->msg;
        const struct core_v1_pod_condition *c = pod_condition(p, "Ready");
        int64_t at_s = c != NULL ? c->last_transition_time.seconds : 0;
        if (at_s <= 0)
            continue;
        if (at_s > (int64_t)(intptr_t)map_get(&x->pods, p->metadata.name))
            take_earlier(&min_s, at_s);
        map_set(&now, p->metadata.name, (void *)(intptr_t)at_s);
    }
    map_done(&x->pods);
    x->pods = now;
    return min_s;
}

struct str trigger_times_look(struct trigger_times *t, struct arena *a, struct str key,
                              const struct core_v1_service *s, struct api_object *const *pods,
                              size_t pod_count)
{
    struct service_times *x = map_get(&t->services, key);
    bool is_new = x == NULL;
    int64_t made_s = s->metadata.creation_timestamp.seconds;
    if (is_new) {
        x = xzalloc(sizeof(*x));
        map_init(&x->pods);
        map_set(&t->services, key, x);
    }
    int64_t min_s = look_at_pods(x, pods, pod_count);
    if (made_s > x->service_s)
        take_earlier(&min_s, made_s);
    x->service_s = made_s;
    if (is_new)
        min_s = made_s;
    if (min_s == 0)
        return STR_NULL;
    char text[TIME_TEXT_MAX];
    time_format(&(struct meta_v1_time){.seconds = min_s}, text);
    return arena_strc(a, text);
}
