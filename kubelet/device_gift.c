/* device_gift.c - see device_gift.h. */
#include "kubelet/device_gift.h"

#include "lib/base/arena.h"
#include "lib/net/proto.h"

#include "pb/csi/deviceplugin_v1beta1.pb-c.h"

/* A list with room for more. */
static void *extend(struct arena *a, const void *items, size_t count, size_t more, size_t size)
{
    void *list = arena_array(a, size, count + more + 1);
    if (count > 0)
        memcpy(list, items, count * size);
    return list;
}

static void add_answer(struct arena *a, const Deviceplugin__V1beta1__ContainerAllocateResponse *r,
                       struct device_gift *g)
{
    for (size_t i = 0; i < r->n_envs; i++)
        env_list_set(a, &g->envs, str_of(r->envs[i]->key), str_of(r->envs[i]->value));
    for (size_t i = 0; i < r->n_annotations; i++)
        env_list_set(a, &g->annotations, str_of(r->annotations[i]->key),
                     str_of(r->annotations[i]->value));
    g->mounts = extend(a, g->mounts, g->mount_count, r->n_mounts, sizeof(*g->mounts));
    for (size_t i = 0; i < r->n_mounts; i++)
        g->mounts[g->mount_count++] = (struct device_mount){
            r->mounts[i]->container_path, r->mounts[i]->host_path, r->mounts[i]->read_only};
    g->nodes = extend(a, g->nodes, g->node_count, r->n_devices, sizeof(*g->nodes));
    for (size_t i = 0; i < r->n_devices; i++)
        g->nodes[g->node_count++] = (struct device_node){
            r->devices[i]->container_path, r->devices[i]->host_path, r->devices[i]->permissions};
    g->cdi = extend(a, g->cdi, g->cdi_count, r->n_cdi_devices, sizeof(*g->cdi));
    for (size_t i = 0; i < r->n_cdi_devices; i++)
        g->cdi[g->cdi_count++] = r->cdi_devices[i]->name;
}

static int fault(struct error *err, const char *field, size_t i, const char *why)
{
    return error_set(err, E_INVALID, "the device plugin's answer: %s[%zu]: %s", field, i, why);
}

static int check(const Deviceplugin__V1beta1__ContainerAllocateResponse *r, struct error *err)
{
    for (size_t i = 0; i < r->n_envs; i++)
        if (r->envs[i]->key[0] == '\0' || strchr(r->envs[i]->key, '=') != NULL)
            return fault(err, "envs", i, "the name is empty or holds '='");
    for (size_t i = 0; i < r->n_annotations; i++)
        if (r->annotations[i]->key[0] == '\0')
            return fault(err, "annotations", i, "the name is empty");
    for (size_t i = 0; i < r->n_mounts; i++)
        if (r->mounts[i]->container_path[0] != '/' || r->mounts[i]->host_path[0] != '/')
            return fault(err, "mounts", i, "container_path and host_path must begin with '/'");
    for (size_t i = 0; i < r->n_devices; i++) {
        const Deviceplugin__V1beta1__DeviceSpec *d = r->devices[i];
        if (d->container_path[0] != '/' || d->host_path[0] != '/')
            return fault(err, "devices", i, "container_path and host_path must begin with '/'");
        if (d->permissions[strspn(d->permissions, "mrw")] != '\0')
            return fault(err, "devices", i, "permissions may hold m, r and w");
    }
    for (size_t i = 0; i < r->n_cdi_devices; i++)
        if (r->cdi_devices[i]->name[0] == '\0')
            return fault(err, "cdi_devices", i, "the name is empty");
    return 0;
}

int device_gift_add(struct arena *a, struct str answer, struct device_gift *g, struct error *err)
{
    ProtobufCMessage *m;
    int rc = proto_unpack(a, &deviceplugin__v1beta1__container_allocate_response__descriptor,
                          answer, &m, err);
    if (rc == 0)
        rc = check((const void *)m, err);
    if (rc == 0)
        add_answer(a, (const void *)m, g);
    return rc;
}
