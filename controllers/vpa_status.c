/* vpa_status.c - see vpa_status.h. */
#include "controllers/vpa_status.h"

#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"

#include <stdlib.h>

/* --- recommendation ----------------------------------------------------------------------- */
static bool is_wanted(const struct vpa_object *v, struct str container, const struct vpa_series *s)
{
    const struct vpa_policy *p = vpa_policy_of(v, container);
    return s->aggregate.count > 0 && (p == NULL || !p->off);
}

static int by_container(const void *x, const void *y)
{
    return str_cmp(((const struct vpa_recommended *)x)->container,
                   ((const struct vpa_recommended *)y)->container);
}

static struct vpa_list list_of(const struct vpa_amounts *x, const struct vpa_policy *p)
{
    const int64_t n[VPA_RESOURCES] = {[VPA_CPU] = x->cpu, [VPA_MEMORY] = x->memory};
    struct vpa_list l = {0};
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
        if (p == NULL || p->controls[r])
            l.of[r] = (struct vpa_amount){n[r], QUANTITY_DECIMAL_SI, true};
    return l;
}

static void cap(struct vpa_list *l, const struct vpa_policy *p)
{
    for (enum vpa_resource r = 0; p != NULL && r < VPA_RESOURCES; r++)
        vpa_cap(&l->of[r], &p->min.of[r], &p->max.of[r]);
}

struct vpa_recommended *vpa_recommend(struct arena *a, const struct vpa_memory *m,
                                      const struct vpa_object *v, size_t *ret_count)
{
    struct vpa_recommended *ret = ARENA_ARRAY(a, struct vpa_recommended, m->series.count + 1);
    struct str name;
    void *value;
    size_t pos = 0, n = 0;
    while (map_next(&m->series, &pos, &name, &value))
        if (is_wanted(v, name, value))
            ret[n++].container = arena_str(a, name);
    qsort(ret, n, sizeof(*ret), by_container);
    for (size_t i = 0; i < n; i++) {
        const struct vpa_series *s = map_get(&m->series, ret[i].container);
        const struct vpa_policy *p = vpa_policy_of(v, ret[i].container);
        struct vpa_estimate e;
        vpa_estimate(&s->aggregate, &vpa_estimate_config_default, n, &e);
        ret[i].uncapped = ret[i].target = list_of(&e.target, p);
        ret[i].lower = list_of(&e.lower, p);
        ret[i].upper = list_of(&e.upper, p);
        cap(&ret[i].target, p);
        cap(&ret[i].lower, p);
        cap(&ret[i].upper, p);
    }
    *ret_count = n;
    return ret;
}

struct json *vpa_list_json(struct arena *a, const struct vpa_list *l)
{
    struct json *j = json_object(a);
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
        if (l->of[r].given) {
            struct quantity q = vpa_quantity(r, &l->of[r]);
            json_setc(a, j, vpa_resource_names[r], json_string(a, quantity_str(a, &q)));
        }
    return j;
}

struct json *vpa_recommendation_json(struct arena *a, const struct vpa_recommended *list,
                                     size_t count)
{
    struct json *j = json_object(a), *items = json_array(a);
    for (size_t i = 0; i < count; i++) {
        struct json *x = json_object(a);
        json_setc(a, x, "containerName", json_string(a, list[i].container));
        json_setc(a, x, "target", vpa_list_json(a, &list[i].target));
        json_setc(a, x, "lowerBound", vpa_list_json(a, &list[i].lower));
        json_setc(a, x, "upperBound", vpa_list_json(a, &list[i].upper));
        json_setc(a, x, "uncappedTarget", vpa_list_json(a, &list[i].uncapped));
        json_append(a, items, x);
    }
    if (count != 0)
        json_setc(a, j, "containerRecommendations", items);
    return j;
}

/* --- conditions ------------------------------------------------------------------------------ */
void vpa_conditions_init(struct vpa_conditions *c, struct arena *a, const struct json *status,
                         int64_t now_s)
{
    const struct json *old = json_getc(status, "conditions");
    *c = (struct vpa_conditions){a, now_s, json_array(a)};
    for (size_t i = 0; old != NULL && old->type == JSON_ARRAY && i < old->array.count; i++)
        json_append(a, c->list, json_clone(a, old->array.items[i]));
}

/* Where the type is, or belongs. */
static size_t place_of(const struct vpa_conditions *c, const char *type, bool *ret_found)
{
    size_t i = 0;
    int order = -1;
    for (; i < c->list->array.count; i++) {
        order = str_cmp(json_get_str(c->list->array.items[i], "type"), str_of(type));
        if (order >= 0)
            break;
    }
    *ret_found = order == 0;
    return i;
}

void vpa_condition_remove(struct vpa_conditions *c, const char *type)
{
    bool found;
    size_t i = place_of(c, type, &found);
    if (found)
        json_remove_at(c->list, i);
}

static void put_text(struct arena *a, struct json *j, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_setc(a, j, key, json_string(a, str_of(text)));
    else
        json_remove(j, str_of(key));
}

void vpa_condition_set(struct vpa_conditions *c, const char *type, bool value, const char *reason,
                       const char *message)
{
    struct arena *a = c->arena;
    const char *text = value ? "True" : "False";
    bool found;
    size_t i = place_of(c, type, &found);
    if (!found)
        json_insert(a, c->list, i, json_object(a));
    struct json *j = c->list->array.items[i];
    if (!found || !str_eqc(json_get_str(j, "status"), text)) {
        char stamp[TIME_TEXT_MAX];
        struct meta_v1_time now = {.seconds = c->now_s};
        time_format(&now, stamp);
        json_setc(a, j, "type", json_string(a, str_of(type)));
        json_setc(a, j, "status", json_string(a, str_of(text)));
        json_setc(a, j, "lastTransitionTime", json_string(a, str_of(stamp)));
    }
    put_text(a, j, "reason", reason);
    put_text(a, j, "message", message);
}
