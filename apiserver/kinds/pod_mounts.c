/* pod_mounts.c - where a container sees the pod's volumes. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"

static bool is_privileged(const struct core_v1_container *c)
{
    return c->security_context != NULL && c->security_context->has_privileged &&
           c->security_context->privileged;
}

static void check_propagation(struct field_errors *errs, const struct field_path *path,
                              const struct core_v1_volume_mount *m,
                              const struct core_v1_container *c)
{
    static const char *const modes[] = {"Bidirectional", "HostToContainer", "None", NULL};
    if (!m->has_mount_propagation)
        return;
    validate_listed(errs, path, m->mount_propagation, modes);
    if (str_eqc(m->mount_propagation, "Bidirectional") && !is_privileged(c))
        field_forbidden(
            errs, path,
            "Bidirectional mount propagation is available only to privileged containers");
}

static void check_recursive(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_volume_mount *m)
{
    static const char *const modes[] = {"Disabled", "Enabled", "IfPossible", NULL};
    if (!m->has_recursive_read_only)
        return;
    if (!is_listed(m->recursive_read_only, modes)) {
        field_not_supported(errs, path, m->recursive_read_only, modes);
        return;
    }
    if (str_eqc(m->recursive_read_only, "Disabled"))
        return;
    if (!m->read_only)
        field_forbidden(errs, path, "may only be specified when readOnly is true");
    if (m->has_mount_propagation && !str_eqc(m->mount_propagation, "None"))
        field_forbidden(errs, path,
                        "may only be specified when mountPropagation is None or not specified");
}

static void check_mount(struct pod_check *k, const struct field_path *mounts,
                        const struct core_v1_container *c, size_t index)
{
    struct field_errors *errs = k->errs;
    const struct core_v1_volume_mount *m = &c->volume_mounts[index];
    const struct core_v1_volume *v = check_find_volume(k, m->name);
    const struct field_path *at = PATH_INDEX(mounts, index);
    if (str_empty(m->name))
        field_required(errs, PATH(at, "name"), NULL);
    if (v == NULL)
        field_not_found(errs, PATH(at, "name"), m->name);
    if (str_empty(m->mount_path))
        field_required(errs, PATH(at, "mountPath"), NULL);
    for (size_t i = 0; i < index; i++)
        if (str_eq(c->volume_mounts[i].mount_path, m->mount_path)) {
            field_invalid(errs, PATH(at, "mountPath"), m->mount_path, "must be unique");
            break;
        }
    for (size_t i = 0; i < c->volume_devices_count; i++) {
        if (str_eq(c->volume_devices[i].name, m->name))
            field_invalid(errs, PATH(at, "name"), m->name,
                          "must not already exist in volumeDevices");
        if (str_eq(c->volume_devices[i].device_path, m->mount_path))
            field_invalid(errs, PATH(at, "mountPath"), m->mount_path,
                          "must not already exist as a path in volumeDevices");
    }
    /* Upstream reports these without the mount's index. */
    if (!str_empty(m->sub_path))
        validate_descending_path(errs, PATH(mounts, "subPath"), m->sub_path);
    if (!str_empty(m->sub_path_expr)) {
        if (!str_empty(m->sub_path))
            field_invalid(errs, PATH(at, "subPathExpr"), m->sub_path_expr,
                          "subPathExpr and subPath are mutually exclusive");
        validate_descending_path(errs, PATH(mounts, "subPathExpr"), m->sub_path_expr);
    }
    check_propagation(errs, PATH(mounts, "mountPropagation"), m, c);
    check_recursive(errs, PATH(mounts, "recursiveReadOnly"), m);
}

static void check_device(struct pod_check *k, const struct field_path *at,
                         const struct core_v1_container *c, size_t index)
{
    struct field_errors *errs = k->errs;
    const struct core_v1_volume_device *d = &c->volume_devices[index];
    const struct core_v1_volume *v = check_find_volume(k, d->name);
    bool same_name = false, same_path = false;
    for (size_t i = 0; i < index; i++) {
        same_name =
            same_name || (!str_empty(d->name) && str_eq(c->volume_devices[i].name, d->name));
        same_path = same_path || str_eq(c->volume_devices[i].device_path, d->device_path);
    }
    if (str_empty(d->name))
        field_required(errs, PATH(at, "name"), NULL);
    if (same_name)
        field_invalid(errs, PATH(at, "name"), d->name, "must be unique");
    if (v != NULL && v->volume_source.persistent_volume_claim == NULL &&
        v->volume_source.ephemeral == NULL)
        field_invalid(
            errs, PATH(at, "name"), d->name,
            "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
    if (v == NULL)
        field_not_found(errs, PATH(at, "name"), d->name);
    if (str_empty(d->device_path))
        field_required(errs, PATH(at, "devicePath"), NULL);
    if (same_path)
        field_invalid(errs, PATH(at, "devicePath"), d->device_path, "must be unique");
    if (path_has_backsteps(d->device_path))
        field_invalid(errs, PATH(at, "devicePath"), d->device_path,
                      "can not contain backsteps ('..')");
    for (size_t i = 0; i < c->volume_mounts_count; i++) {
        if (str_eq(c->volume_mounts[i].name, d->name))
            field_invalid(errs, PATH(at, "name"), d->name,
                          "must not already exist in volumeMounts");
        if (str_eq(c->volume_mounts[i].mount_path, d->device_path))
            field_invalid(errs, PATH(at, "devicePath"), d->device_path,
                          "must not already exist as a path in volumeMounts");
    }
}

void check_mounts(struct pod_check *k, const struct field_path *container,
                  const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->volume_mounts_count; i++)
        check_mount(k, PATH(container, "volumeMounts"), c, i);
    for (size_t i = 0; i < c->volume_devices_count; i++)
        check_device(k, PATH_INDEX(PATH(container, "volumeDevices"), i), c, i);
}
