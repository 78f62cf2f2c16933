/* hpa_metrics.c - see hpa_metrics.h. */
#include "controllers/hpa_metrics.h"

#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/quantity.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

/* How long a custom metric is taken to have been measured, when it does not say. */
#define WINDOW_DEFAULT_S 60

static int list_items(struct arena *a, struct str text, const char *api, const struct json **ret,
                      struct error *err)
{
    struct json *root;
    int rc = json_parse(a, text, &root, err);
    if (rc != 0)
        return rc;
    *ret = json_getc(root, "items");
    if (*ret == NULL || (*ret)->type != JSON_ARRAY || (*ret)->array.count == 0)
        return error_set(err, E_INVALID, "no metrics returned from %s metrics API", api);
    return 0;
}

static bool milli_of(const struct json *j, const char *member, int64_t *ret)
{
    struct quantity q;
    if (quantity_parse(json_get_str(j, member), &q, NULL) != 0)
        return false;
    *ret = quantity_milli_value(&q);
    return true;
}

static int64_t timestamp_of(const struct json *j)
{
    struct meta_v1_time t;
    return time_parse(json_get_str(j, "timestamp"), &t, NULL) == 0 ? t.seconds : 0;
}

/* A Go duration of seconds and minutes ("1m30s", "15.5s"), as metrics servers write it. */
static int64_t window_of(const struct json *j)
{
    struct str s = json_get_str(j, "window");
    int64_t total = 0, n = 0;
    bool digits = false, fraction = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c >= '0' && c <= '9') {
            if (!fraction && n < 1000000)
                n = n * 10 + (c - '0');
            digits = true;
        } else if (c == '.') {
            fraction = true;
        } else {
            bool milli = c == 'm' && i + 1 < s.len && s.data[i + 1] == 's';
            total += milli ? 0 : c == 'h' ? n * 3600 : c == 'm' ? n * 60 : c == 's' ? n : 0;
            i += milli;
            n = 0;
            fraction = false;
        }
    }
    return digits ? total : WINDOW_DEFAULT_S;
}

/* False: a container that counts does not tell. */
static bool usage_of(const struct json *pod, struct str resource, struct str container,
                     int64_t *ret)
{
    const struct json *all = json_getc(pod, "containers");
    bool any = false;
    *ret = 0;
    for (size_t i = 0; all != NULL && all->type == JSON_ARRAY && i < all->array.count; i++) {
        const struct json *c = all->array.items[i], *usage = json_getc(c, "usage");
        const struct json *value = usage != NULL ? json_get(usage, resource) : NULL;
        struct quantity q;
        if (container.len != 0 && !str_eq(json_get_str(c, "name"), container))
            continue;
        if (value == NULL || value->type != JSON_STRING ||
            quantity_parse(value->string, &q, NULL) != 0)
            return false;
        *ret += quantity_milli_value(&q);
        any = true;
    }
    return any;
}

int hpa_metrics_resource(struct arena *a, struct str json, struct str resource,
                         struct str container, struct hpa_metrics *ret, struct error *err)
{
    const struct json *items;
    int rc = list_items(a, json, "resource", &items, err);
    *ret = (struct hpa_metrics){0};
    if (rc != 0)
        return rc;
    ret->items = ARENA_ARRAY(a, struct hpa_pod_metric, items->array.count);
    for (size_t i = 0; i < items->array.count; i++) {
        const struct json *pod = items->array.items[i];
        struct hpa_pod_metric m = {.pod = json_get_str(json_getc(pod, "metadata"), "name"),
                                   .at_s = timestamp_of(pod),
                                   .window_s = window_of(pod)};
        if (usage_of(pod, resource, container, &m.milli))
            ret->items[ret->count++] = m;
    }
    return 0;
}

int hpa_metrics_pods(struct arena *a, struct str json, struct hpa_metrics *ret, struct error *err)
{
    const struct json *items;
    int rc = list_items(a, json, "custom", &items, err);
    *ret = (struct hpa_metrics){0};
    if (rc != 0)
        return rc;
    ret->items = ARENA_ARRAY(a, struct hpa_pod_metric, items->array.count);
    for (size_t i = 0; i < items->array.count; i++) {
        const struct json *x = items->array.items[i];
        struct hpa_pod_metric m = {.pod = json_get_str(json_getc(x, "describedObject"), "name"),
                                   .at_s = timestamp_of(x),
                                   .window_s = json_get_int(x, "windowSeconds", WINDOW_DEFAULT_S)};
        if (milli_of(x, "value", &m.milli))
            ret->items[ret->count++] = m;
    }
    return 0;
}

int hpa_metrics_object(struct arena *a, struct str json, int64_t *ret_milli, struct error *err)
{
    const struct json *items;
    int rc = list_items(a, json, "custom", &items, err);
    if (rc == 0 && !milli_of(items->array.items[0], "value", ret_milli))
        rc = error_set(err, E_INVALID, "the custom metrics API gave no quantity as value");
    return rc;
}

int hpa_metrics_external(struct arena *a, struct str json, int64_t *ret_milli, struct error *err)
{
    const struct json *items;
    int rc = list_items(a, json, "external", &items, err);
    *ret_milli = 0;
    for (size_t i = 0; rc == 0 && i < items->array.count; i++) {
        int64_t one;
        if (!milli_of(items->array.items[i], "value", &one))
            return error_set(err, E_INVALID, "the external metrics API gave no quantity as value");
        if (__builtin_add_overflow(*ret_milli, one, ret_milli))
            *ret_milli = one > 0 ? INT64_MAX : INT64_MIN;
    }
    return rc;
}
