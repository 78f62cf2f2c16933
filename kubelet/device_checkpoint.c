/* device_checkpoint.c - see device_state.h: names are upstream's. Reservations that are not settled
 * are left out: nothing runs with them. */
#include "kubelet/device_state.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"

#define NO_NODE (-1)

/* FNV-1a, 32 bits. */
static uint32_t checksum(const struct json *data)
{
    AUTO_BUF text = BUF_INIT;
    json_write(data, true, &text);
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ text.data[i]) * 16777619u;
    return h;
}

static void put_node(struct arena *a, struct json *by_node, int node, const char *id)
{
    struct str key = arena_printf(a, "%d", node);
    struct json *list = json_get(by_node, key);
    if (list == NULL) {
        list = json_array(a);
        json_set(a, by_node, key, list);
    }
    json_append(a, list, json_string(a, str_of(id)));
}

static struct json *entry_json(struct arena *a, const struct device_grant *g)
{
    struct json *j = json_object(a), *by_node = json_object(a);
    AUTO_BUF answer = BUF_INIT;
    for (size_t i = 0; i < g->count; i++) {
        for (int node = 0; node < NUMA_NODE_MAX; node++)
            if (g->nodes[i] >> node & 1)
                put_node(a, by_node, node, g->ids[i]);
        if (g->nodes[i] == 0)
            put_node(a, by_node, NO_NODE, g->ids[i]);
    }
    base64_encode(BASE64_STD, g->answer, g->answer_bytes, &answer);
    json_setc(a, j, "PodUID", json_string(a, str_of(g->pod_uid)));
    json_setc(a, j, "ContainerName", json_string(a, str_of(g->container)));
    json_setc(a, j, "ResourceName", json_string(a, str_of(g->resource)));
    json_setc(a, j, "DeviceIDs", by_node);
    json_setc(a, j, "AllocResp", json_string(a, buf_str(&answer)));
    return j;
}

void device_checkpoint_write(const struct device_state *s, struct buf *out)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *top = json_object(a), *data = json_object(a), *entries = json_array(a),
                *registered = json_object(a);
    size_t pos = 0;
    void *v;
    LIST_FOREACH (it, &s->grants) {
        const struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        if (g->settled)
            json_append(a, entries, entry_json(a, g));
    }
    while (map_next(&s->resources, &pos, NULL, &v)) {
        const struct device_resource *r = v;
        struct json *ids = json_array(a);
        for (size_t i = 0; i < r->count; i++)
            if (r->devices[i].healthy)
                json_append(a, ids, json_string(a, str_of(r->devices[i].id)));
        json_set(a, registered, str_of(r->name), ids);
    }
    json_setc(a, data, "PodDeviceEntries", entries);
    json_setc(a, data, "RegisteredDevices", registered);
    json_setc(a, top, "Data", data);
    json_setc(a, top, "Checksum", json_int(a, checksum(data)));
    json_write(top, true, out);
}

static bool read_devices(struct device_grant *g, const struct json *by_node)
{
    for (size_t i = 0; i < by_node->object.count; i++) {
        const struct json_member *m = &by_node->object.members[i];
        int64_t node;
        if (!str_to_i64(m->key, &node) || node < NO_NODE || node >= NUMA_NODE_MAX ||
            m->value->type != JSON_ARRAY)
            return false;
        for (size_t k = 0; k < m->value->array.count; k++) {
            const struct json *id = m->value->array.items[k];
            if (id->type != JSON_STRING || str_empty(id->string))
                return false;
            device_grant_add_device(g, id->string, node < 0 ? 0 : (numa_mask)1 << node);
        }
    }
    return g->count > 0;
}

static bool read_entry(struct device_state *s, const struct json *j)
{
    struct str uid = json_get_str(j, "PodUID"), container = json_get_str(j, "ContainerName"),
               resource = json_get_str(j, "ResourceName");
    const struct json *by_node = json_getc(j, "DeviceIDs");
    AUTO_BUF answer = BUF_INIT;
    if (str_empty(uid) || str_empty(container) || str_empty(resource) || by_node == NULL ||
        by_node->type != JSON_OBJECT || device_grant_find(s, uid, container, resource) != NULL ||
        base64_decode(BASE64_STD, json_get_str(j, "AllocResp"), &answer) != 0)
        return false;
    struct device_grant *g = device_grant_add(s, uid, container, resource);
    device_grant_settle(g, answer.data, answer.len);
    return read_devices(g, by_node);
}

static int refuse(struct device_state *s, struct error *err, const char *why)
{
    device_state_done(s);
    device_state_init(s);
    return error_set(err, E_INVALID, "%s", why);
}

int device_checkpoint_read(struct device_state *s, struct str text, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *top;
    int rc = json_parse(a, text, &top, err);
    if (rc != 0)
        return rc;
    const struct json *data = json_getc(top, "Data");
    if (data == NULL || data->type != JSON_OBJECT)
        return error_set(err, E_INVALID, "Data: it is missing, or not an object");
    if (json_get_int(top, "Checksum", -1) != checksum(data))
        return error_set(err, E_INVALID, "Checksum: it does not match Data: the file is damaged");
    const struct json *entries = json_getc(data, "PodDeviceEntries"),
                      *registered = json_getc(data, "RegisteredDevices");
    bool has_entries = entries != NULL && entries->type == JSON_ARRAY;
    struct device_state read;
    device_state_init(&read);
    for (size_t i = 0; has_entries && i < entries->array.count; i++)
        if (!read_entry(&read, entries->array.items[i]))
            return refuse(&read, err,
                          "PodDeviceEntries: an entry lacks something, is malformed or "
                          "stands twice");
    /* Which devices there are is for the plugins to say again. */
    for (size_t i = 0;
         registered != NULL && registered->type == JSON_OBJECT && i < registered->object.count; i++)
        device_resource_add(&read, registered->object.members[i].key);
    struct list kept;
    list_init(&kept);
    list_splice(&kept, &read.grants);
    device_state_done(s); /* It is empty: read at start. */
    *s = read;
    list_init(&s->grants);
    list_splice(&s->grants, &kept);
    return 0;
}
