/* csi_request.c - see csi_internal.h: what requests about a volume have in common. */
#include "kubelet/csi_internal.h"

#include "kubelet/cri.h"

#include "lib/base/arena.h"

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* Drivers that tell several pods of a node from one have numbers of their own for it. */
static int mode_number(const struct csi_driver *d, const struct csi_mount *m)
{
    if (m->access_mode != CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__SINGLE_NODE_WRITER ||
        !d->multi_writer)
        return m->access_mode;
    return m->one_pod ? CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__SINGLE_NODE_SINGLE_WRITER
                      : CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__SINGLE_NODE_MULTI_WRITER;
}

Csi__V1__VolumeCapability *csi_capability(struct arena *a, const struct csi_driver *d,
                                          const struct csi_mount *m)
{
    Csi__V1__VolumeCapability *c = cri_new_message(a, &csi__v1__volume_capability__descriptor);
    Csi__V1__VolumeCapability__AccessMode *mode =
        cri_new_message(a, &csi__v1__volume_capability__access_mode__descriptor);
    mode->mode = (Csi__V1__VolumeCapability__AccessMode__Mode)mode_number(d, m);
    c->access_mode = mode;
    if (m->block) {
        c->access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK;
        c->block = cri_new_message(a, &csi__v1__volume_capability__block_volume__descriptor);
        return c;
    }
    Csi__V1__VolumeCapability__MountVolume *mount =
        cri_new_message(a, &csi__v1__volume_capability__mount_volume__descriptor);
    mount->fs_type = text(m->fs_type);
    mount->mount_flags = (char **)(uintptr_t)m->mount_flags;
    mount->n_mount_flags = m->mount_flag_count;
    if (d->mount_group && m->group >= 0)
        mount->volume_mount_group = text(str_c(arena_printf(a, "%lld", (long long)m->group)));
    c->access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
    c->mount = mount;
    return c;
}
