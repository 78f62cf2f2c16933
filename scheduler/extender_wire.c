/* extender_wire.c - see extender_wire.h. */
#include "scheduler/extender_wire.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "scheduler/snapshot.h"

#include <strings.h>

/* --- requests ----------------------------------------------------------------------------------
 */

static void write_pod(const char *name, const struct core_v1_pod *pod, struct buf *out)
{
    buf_printf(out, "\"%s\":", name);
    api_json_encode(&core_v1_pod_msg, pod, STR_NULL, STR_NULL, out);
}

static void write_text(const char *name, struct str value, struct buf *out)
{
    buf_printf(out, "\"%s\":", name);
    json_write_string(value, out);
}

void extender_write_args(const struct core_v1_pod *pod, struct node_info *const *nodes,
                         size_t count, bool by_name, struct buf *out)
{
    buf_putc(out, '{');
    write_pod("Pod", pod, out);
    buf_puts(out, by_name ? ",\"Nodes\":null,\"NodeNames\":["
                          : ",\"Nodes\":{\"metadata\":{},\"items\":[");
    for (size_t i = 0; i < count; i++) {
        if (i != 0)
            buf_putc(out, ',');
        if (by_name)
            json_write_string(str_of(nodes[i]->name), out);
        else
            api_json_encode(&core_v1_node_msg, nodes[i]->node, STR_NULL, STR_NULL, out);
    }
    buf_puts(out, by_name ? "]}" : "]},\"NodeNames\":null}");
}

void extender_write_preemption(const struct core_v1_pod *pod, const struct extender_victims *v,
                               bool by_name, struct buf *out)
{
    buf_putc(out, '{');
    write_pod("Pod", pod, out);
    buf_puts(out, by_name ? ",\"NodeNameToVictims\":null,\"NodeNameToMetaVictims\":{"
                          : ",\"NodeNameToVictims\":{");
    json_write_string(v->node, out);
    buf_puts(out, ":{\"Pods\":[");
    for (size_t i = 0; i < v->count; i++) {
        const struct core_v1_pod *victim = v->pods[i]->msg;
        if (i != 0)
            buf_putc(out, ',');
        if (by_name) {
            buf_putc(out, '{');
            write_text("UID", victim->metadata.uid, out);
            buf_putc(out, '}');
        } else {
            api_json_encode(&core_v1_pod_msg, victim, STR_NULL, STR_NULL, out);
        }
    }
    buf_printf(out, "],\"NumPDBViolations\":%lld}}", (long long)v->violations);
    buf_puts(out, by_name ? "}" : ",\"NodeNameToMetaVictims\":null}");
}

void extender_write_binding(const struct core_v1_pod *pod, struct str node, struct buf *out)
{
    buf_putc(out, '{');
    write_text("PodName", pod->metadata.name, out);
    buf_putc(out, ',');
    write_text("PodNamespace", pod->metadata.namespace, out);
    buf_putc(out, ',');
    write_text("PodUID", pod->metadata.uid, out);
    buf_putc(out, ',');
    write_text("Node", node, out);
    buf_putc(out, '}');
}

/* --- answers ------------------------------------------------------------------------------------
 */

/* NULL when absent, null or of another type. */
static const struct json *member(const struct json *j, const char *name, enum json_type type)
{
    for (size_t i = 0; j != NULL && j->type == JSON_OBJECT && i < j->object.count; i++) {
        const struct json_member *m = &j->object.members[i];
        if (m->key.len == strlen(name) && strncasecmp(m->key.data, name, m->key.len) == 0)
            return m->value->type == type ? m->value : NULL;
    }
    return NULL;
}

static struct str text_of(const struct json *j, const char *name)
{
    const struct json *m = member(j, name, JSON_STRING);
    return m != NULL ? m->string : STR_NULL;
}

static int parse(struct arena *a, struct str body, enum json_type type, struct json **ret,
                 struct error *err)
{
    int rc = json_parse(a, body, ret, err);
    if (rc == 0 && (*ret)->type != type)
        rc = error_set(err, E_INVALID, "the answer is %s", json_type_name(*ret));
    return rc;
}

static int said_error(const struct json *j, struct error *err)
{
    struct str said = text_of(j, "Error");
    return str_empty(said) ? 0 : error_set(err, E_UNAVAILABLE, STR_FMT, STR_ARG(said));
}

static size_t member_count(const struct json *j)
{
    return j != NULL ? j->object.count : 0;
}

static void add_failed(const struct json *map, bool unresolvable, struct extender_failed *list,
                       size_t *count)
{
    for (size_t i = 0; i < member_count(map); i++) {
        const struct json_member *m = &map->object.members[i];
        struct str reason = m->value->type == JSON_STRING ? m->value->string : STR_NULL;
        list[(*count)++] = (struct extender_failed){m->key, reason, unresolvable};
    }
}

static size_t item_count(const struct json *j)
{
    return j != NULL ? j->array.count : 0;
}

int extender_read_filtered(struct arena *a, struct str body, bool by_name,
                           struct extender_filtered *ret, struct error *err)
{
    struct json *j;
    *ret = (struct extender_filtered){0};
    int rc = parse(a, body, JSON_OBJECT, &j, err);
    if (rc == 0)
        rc = said_error(j, err);
    if (rc != 0)
        return rc;
    const struct json *names = by_name ? member(j, "NodeNames", JSON_ARRAY) : NULL;
    const struct json *items =
        names == NULL ? member(member(j, "Nodes", JSON_OBJECT), "items", JSON_ARRAY) : NULL;
    const struct json *list = names != NULL ? names : items;
    struct str *passed = ARENA_ARRAY(a, struct str, item_count(list) + 1);
    for (size_t i = 0; i < item_count(list); i++) {
        const struct json *item = list->array.items[i];
        passed[i] = names == NULL               ? json_get_str(json_getc(item, "metadata"), "name")
                    : item->type == JSON_STRING ? item->string
                                                : STR_NULL;
    }
    const struct json *hopeless = member(j, "FailedAndUnresolvableNodes", JSON_OBJECT);
    const struct json *others = member(j, "FailedNodes", JSON_OBJECT);
    struct extender_failed *failed =
        ARENA_ARRAY(a, struct extender_failed, member_count(hopeless) + member_count(others) + 1);
    /* Who looks for a node finds the graver word first. */
    add_failed(hopeless, true, failed, &ret->failed_count);
    add_failed(others, false, failed, &ret->failed_count);
    ret->failed = failed;
    ret->names = passed;
    ret->name_count = item_count(list);
    return 0;
}

int extender_read_scores(struct arena *a, struct str body, const struct extender_score **ret,
                         size_t *ret_count, struct error *err)
{
    struct json *j;
    int rc = parse(a, body, JSON_ARRAY, &j, err);
    if (rc != 0)
        return rc;
    struct extender_score *list = ARENA_ARRAY(a, struct extender_score, j->array.count + 1);
    for (size_t i = 0; i < j->array.count; i++) {
        const struct json *score = member(j->array.items[i], "Score", JSON_INT);
        list[i] = (struct extender_score){text_of(j->array.items[i], "Host"),
                                          score != NULL ? score->integer : 0};
    }
    *ret = list;
    *ret_count = j->array.count;
    return 0;
}

int extender_read_preemption(struct arena *a, struct str body, struct str node, bool *ret_accepted,
                             const struct str **ret_uids, size_t *ret_count, struct error *err)
{
    struct json *j;
    *ret_accepted = false;
    *ret_count = 0;
    int rc = parse(a, body, JSON_OBJECT, &j, err);
    if (rc != 0)
        return rc;
    const struct json *nodes = member(j, "NodeNameToMetaVictims", JSON_OBJECT);
    const struct json *victims = nodes != NULL ? json_get(nodes, node) : NULL;
    if (victims == NULL || victims->type != JSON_OBJECT)
        return 0;
    const struct json *pods = member(victims, "Pods", JSON_ARRAY);
    struct str *uids = ARENA_ARRAY(a, struct str, item_count(pods) + 1);
    for (size_t i = 0; i < item_count(pods); i++)
        uids[i] = text_of(pods->array.items[i], "UID");
    *ret_accepted = true;
    *ret_uids = uids;
    *ret_count = item_count(pods);
    return 0;
}

int extender_read_binding(struct arena *a, struct str body, struct error *err)
{
    struct json *j;
    int rc = parse(a, body, JSON_OBJECT, &j, err);
    return rc != 0 ? rc : said_error(j, err);
}
