/* config_file.c - reads a KubeletConfiguration (kubelet.config.k8s.io/v1beta1).
 *
 * Strict as upstream's kubelet: a field that is not known, stands twice or has another type is
 * refused with its path. Fields without a flag are known and mean nothing here, which is logged
 * where they say something. */
#include "kubelet/config.h"
#include "kubelet/config_fields.h"
#include "kubelet/kubelet.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"

#define CONFIG_BYTES_MAX (1u << 20)
#define API_VERSION "kubelet.config.k8s.io/v1beta1"

/* What a field is read with. */
struct reader {
    struct kubelet_config *c;
    struct flag_set *flags;
    struct arena *a;
};

/* --- types ------------------------------------------------------------------------------- */

static int refuse(struct error *err, struct str path, const char *want, const struct json *found)
{
    AUTO_BUF b = BUF_INIT;
    json_write(found, false, &b);
    return error_set(err, E_INVALID, STR_FMT ": want %s, found the %s %.*s", STR_ARG(path), want,
                     json_type_name(found), (int)MIN_OF(b.len, (size_t)64), (const char *)b.data);
}

static int text_of(struct arena *a, struct str path, const struct json *j, const char **ret,
                   struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    if (j->type == JSON_STRING) {
        *ret = str_c(arena_str(a, j->string));
        return 0;
    }
    json_write(j, false, &b);
    if (j->type == JSON_INT || j->type == JSON_DOUBLE || j->type == JSON_BOOL)
        return error_set(err, E_INVALID,
                         STR_FMT ": want a string, found the %s %.*s: write \"%.*s\"",
                         STR_ARG(path), json_type_name(j), (int)b.len, (const char *)b.data,
                         (int)b.len, (const char *)b.data);
    return refuse(err, path, "a string", j);
}

/* One value as its flag takes it, checked. */
static int scalar(struct arena *a, enum config_type type, struct str path, const struct json *j,
                  const char **ret, struct error *err)
{
    int64_t ns;
    if (type == CONFIG_BOOLEAN) {
        if (j->type != JSON_BOOL)
            return refuse(err, path, "true or false", j);
        *ret = j->boolean ? "true" : "false";
        return 0;
    }
    if (type == CONFIG_INTEGER || type == CONFIG_LONG) {
        if (j->type != JSON_INT)
            return refuse(err, path, "an integer", j);
        if (type == CONFIG_INTEGER && (j->integer < INT32_MIN || j->integer > INT32_MAX))
            return refuse(err, path, "an integer of 32 bits", j);
        *ret = str_c(arena_printf(a, "%lld", (long long)j->integer));
        return 0;
    }
    if (type == CONFIG_NUMBER) {
        *ret = ""; /* Nothing of that type has a flag. */
        return j->type == JSON_INT || j->type == JSON_DOUBLE ? 0 : refuse(err, path, "a number", j);
    }
    if (type == CONFIG_TEXT)
        return text_of(a, path, j, ret, err);
    if (j->type != JSON_STRING || duration_parse(j->string, &ns) != 0)
        return refuse(err, path, "a duration such as \"1m30s\"", j);
    *ret = str_c(arena_str(a, j->string));
    return 0;
}

static bool is_zero(enum config_type type, const char *text)
{
    int64_t n;
    return type == CONFIG_BOOLEAN                          ? strcmp(text, "false") == 0
           : type == CONFIG_INTEGER || type == CONFIG_LONG ? strcmp(text, "0") == 0
           : type == CONFIG_DURATION ? duration_parse(str_of(text), &n) == 0 && n == 0
                                     : text[0] == '\0';
}

/* --- lists and maps ---------------------------------------------------------------------- */

static int list_items(struct arena *a, const struct config_field *row, const struct json *j,
                      struct flag_list *ret, struct error *err)
{
    if (j->type != JSON_ARRAY)
        return refuse(err, str_of(row->path), "a list", j);
    ret->items = ARENA_ARRAY(a, const char *, j->array.count + 1);
    for (size_t i = 0; i < j->array.count; i++) {
        struct str path = arena_printf(a, "%s[%zu]", row->path, i);
        int rc = scalar(a, row->type == CONFIG_TEXTS ? CONFIG_TEXT : CONFIG_INTEGER, path,
                        j->array.items[i], &ret->items[ret->count++], err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int map_items(struct arena *a, const struct config_field *row, const struct json *j,
                     struct flag_list *ret, struct error *err)
{
    if (j->type != JSON_OBJECT)
        return refuse(err, str_of(row->path), "a map", j);
    ret->items = ARENA_ARRAY(a, const char *, j->object.count + 1);
    for (size_t i = 0; i < j->object.count; i++) {
        struct str key = j->object.members[i].key;
        struct str path = arena_printf(a, "%s." STR_FMT, row->path, STR_ARG(key));
        const char *value;
        int rc = scalar(a, row->type == CONFIG_SWITCHES ? CONFIG_BOOLEAN : CONFIG_TEXT, path,
                        j->object.members[i].value, &value, err);
        if (rc != 0)
            return rc;
        ret->items[ret->count++] = str_c(arena_printf(
            a, STR_FMT "%s%s", STR_ARG(key), row->type == CONFIG_MAP_LESS ? "<" : "=", value));
    }
    return 0;
}

/* A member of an object in a list; others than the named ones are refused. */
static int check_members(struct str path, const struct json *j, const char *const *names,
                         size_t count, struct error *err)
{
    if (j->type != JSON_OBJECT)
        return refuse(err, path, "an object", j);
    for (size_t i = 0; i < j->object.count; i++) {
        bool known = false;
        for (size_t n = 0; n < count; n++)
            known = known || str_eqc(j->object.members[i].key, names[n]);
        if (!known)
            return error_set(err, E_INVALID, STR_FMT "." STR_FMT ": unknown field", STR_ARG(path),
                             STR_ARG(j->object.members[i].key));
    }
    return 0;
}

static int member_of(struct arena *a, struct str path, const struct json *j, const char *name,
                     enum config_type type, const char **ret, struct error *err)
{
    const struct json *v = json_getc(j, name);
    struct str full = arena_printf(a, STR_FMT ".%s", STR_ARG(path), name);
    if (v == NULL || v->type == JSON_NULL) {
        *ret = type == CONFIG_TEXT ? "" : "0";
        return 0;
    }
    return scalar(a, type, full, v, ret, err);
}

/* [{priority: 1000, shutdownGracePeriodSeconds: 60}] as "1000=60" */
static int shutdown_group(struct arena *a, struct str path, const struct json *j, const char **ret,
                          struct error *err)
{
    static const char *const names[] = {"priority", "shutdownGracePeriodSeconds"};
    const char *priority, *seconds;
    int rc = check_members(path, j, names, ARRAY_SIZE(names), err);
    if (rc == 0)
        rc = member_of(a, path, j, names[0], CONFIG_INTEGER, &priority, err);
    if (rc == 0)
        rc = member_of(a, path, j, names[1], CONFIG_LONG, &seconds, err);
    if (rc == 0)
        *ret = str_c(arena_printf(a, "%s=%s", priority, seconds));
    return rc;
}

/* [{key: a, value: b, effect: NoSchedule}] as "a=b:NoSchedule" */
static int taint(struct arena *a, struct str path, const struct json *j, const char **ret,
                 struct error *err)
{
    static const char *const names[] = {"key", "value", "effect", "timeAdded"};
    const char *key, *value, *effect;
    int rc = check_members(path, j, names, ARRAY_SIZE(names), err);
    if (rc == 0)
        rc = member_of(a, path, j, names[0], CONFIG_TEXT, &key, err);
    if (rc == 0)
        rc = member_of(a, path, j, names[1], CONFIG_TEXT, &value, err);
    if (rc == 0)
        rc = member_of(a, path, j, names[2], CONFIG_TEXT, &effect, err);
    if (rc != 0)
        return rc;
    if (strcmp(effect, "NoSchedule") != 0 && strcmp(effect, "PreferNoSchedule") != 0 &&
        strcmp(effect, "NoExecute") != 0)
        return error_set(err, E_INVALID,
                         STR_FMT ".effect: want NoSchedule, PreferNoSchedule or NoExecute, found "
                                 "\"%s\"",
                         STR_ARG(path), effect);
    *ret = str_c(arena_printf(a, "%s=%s:%s", key, value, effect));
    return 0;
}

/* [{numaNode: 0, limits: {memory: 1Gi}}] as "0:memory=1Gi" */
static int reserved_memory(struct arena *a, struct str path, const struct json *j, const char **ret,
                           struct error *err)
{
    static const char *const names[] = {"numaNode", "limits"};
    const struct json *limits = json_getc(j, "limits");
    AUTO_BUF b = BUF_INIT;
    const char *node;
    int rc = check_members(path, j, names, ARRAY_SIZE(names), err);
    if (rc == 0)
        rc = member_of(a, path, j, names[0], CONFIG_INTEGER, &node, err);
    if (rc != 0)
        return rc;
    path = arena_printf(a, STR_FMT ".limits", STR_ARG(path));
    if (limits == NULL || limits->type != JSON_OBJECT || limits->object.count == 0)
        return refuse(err, path, "a map with memory or hugepages-<size>",
                      limits != NULL ? limits : json_null(a));
    for (size_t i = 0; rc == 0 && i < limits->object.count; i++) {
        const struct json_member *m = &limits->object.members[i];
        const char *value;
        rc = scalar(a, CONFIG_TEXT,
                    arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(m->key)), m->value,
                    &value, err);
        if (rc == 0)
            buf_printf(&b, "%s" STR_FMT "=%s", i > 0 ? "," : "", STR_ARG(m->key), value);
    }
    if (rc == 0)
        *ret = str_c(arena_printf(a, "%s:" STR_FMT, node, STR_ARG(buf_str(&b))));
    return rc;
}

static int object_items(struct arena *a, const struct config_field *row, const struct json *j,
                        struct flag_list *ret, struct error *err)
{
    if (j->type != JSON_ARRAY)
        return refuse(err, str_of(row->path), "a list", j);
    ret->items = ARENA_ARRAY(a, const char *, j->array.count + 1);
    for (size_t i = 0; i < j->array.count; i++) {
        struct str path = arena_printf(a, "%s[%zu]", row->path, i);
        const struct json *item = j->array.items[i];
        int rc = 0;
        const char **into = &ret->items[ret->count++];
        if (strcmp(row->path, "registerWithTaints") == 0)
            rc = taint(a, path, item, into, err);
        else if (strcmp(row->path, "shutdownGracePeriodByPodPriority") == 0)
            rc = shutdown_group(a, path, item, into, err);
        else if (strcmp(row->path, "reservedMemory") == 0)
            rc = reserved_memory(a, path, item, into, err);
        else if (item->type != JSON_OBJECT)
            rc = refuse(err, path, "an object", item);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- the file ---------------------------------------------------------------------------- */

/* The file's values stand below the command line's. */
static bool counts(const struct reader *r, const struct config_field *row)
{
    if (row->flag == NULL)
        log_warning("--config %s: %s means nothing to this node agent and is ignored",
                    r->c->config_file, row->path);
    return row->flag != NULL && !flag_changed(r->flags, row->flag);
}

static void note_place(struct reader *r, const struct config_field *row)
{
    struct kubelet_config *c = r->c;
    if (c->file_flags == NULL)
        c->file_flags = ARENA_ARRAY(r->a, const char *, config_field_count);
    c->file_flags[c->file_flag_count++] = row->flag;
    const struct {
        const char *flag;
        const char **file;
    } thresholds[] = {
        {"eviction-hard", &c->eviction.file.hard},
        {"eviction-soft", &c->eviction.file.soft},
        {"eviction-soft-grace-period", &c->eviction.file.soft_grace},
        {"eviction-minimum-reclaim", &c->eviction.file.min_reclaim},
    };
    for (size_t i = 0; i < ARRAY_SIZE(thresholds); i++)
        if (strcmp(row->flag, thresholds[i].flag) == 0)
            *thresholds[i].file = c->config_file;
}

static int read_list(struct reader *r, const struct config_field *row, const struct json *j,
                     struct error *err)
{
    struct flag_list items = {0};
    int rc = row->type == CONFIG_TEXTS || row->type == CONFIG_INTEGERS
                 ? list_items(r->a, row, j, &items, err)
             : row->type == CONFIG_LIST ? object_items(r->a, row, j, &items, err)
                                        : map_items(r->a, row, j, &items, err);
    /* Lists that are empty say nothing; an empty map of thresholds says that there are none. */
    if (rc != 0 || (items.count == 0 && row->type != CONFIG_MAP_LESS) || !counts(r, row))
        return rc;
    note_place(r, row);
    return flag_set_items(r->flags, row->flag, &items, err);
}

static int read_object(struct reader *r, struct str prefix, const struct json *j,
                       struct error *err);

static int read_field(struct reader *r, const struct config_field *row, const struct json *j,
                      struct error *err)
{
    const char *text = "";
    int rc;
    if (j->type == JSON_NULL)
        return 0;
    switch (row->type) {
    case CONFIG_OBJECT:
        return j->type == JSON_OBJECT ? read_object(r, arena_printf(r->a, "%s.", row->path), j, err)
                                      : refuse(err, str_of(row->path), "an object", j);
    case CONFIG_ANY:
        return j->type == JSON_OBJECT ? 0 : refuse(err, str_of(row->path), "an object", j);
    case CONFIG_TEXTS:
    case CONFIG_INTEGERS:
    case CONFIG_MAP:
    case CONFIG_MAP_LESS:
    case CONFIG_SWITCHES:
    case CONFIG_LIST:
        return read_list(r, row, j, err);
    default:
        rc = scalar(r->a, row->type, str_of(row->path), j, &text, err);
        if (rc != 0 || ((row->zero_is_unset || row->flag == NULL) && is_zero(row->type, text)) ||
            (row->same != NULL && strcmp(row->same, text) == 0) || !counts(r, row))
            return rc;
        note_place(r, row);
        rc = flag_set_value(r->flags, row->flag, text, err);
        return rc == 0 ? 0 : error_prefix(err, "%s", row->path);
    }
}

static int read_object(struct reader *r, struct str prefix, const struct json *j, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < j->object.count; i++) {
        const struct json_member *m = &j->object.members[i];
        struct str path = arena_printf(r->a, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(m->key));
        bool is_type = prefix.len == 0 && (str_eqc(path, "kind") || str_eqc(path, "apiVersion"));
        const struct config_field *row = config_field_find(path);
        if (is_type)
            continue;
        if (row == NULL)
            return error_set(err, E_INVALID,
                             STR_FMT ": unknown field: no KubeletConfiguration of " API_VERSION
                                     " has it; correct its spelling or remove it",
                             STR_ARG(path));
        rc = read_field(r, row, m->value, err);
    }
    return rc;
}

static int check_kind(const struct json *j, struct error *err)
{
    if (j->type != JSON_OBJECT)
        return error_set(err, E_INVALID, "it is no object: a KubeletConfiguration is wanted");
    if (!str_eqc(json_get_str(j, "kind"), "KubeletConfiguration"))
        return error_set(err, E_INVALID, "kind: want KubeletConfiguration, found \"" STR_FMT "\"",
                         STR_ARG(json_get_str(j, "kind")));
    if (!str_eqc(json_get_str(j, "apiVersion"), API_VERSION))
        return error_set(err, E_INVALID, "apiVersion: want " API_VERSION ", found \"" STR_FMT "\"",
                         STR_ARG(json_get_str(j, "apiVersion")));
    return 0;
}

int kubelet_config_read(struct kubelet_config *c, struct flag_set *f, struct str text,
                        struct error *err)
{
    /* Values are borrowed by the flags: this lives as long as the program. */
    struct arena *a = c->file_values = arena_new(0);
    struct reader r = {.c = c, .flags = f, .a = a};
    struct json *j = NULL;
    size_t used;
    int rc = api_yaml_parse_strict(a, text, &used, &j, err);
    if (rc == 0)
        rc = check_kind(j, err);
    if (rc == 0)
        rc = read_object(&r, STR(""), j, err);
    return rc;
}

int kubelet_config_load(struct kubelet_config *c, struct flag_set *f, struct error *err)
{
    if (c->config_file == NULL || c->config_file[0] == '\0')
        return 0;
    AUTO_BUF text = BUF_INIT;
    int rc = file_read(c->config_file, CONFIG_BYTES_MAX, &text, err);
    if (rc == 0)
        rc = kubelet_config_read(c, f, buf_str(&text), err);
    return rc == 0 ? 0 : error_prefix(err, "--config %s", c->config_file);
}

static const char *field_of(const struct kubelet_config *c, struct str flag)
{
    for (size_t i = 0; i < c->file_flag_count; i++)
        if (str_eqc(flag, c->file_flags[i]))
            return config_field_of_flag(flag);
    return NULL;
}

int kubelet_config_place(const struct kubelet_config *c, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    bool any = false;
    for (const char *p = error_message(err); *p != '\0';) {
        size_t n = strncmp(p, "--", 2) == 0 ? 2 + strspn(p + 2, "abcdefghijklmnopqrstuvwxyz-") : 1;
        const char *field = n > 2 ? field_of(c, str_n(p + 2, n - 2)) : NULL;
        if (field != NULL)
            buf_puts(&b, field);
        else
            buf_append(&b, p, n);
        any = any || field != NULL;
        p += n;
    }
    if (!any)
        return err->code;
    return error_set(err, err->code, "--config %s: %.*s", c->config_file, (int)b.len,
                     (const char *)b.data);
}
