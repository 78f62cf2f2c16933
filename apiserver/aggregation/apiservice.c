/* apiservice.c - see apiservice.h. */
#include "apiserver/aggregation/apiservice.h"

#include "api/apiregistration_v1.h"
#include "lib/base/arena.h"

#include <stdio.h>

typedef struct apiregistration_v1_api_service_condition condition_t;

struct apiservice_verdict apiservice_local(void)
{
    return (struct apiservice_verdict){"True", "Local",
                                       STR("Local APIServices are always available")};
}

static const condition_t *find_available(const struct apiregistration_v1_api_service *s)
{
    for (size_t i = 0; i < s->status.conditions_count; i++)
        if (str_eqc(s->status.conditions[i].type, "Available"))
            return &s->status.conditions[i];
    return NULL;
}

bool apiservice_is_available(const struct apiregistration_v1_api_service *s)
{
    const condition_t *c = find_available(s);
    return c != NULL && str_eqc(c->status, "True");
}

bool apiservice_set_available(struct arena *a, struct apiregistration_v1_api_service *s,
                              const struct apiservice_verdict *v, int64_t now_s)
{
    const condition_t *is = find_available(s);
    condition_t wanted = {.type = STR("Available"),
                          .status = str_of(v->status),
                          .reason = str_of(v->reason),
                          .message = v->message,
                          .last_transition_time = {.seconds = now_s}};
    size_t n = s->status.conditions_count;
    if (is != NULL && str_eq(is->status, wanted.status)) {
        wanted.last_transition_time = is->last_transition_time;
        if (str_eq(is->reason, wanted.reason) && str_eq(is->message, wanted.message))
            return false;
    }
    condition_t *list = ARENA_ARRAY(a, condition_t, n + 1);
    size_t at = is != NULL ? (size_t)(is - s->status.conditions) : n;
    for (size_t i = 0; i < n; i++)
        list[i] = s->status.conditions[i];
    list[at] = wanted;
    s->status.conditions = list;
    s->status.conditions_count = MAX_OF(n, at + 1);
    return true;
}

static void version_rank(const char *v, int *ret_class, unsigned *ret_major, unsigned *ret_minor)
{
    int end = 0;
    *ret_class = 0;
    *ret_major = *ret_minor = 0;
    if (sscanf(v, "v%9u%n", ret_major, &end) == 1 && v[end] == '\0') {
        *ret_class = 3;
        return;
    }
    if (sscanf(v, "v%9ubeta%9u%n", ret_major, ret_minor, &end) == 2 && v[end] == '\0')
        *ret_class = 2;
    else if (sscanf(v, "v%9ualpha%9u%n", ret_major, ret_minor, &end) == 2 && v[end] == '\0')
        *ret_class = 1;
}

int apiservice_compare_versions(const char *x, const char *y)
{
    int cx, cy;
    unsigned mx, my, nx, ny;
    version_rank(x, &cx, &mx, &nx);
    version_rank(y, &cy, &my, &ny);
    if (cx != cy)
        return cx > cy ? -1 : 1;
    if (cx == 0)
        return strcmp(x, y);
    if (mx != my)
        return mx > my ? -1 : 1;
    return nx > ny ? -1 : nx < ny ? 1 : 0;
}
