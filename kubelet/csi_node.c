/* csi_node.c - see csi.h: the node's CSINode object names its drivers; the
 * topology they tell becomes labels of the Node. */
#include "kubelet/csi_internal.h"

#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/client/client.h"

#define SOON_MS 50u
#define RETRY_MS 2000u
#define CALL_TIMEOUT_MS 10000u

static void on_timer(uv_timer_t *t);

static void publish_in(struct csi *c, uint64_t ms)
{
    uv_timer_start(&c->publish_timer, on_timer, ms, 0);
}

void csi_node_publish(struct csi *c)
{
    if (c->publishing)
        c->publish_again = true;
    else
        publish_in(c, SOON_MS);
}

static void end(struct csi *c, bool good)
{
    bool again = c->publish_again;
    c->publishing = c->publish_again = false;
    if (!good || again)
        publish_in(c, good ? SOON_MS : RETRY_MS);
}

static const struct api_kind *csi_node_kind(void)
{
    return api_kind_by_api_version(STR("storage.k8s.io/v1"), STR("CSINode"));
}

/* --- the Node's labels and annotation -----------------------------------------------------------
 */

static void on_labeled(struct client_request *r, const struct client_result *result, void *arg)
{
    UNUSED(r);
    if (result->code != 0)
        log_warning("labels of CSI topology: %s", result->message);
    end(arg, result->code == 0);
}

static void label_node(struct csi *c)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF ids = BUF_INIT;
    AUTO_BUF body = BUF_INIT;
    struct json *labels = json_object(a), *notes = json_object(a), *meta = json_object(a);
    struct json *patch = json_object(a), *by_driver = json_object(a);
    size_t pos = 0, count = 0;
    void *v;
    while (map_next(&c->sockets, &pos, NULL, &v)) {
        const struct csi_driver *d = v;
        if (!d->ready || d->dra_version != NULL)
            continue;
        count++;
        json_set(a, by_driver, str_of(d->name), json_string(a, str_of(d->node_id)));
        for (size_t i = 0; i < d->topology_count; i++)
            json_set(a, labels, str_of(d->topology_keys[i]),
                     json_string(a, str_of(d->topology_values[i])));
    }
    if (count == 0) {
        end(c, true);
        return;
    }
    json_write(by_driver, false, &ids);
    json_setc(a, notes, "csi.volume.kubernetes.io/nodeid", json_string(a, buf_str(&ids)));
    json_setc(a, meta, "labels", labels);
    json_setc(a, meta, "annotations", notes);
    json_setc(a, patch, "metadata", meta);
    json_write(patch, false, &body);
    struct client_call call = {.verb = CLIENT_PATCH,
                               .kind = api_kind_by_api_version(STR("v1"), STR("Node")),
                               .name = str_of(c->k->node_name),
                               .patch_type = CLIENT_PATCH_MERGE,
                               .raw_body = buf_str(&body),
                               .timeout_ms = CALL_TIMEOUT_MS,
                               .undecoded = true,
                               .done = on_labeled,
                               .arg = c};
    struct error err;
    if (client_start(c->k->client, &call, NULL, &err) != 0)
        end(c, false);
}

/* --- CSINode ------------------------------------------------------------------------------------
 */

static void fill_driver(struct arena *a, const struct csi_driver *d,
                        struct storage_v1_csi_node_driver *ret)
{
    *ret =
        (struct storage_v1_csi_node_driver){.name = str_of(d->name), .node_id = str_of(d->node_id)};
    ret->topology_keys = ARENA_ARRAY(a, struct str, d->topology_count);
    for (size_t i = 0; i < d->topology_count; i++)
        ret->topology_keys[ret->topology_keys_count++] = str_of(d->topology_keys[i]);
    if (d->max_volumes > 0) {
        ret->allocatable = ARENA_NEW(a, struct storage_v1_volume_node_resources);
        ret->allocatable->has_count = true;
        ret->allocatable->count = (int32_t)MIN_OF(d->max_volumes, (int64_t)INT32_MAX);
    }
}

static void fill(struct arena *a, const struct csi *c, struct storage_v1_csi_node *ret)
{
    size_t pos = 0;
    void *v;
    ret->spec.drivers = ARENA_ARRAY(a, struct storage_v1_csi_node_driver, c->sockets.count);
    ret->spec.drivers_count = 0;
    while (map_next(&c->sockets, &pos, NULL, &v))
        if (((const struct csi_driver *)v)->ready &&
            ((const struct csi_driver *)v)->dra_version == NULL)
            fill_driver(a, v, &ret->spec.drivers[ret->spec.drivers_count++]);
}

static void on_written(struct client_request *r, const struct client_result *result, void *arg)
{
    struct csi *c = arg;
    UNUSED(r);
    if (result->code == 0) {
        label_node(c);
        return;
    }
    if (result->code != E_CONFLICT && result->code != E_EXISTS)
        log_warning("CSINode: %s", result->message);
    end(c, false);
}

static void write_object(struct csi *c, struct storage_v1_csi_node *node, enum client_verb verb)
{
    struct client_call call = {.verb = verb,
                               .kind = csi_node_kind(),
                               .name = verb == CLIENT_UPDATE ? str_of(c->k->node_name) : STR_NULL,
                               .body = node,
                               .timeout_ms = CALL_TIMEOUT_MS,
                               .undecoded = true,
                               .done = on_written,
                               .arg = c};
    struct error err;
    if (client_start(c->k->client, &call, NULL, &err) != 0)
        end(c, false);
}

static void on_read(struct client_request *r, const struct client_result *result, void *arg)
{
    struct csi *c = arg;
    if (c->k->node == NULL) { /* Deleted meanwhile. */
        end(c, false);
        return;
    }
    AUTO_ARENA *a = arena_new(0);
    struct storage_v1_csi_node node = {0};
    struct meta_v1_owner_reference owner = {.api_version = STR("v1"),
                                            .kind = STR("Node"),
                                            .name = str_of(c->k->node_name),
                                            .uid = api_object_meta(c->k->node)->uid};
    UNUSED(r);
    if (result->code == E_NOT_FOUND) {
        node.metadata.name = str_of(c->k->node_name);
        node.metadata.owner_references = &owner;
        node.metadata.owner_references_count = 1;
        fill(a, c, &node);
        write_object(c, &node, CLIENT_CREATE);
    } else if (result->code != 0) {
        log_warning("CSINode: %s", result->message);
        end(c, false);
    } else {
        const struct storage_v1_csi_node *there = result->object->msg;
        node = *there;
        fill(a, c, &node);
        if (api_msg_equal(&storage_v1_csi_node_spec_msg, &there->spec, &node.spec))
            label_node(c);
        else
            write_object(c, &node, CLIENT_UPDATE);
    }
}

static void on_timer(uv_timer_t *t)
{
    struct csi *c = t->data;
    if (c->k->client == NULL)
        return; /* Stand-alone. */
    if (c->k->node == NULL) {
        publish_in(c, RETRY_MS);
        return;
    }
    struct client_call call = {.verb = CLIENT_GET,
                               .kind = csi_node_kind(),
                               .name = str_of(c->k->node_name),
                               .timeout_ms = CALL_TIMEOUT_MS,
                               .done = on_read,
                               .arg = c};
    struct error err;
    c->publishing = true;
    if (client_start(c->k->client, &call, NULL, &err) != 0)
        end(c, false);
}
