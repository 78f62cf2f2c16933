/* selinux.c - see selinux.h. */
#include "kubelet/selinux.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/client/claims.h"

#include <string.h>

#define FILE_BYTES_MAX (64u << 10)
#define MOUNTS_BYTES_MAX (16u << 20)

/* --- the host -------------------------------------------------------------------------------- */

/* NAME=value or name = "value", whatever comes first. */
static struct str setting(struct str text, const char *name)
{
    struct str line;
    while (text.len > 0) {
        struct str key, value;
        str_cut(text, '\n', &line, &text);
        if (!str_cut(line, '=', &key, &value) || !str_eqc(str_trim(key), name))
            continue;
        value = str_trim(value);
        if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
            value = str_sub(value, 1, value.len - 2);
        return value;
    }
    return STR("");
}

void selinux_read(struct arena *a, const char *root, struct selinux *ret)
{
    AUTO_FREE char *policy = xasprintf("%s/sys/fs/selinux/policyvers", root);
    AUTO_FREE char *config = xasprintf("%s/etc/selinux/config", root);
    AUTO_BUF b = BUF_INIT, contexts = BUF_INIT;
    *ret = (struct selinux){.enabled = file_exists(policy), .file = ""};
    if (!ret->enabled || file_read(config, FILE_BYTES_MAX, &b, NULL) != 0)
        return;
    struct str type = setting(buf_str(&b), "SELINUXTYPE");
    AUTO_FREE char *path =
        xasprintf("%s/etc/selinux/" STR_FMT "/contexts/lxc_contexts", root, STR_ARG(type));
    if (file_read(path, FILE_BYTES_MAX, &contexts, NULL) == 0)
        ret->file = str_c(arena_str(a, setting(buf_str(&contexts), "file")));
}

bool selinux_can_relabel(const char *path)
{
    AUTO_BUF b = BUF_INIT;
    bool can = false;
    if (file_read("/proc/self/mountinfo", MOUNTS_BYTES_MAX, &b, NULL) != 0)
        return false;
    for (struct str text = buf_str(&b), line; text.len > 0;) {
        struct str word = STR_NULL, rest, head, super;
        str_cut(text, '\n', &line, &text);
        rest = line;
        for (int i = 0; i < 5; i++)
            str_cut(rest, ' ', &word, &rest);
        if (!str_eqc(word, path))
            continue; /* The last one is on top. */
        ptrdiff_t dash = str_find_str(rest, STR(" - "));
        super = dash >= 0 ? str_sub(rest, (size_t)dash + 3, rest.len) : STR("");
        can = false;
        str_cut(super, ' ', &head, &super);
        str_cut(super, ' ', &head, &super); /* Type and source before it. */
        while (super.len > 0) {
            str_cut(super, ',', &head, &super);
            can = can || str_eqc(head, "seclabel");
        }
    }
    return can;
}

/* --- labels ---------------------------------------------------------------------------------- */

/* user:role:type:level of files, for containers that run with these options: user and level are
 * theirs, role and type those of files. Without a level the runtime makes one up for each pod, so
 * that nobody here can know it. */
static const char *file_label(struct arena *a, const struct selinux *s,
                              const struct core_v1_se_linux_options *o)
{
    struct str user, role, type, level, rest;
    if (str_empty(o->level) || s->file[0] == '\0')
        return NULL;
    str_cut(str_of(s->file), ':', &user, &rest);
    str_cut(rest, ':', &role, &rest);
    str_cut(rest, ':', &type, &level);
    user = str_empty(o->user) ? user : o->user;
    return str_c(arena_printf(a, STR_FMT ":" STR_FMT ":" STR_FMT ":" STR_FMT, STR_ARG(user),
                              STR_ARG(role), STR_ARG(type), STR_ARG(o->level)));
}

struct labels {
    struct arena *a;
    const struct selinux *s;
    const struct core_v1_pod_security_context *pod;
    const char *volume;
    const char *first, *other; /* NULL: there is none. */
};

static bool mounts(const struct core_v1_volume_mount *list, size_t count, const char *volume)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(list[i].name, volume))
            return true;
    return false;
}

static void add(struct labels *l, const struct core_v1_security_context *c,
                const struct core_v1_volume_mount *list, size_t count)
{
    const struct core_v1_se_linux_options *o = l->pod != NULL ? l->pod->se_linux_options : NULL;
    if (c != NULL && c->se_linux_options != NULL)
        o = c->se_linux_options;
    const char *label =
        o != NULL && mounts(list, count, l->volume) ? file_label(l->a, l->s, o) : NULL;
    if (label == NULL)
        return;
    if (l->first == NULL)
        l->first = label;
    else if (strcmp(l->first, label) != 0)
        l->other = label;
}

static void add_all(struct labels *l, const struct core_v1_pod_spec *spec)
{
    for (size_t i = 0; i < spec->init_containers_count; i++)
        add(l, spec->init_containers[i].security_context, spec->init_containers[i].volume_mounts,
            spec->init_containers[i].volume_mounts_count);
    for (size_t i = 0; i < spec->containers_count; i++)
        add(l, spec->containers[i].security_context, spec->containers[i].volume_mounts,
            spec->containers[i].volume_mounts_count);
    for (size_t i = 0; i < spec->ephemeral_containers_count; i++) {
        const struct core_v1_ephemeral_container_common *c =
            &spec->ephemeral_containers[i].ephemeral_container_common;
        add(l, c->security_context, c->volume_mounts, c->volume_mounts_count);
    }
}

static bool mode_allows(const struct selinux *s, const struct core_v1_persistent_volume *pv)
{
    return s->mount ||
           (pv->spec.access_modes_count == 1 && str_eqc(pv->spec.access_modes[0], ACCESS_ONE_POD));
}

int selinux_mount_label(struct arena *a, const struct selinux *s, const struct core_v1_pod *pod,
                        const char *volume, const struct core_v1_persistent_volume *pv,
                        const struct storage_v1_csi_driver *driver, const char **ret,
                        struct error *err)
{
    struct labels l = {.a = a, .s = s, .pod = pod->spec.security_context, .volume = volume};
    *ret = NULL;
    if (!s->enabled || !mode_allows(s, pv))
        return 0;
    add_all(&l, &pod->spec);
    if (l.other != NULL)
        return error_set(err, E_INVALID, "multiple SELinux labels found: %s,%s", l.first, l.other);
    if (driver != NULL && driver->spec.has_se_linux_mount && driver->spec.se_linux_mount &&
        (l.pod == NULL || !str_eqc(l.pod->se_linux_change_policy, "Recursive")))
        *ret = l.first;
    return 0;
}

const char *selinux_mount_option(struct arena *a, const char *label)
{
    return str_c(arena_printf(a, "context=\"%s\"", label));
}
