/* config_show.c - see config_show.h. */
#include "kubelet/config_show.h"

#include "kubelet/config_fields.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/flags.h"

/* Items "name=value" (less: "name<value"). */
static struct json *map_of(struct arena *a, const struct flag_list *items, enum config_type type)
{
    struct json *map = json_object(a);
    for (size_t i = 0; i < items->count; i++) {
        struct str name, value;
        str_cut(str_of(items->items[i]), type == CONFIG_MAP_LESS ? '<' : '=', &name, &value);
        json_set(a, map, name,
                 type == CONFIG_SWITCHES
                     ? json_bool(a, str_eqc(value, "true") || str_eqc(value, "1"))
                     : json_string(a, value));
    }
    return map;
}

static struct json *list_of(struct arena *a, const struct flag_list *items)
{
    struct json *list = json_array(a);
    for (size_t i = 0; i < items->count; i++)
        json_append(a, list, json_string(a, str_of(items->items[i])));
    return list;
}

/* "a=b:NoSchedule" */
static struct json *taint(struct arena *a, struct str item)
{
    struct json *j = json_object(a);
    struct str pair, effect, key, value;
    str_cut(item, ':', &pair, &effect);
    str_cut(pair, '=', &key, &value);
    json_setc(a, j, "key", json_string(a, key));
    if (value.len > 0)
        json_setc(a, j, "value", json_string(a, value));
    json_setc(a, j, "effect", json_string(a, effect));
    return j;
}

static struct json *number(struct arena *a, struct str text)
{
    int64_t n = 0;
    return str_to_i64(text, &n) ? json_int(a, n) : json_string(a, text);
}

/* "1000=60" */
static struct json *shutdown_group(struct arena *a, struct str item)
{
    struct json *j = json_object(a);
    struct str priority, seconds;
    str_cut(item, '=', &priority, &seconds);
    json_setc(a, j, "priority", number(a, priority));
    json_setc(a, j, "shutdownGracePeriodSeconds", number(a, seconds));
    return j;
}

/* "0:memory=1Gi,hugepages-2Mi=4Mi" */
static struct json *reserved_memory(struct arena *a, struct str item)
{
    struct json *j = json_object(a), *limits = json_object(a);
    struct str node, rest, one, name, value;
    str_cut(item, ':', &node, &rest);
    while (rest.len > 0) {
        str_cut(rest, ',', &one, &rest);
        str_cut(one, '=', &name, &value);
        json_set(a, limits, name, json_string(a, value));
    }
    json_setc(a, j, "numaNode", number(a, node));
    json_setc(a, j, "limits", limits);
    return j;
}

static struct json *objects_of(struct arena *a, const char *path, const struct flag_list *items)
{
    struct json *list = json_array(a);
    for (size_t i = 0; i < items->count; i++) {
        struct str item = str_of(items->items[i]);
        json_append(a, list,
                    strcmp(path, "registerWithTaints") == 0 ? taint(a, item)
                    : strcmp(path, "reservedMemory") == 0   ? reserved_memory(a, item)
                                                            : shutdown_group(a, item));
    }
    return list;
}

static struct json *scalar(struct arena *a, enum config_type type, struct str text)
{
    if (type == CONFIG_BOOLEAN)
        return json_bool(a, str_eqc(text, "true"));
    if (type == CONFIG_INTEGER || type == CONFIG_LONG)
        return number(a, text);
    return json_string(a, text);
}

/* NULL: nothing is to be said. */
static struct json *value_of(struct arena *a, const struct flag_set *f,
                             const struct config_field *row)
{
    AUTO_BUF text = BUF_INIT;
    if (row->flag == NULL)
        return row->same != NULL ? scalar(a, row->type, str_of(row->same)) : NULL;
    const struct flag_list *items = flag_items(f, row->flag);
    if (items != NULL && items->count == 0 && row->type != CONFIG_MAP_LESS)
        return NULL;
    if (items != NULL)
        return row->type == CONFIG_TEXTS  ? list_of(a, items)
               : row->type == CONFIG_LIST ? objects_of(a, row->path, items)
                                          : map_of(a, items, row->type);
    flag_value(f, row->flag, &text);
    if (row->type == CONFIG_TEXT && text.len == 0)
        return NULL;
    return scalar(a, row->type, arena_str(a, buf_str(&text)));
}

/* Below the objects of its path, which are made as they are needed. */
static void put(struct arena *a, struct json *config, struct str path, struct json *value)
{
    struct str head, tail;
    while (str_cut(path, '.', &head, &tail)) {
        struct json *inner = json_get(config, head);
        if (inner == NULL) {
            inner = json_object(a);
            json_set(a, config, head, inner);
        }
        config = inner;
        path = tail;
    }
    json_set(a, config, path, value);
}

void kubelet_config_show(const struct flag_set *f, struct buf *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *config = json_object(a), *all = json_object(a);
    for (size_t i = 0; i < config_field_count; i++) {
        struct json *value = value_of(a, f, &config_fields[i]);
        if (value != NULL)
            put(a, config, str_of(config_fields[i].path), value);
    }
    json_setc(a, all, "kubeletconfig", config);
    json_write(all, false, b);
}
