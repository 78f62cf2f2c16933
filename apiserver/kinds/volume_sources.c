/* volume_sources.c - see volume_sources.h. Pure. */
#include "apiserver/kinds/volume_sources.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <ctype.h>

#define CSI_NAME_BYTES_MAX 63
#define PARAMETERS_MAX 512u
#define PARAMETER_BYTES_MAX (256 * 1024)

void check_given(struct field_errors *errs, const struct field_path *path, struct str value)
{
    if (str_empty(value))
        field_required(errs, path, NULL);
}

void check_host_path_source(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_host_path_volume_source *h)
{
    static const char *const types[] = {
        "",     "BlockDevice",  "CharDevice", "Directory", "DirectoryOrCreate",
        "File", "FileOrCreate", "Socket",     NULL};
    if (str_empty(h->path)) {
        field_required(errs, PATH(path, "path"), NULL);
        return;
    }
    validate_no_backsteps(errs, PATH(path, "path"), h->path);
    if (h->has_type)
        validate_listed(errs, PATH(path, "type"), h->type, types);
}

static void check_partition(struct field_errors *errs, const struct field_path *path,
                            int32_t partition)
{
    if (partition < 0 || partition > 255) /* The text is upstream's; 0 is allowed. */
        field_invalid_int(errs, PATH(path, "partition"), partition,
                          "must be between 1 and 255, inclusive");
}

void check_gce_source(struct field_errors *errs, const struct field_path *path,
                      const struct core_v1_gce_persistent_disk_volume_source *g)
{
    check_given(errs, PATH(path, "pdName"), g->pd_name);
    check_partition(errs, path, g->partition);
}

void check_aws_source(struct field_errors *errs, const struct field_path *path,
                      const struct core_v1_aws_elastic_block_store_volume_source *e)
{
    check_given(errs, PATH(path, "volumeID"), e->volume_id);
    check_partition(errs, path, e->partition);
}

void check_nfs_source(struct field_errors *errs, const struct field_path *path,
                      const struct core_v1_nfs_volume_source *n)
{
    check_given(errs, PATH(path, "server"), n->server);
    check_given(errs, PATH(path, "path"), n->path);
    if (!str_has_prefix(n->path, STR("/")))
        field_invalid(errs, PATH(path, "path"), n->path, "must be an absolute path");
}

/* --- iSCSI --- */

/* iqn.YYYY-MM.reversed.domain:name, where the name has none of ^,;*&$| and white space. */
static bool is_iqn(struct str s)
{
    static const char form[] = "iqn.dddd-dd.";
    if (s.len < sizeof(form))
        return false;
    for (size_t i = 0; i + 1 < sizeof(form); i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)s.data[i]) : s.data[i] != form[i])
            return false;
    struct str domain, name;
    if (!str_cut(str_sub(s, sizeof(form) - 1, s.len), ':', &domain, &name) || str_empty(domain) ||
        str_empty(name))
        return false;
    for (size_t i = 0; i < domain.len; i++)
        if (!isalnum((unsigned char)domain.data[i]) && domain.data[i] != '-' &&
            domain.data[i] != '.')
            return false;
    for (size_t i = 0; i < name.len; i++)
        if (strchr("^,;*&$| \t\r\n\f", name.data[i]) != NULL)
            return false;
    return true;
}

static bool is_hex_id(struct str s, size_t digits)
{
    if (s.len != digits + 4)
        return false;
    for (size_t i = 4; i < s.len; i++)
        if (!isalnum((unsigned char)s.data[i]))
            return false;
    return true;
}

static void check_initiator(struct field_errors *errs, const struct field_path *path, struct str s)
{
    bool iqn = str_has_prefix(s, STR("iqn")), eui = str_has_prefix(s, STR("eui")),
         naa = str_has_prefix(s, STR("naa"));
    if (!iqn && !eui && !naa)
        field_invalid(errs, path, s, "must be valid format starting with iqn, eui, or naa");
    else if ((iqn && !is_iqn(s)) || (eui && !is_hex_id(s, 16)) || (naa && !is_hex_id(s, 32)))
        field_invalid(errs, path, s, "must be valid format");
}

void check_iscsi_source(struct field_errors *errs, const struct field_path *path,
                        const struct iscsi_view *i)
{
    check_given(errs, PATH(path, "targetPortal"), i->target_portal);
    if (str_empty(i->iqn))
        field_required(errs, PATH(path, "iqn"), NULL);
    else
        check_initiator(errs, PATH(path, "iqn"), i->iqn);
    validate_range(errs, PATH(path, "lun"), i->lun, 0, 255);
    if (i->chap && !i->has_secret)
        field_required(errs, PATH(path, "secretRef"), NULL);
    if (i->has_initiator)
        check_initiator(errs, PATH(path, "initiatorname"), i->initiator_name);
}

static struct str list_shown(struct arena *a, const struct str *items, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    buf_putc(&b, '[');
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s\"" STR_FMT "\"", i == 0 ? "" : ",", STR_ARG(items[i]));
    buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

void check_fc_source(struct field_errors *errs, const struct field_path *path,
                     const struct core_v1_fc_volume_source *f)
{
    const struct field_path *names = PATH(path, "targetWWNs");
    if (f->target_wwns_count == 0 && f->wwids_count == 0)
        field_required(errs, names, "must specify either targetWWNs or wwids, but not both");
    if (f->target_wwns_count != 0 && f->wwids_count != 0)
        field_invalid_raw(errs, names,
                          list_shown(errs->arena, f->target_wwns, f->target_wwns_count),
                          "targetWWNs and wwids can not be specified simultaneously");
    if (f->target_wwns_count == 0)
        return;
    if (!f->has_lun)
        field_required(errs, PATH(path, "lun"), "lun is required if targetWWNs is specified");
    else
        validate_range(errs, PATH(path, "lun"), f->lun, 0, 255);
}

void check_flocker_source(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_flocker_volume_source *f)
{
    if (str_empty(f->dataset_name) && str_empty(f->dataset_uuid))
        field_required(errs, path, "one of datasetName and datasetUUID is required");
    if (!str_empty(f->dataset_name) && !str_empty(f->dataset_uuid))
        field_invalid(errs, path, STR("resource"),
                      "datasetName and datasetUUID can not be specified simultaneously");
    if (str_find(f->dataset_name, '/', 0) >= 0)
        field_invalid(errs, PATH(path, "datasetName"), f->dataset_name, "must not contain '/'");
}

void check_quobyte_source(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_quobyte_volume_source *q)
{
    static const char why[] = "must be a host:port pair or multiple pairs separated by commas";
    struct str rest = q->registry, pair, host, port;
    bool more = !str_empty(q->registry);
    if (!more)
        field_required(errs, PATH(path, "registry"), why);
    else if (q->tenant.len >= 65)
        field_required(errs, PATH(path, "tenant"),
                       "must be a UUID and may not exceed a length of 64 characters");
    while (more) {
        more = str_cut(rest, ',', &pair, &rest);
        if (!str_cut(pair, ':', &host, &port))
            field_invalid(errs, PATH(path, "registry"), q->registry, why);
    }
    check_given(errs, PATH(path, "volume"), q->volume);
}

void check_azure_disk_source(struct field_errors *errs, const struct field_path *path,
                             const struct core_v1_azure_disk_volume_source *d)
{
    static const char *const caching[] = {"None", "ReadOnly", "ReadWrite", NULL};
    static const char *const kinds[] = {"Dedicated", "Managed", "Shared", NULL};
    static const char *const managed[] = {"/subscriptions/{sub-id}/resourcegroups/{group-name}/"
                                          "providers/microsoft.compute/disks/{disk-id}",
                                          NULL};
    static const char *const blob[] = {
        "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd", NULL};
    check_given(errs, PATH(path, "diskName"), d->disk_name);
    check_given(errs, PATH(path, "diskURI"), d->disk_uri);
    if (d->has_caching_mode)
        validate_listed(errs, PATH(path, "cachingMode"), d->caching_mode, caching);
    if (!d->has_kind)
        return;
    validate_listed(errs, PATH(path, "kind"), d->kind, kinds);
    bool is_managed = str_eqc(d->kind, "Managed");
    if (is_managed && !str_has_prefix(d->disk_uri, STR("/subscriptions/")))
        field_not_supported(errs, PATH(path, "diskURI"), d->disk_uri, managed);
    if (!is_managed && !str_has_prefix(d->disk_uri, STR("https://")))
        field_not_supported(errs, PATH(path, "diskURI"), d->disk_uri, blob);
}

/* Is the namespace of an option kubernetes.io, k8s.io or below one of them? */
static bool is_reserved(struct str key)
{
    struct str space, rest;
    char text[256];
    if (!str_cut(key, '/', &space, &rest))
        space = key;
    if (space.len + 1 > sizeof(text))
        return false;
    text[0] = '.';
    for (size_t i = 0; i < space.len; i++)
        text[i + 1] = (char)tolower((unsigned char)space.data[i]);
    struct str normal = str_n(text, space.len + 1);
    return str_has_suffix(normal, STR(".kubernetes.io")) || str_has_suffix(normal, STR(".k8s.io"));
}

void check_flex_options(struct field_errors *errs, const struct field_path *path, struct str driver,
                        const struct api_str_entry *options, size_t count)
{
    check_given(errs, PATH(path, "driver"), driver);
    for (size_t i = 0; i < count; i++)
        if (is_reserved(options[i].key))
            field_invalid(errs, PATH_KEY(PATH(path, "options"), options[i].key), options[i].key,
                          "kubernetes.io and k8s.io namespaces are reserved");
}

void check_csi_driver_name(struct field_errors *errs, const struct field_path *path,
                           struct str name)
{
    if (str_empty(name)) {
        field_required(errs, path, NULL);
        return;
    }
    if (name.len > CSI_NAME_BYTES_MAX)
        field_too_long(errs, path, CSI_NAME_BYTES_MAX);
    field_faults(errs, path, name, api_check_dns_subdomain(str_lowered(errs->arena, name)));
}

struct str str_lowered(struct arena *a, struct str s)
{
    char *text = arena_alloc(a, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        text[i] = (char)tolower((unsigned char)s.data[i]);
    text[s.len] = '\0';
    return str_n(text, s.len);
}

void check_provisioner(struct field_errors *errs, const struct field_path *path, struct str name)
{
    if (str_empty(name))
        field_required(errs, path, NULL);
    else
        validate_qualified_name(errs, path, str_lowered(errs->arena, name));
}

void check_parameters(struct field_errors *errs, const struct field_path *path,
                      const struct api_str_entry *e, size_t count, bool required)
{
    size_t bytes = 0;
    if (count > PARAMETERS_MAX) {
        field_too_long(errs, path, PARAMETERS_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_empty(e[i].key))
            field_invalid(errs, path, e[i].key, "field can not be empty.");
        bytes += e[i].key.len + e[i].value.len;
    }
    if (bytes > PARAMETER_BYTES_MAX)
        field_too_long(errs, path, PARAMETER_BYTES_MAX);
    if (required && count == 0)
        field_required(errs, path, "must contain at least one key/value pair");
}
