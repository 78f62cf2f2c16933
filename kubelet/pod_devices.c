/* pod_devices.c - what a container gets for its devices: plugins may ready them, then their
 * answers and those of drivers of claims become part of what the runtime is told. */
#include "kubelet/device_manager.h"
#include "kubelet/pod_start_internal.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"

#include "api/core_v1.h"

static void on_ready(int code, const struct error *err, void *arg)
{
    struct start *s = arg;
    if (code != 0)
        start_fail(s, "CreateContainerConfigError", error_message(err));
    else
        start_create(s);
}

void start_ready_devices(struct start *s)
{
    device_manager_prepare_start(s->w->k->devices, s->object, s->spec->name, on_ready, s);
}

/* Variables of the spec come before those of plugins, as upstream. */
static void add_envs(struct start *s, const struct env_list *from)
{
    for (size_t i = 0; i < from->count; i++)
        if (env_list_get(&s->env, from->items[i].name) == NULL)
            env_list_set(s->arena, &s->env, from->items[i].name, from->items[i].value);
}

static void add_mounts(struct start *s, const struct device_gift *g, struct container_inputs *in)
{
    struct container_mount *list =
        ARENA_ARRAY(s->arena, struct container_mount, s->mount_count + g->mount_count + 1);
    in->mount_count = 0;
    for (size_t i = 0; i < g->mount_count; i++)
        list[in->mount_count++] =
            (struct container_mount){.container_path = g->mounts[i].container_path,
                                     .host_path = g->mounts[i].host_path,
                                     .read_only = g->mounts[i].read_only};
    for (size_t i = 0; i < s->mount_count; i++)
        list[in->mount_count++] = s->mounts[i];
    in->mounts = list;
}

static void add_nodes(struct start *s, const struct device_gift *g, struct container_inputs *in)
{
    struct container_device *list =
        ARENA_ARRAY(s->arena, struct container_device, s->device_count + g->node_count + 1);
    in->device_count = 0;
    for (size_t i = 0; i < g->node_count; i++)
        list[in->device_count++] =
            (struct container_device){.container_path = g->nodes[i].container_path,
                                      .host_path = g->nodes[i].host_path,
                                      .permissions = g->nodes[i].permissions};
    for (size_t i = 0; i < s->device_count; i++)
        list[in->device_count++] = s->devices[i];
    in->devices = list;
}

void start_add_devices(struct start *s, struct container_inputs *in)
{
    struct device_gift g;
    device_manager_gift(s->w->k->devices, s->arena, in->pod->metadata.uid, s->spec->name, &g);
    add_envs(s, &g.envs);
    in->annotations = arena_memdup(s->arena, &g.annotations, sizeof(g.annotations));
    if (g.mount_count > 0)
        add_mounts(s, &g, in);
    if (g.node_count > 0)
        add_nodes(s, &g, in);
    const char **cdi = ARENA_ARRAY(s->arena, const char *, in->cdi_device_count + g.cdi_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < g.cdi_count; i++)
        cdi[count++] = g.cdi[i];
    for (size_t i = 0; i < in->cdi_device_count; i++)
        cdi[count++] = in->cdi_devices[i];
    in->cdi_devices = cdi;
    in->cdi_device_count = count;
}
