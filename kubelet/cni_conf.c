/* cni_conf.c - see cni_conf.h. */
#include "kubelet/cni_conf.h"

#include "lib/api/json.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <dirent.h>

/* Late in the order of names, so that a plugin installed later wins. */
#define CONF_NAME "99-trireme.conflist"
#define CONF_BYTES_MAX (1u << 20)

void cni_conf_text(const struct str *pod_cidrs, size_t count, const char *data_dir, bool masquerade,
                   struct buf *out)
{
    bool v4 = false, v6 = false;
    buf_puts(out, "{\n"
                  "  \"cniVersion\": \"0.4.0\",\n"
                  "  \"name\": \"trireme\",\n"
                  "  \"plugins\": [\n"
                  "    {\n"
                  "      \"type\": \"bridge\",\n"
                  "      \"bridge\": \"cni0\",\n"
                  "      \"isGateway\": true,\n"
                  "      \"ipMasq\": ");
    buf_puts(out, masquerade ? "true" : "false");
    buf_puts(out, ",\n"
                  "      \"hairpinMode\": true,\n"
                  "      \"ipam\": {\n"
                  "        \"type\": \"host-local\",\n"
                  "        \"dataDir\": ");
    json_write_string(str_of(data_dir), out);
    buf_puts(out, ",\n        \"ranges\": [");
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s[{\"subnet\": \"" STR_FMT "\"}]", i > 0 ? ", " : "",
                   STR_ARG(pod_cidrs[i]));
        bool six = str_find(pod_cidrs[i], ':', 0) >= 0;
        v6 = v6 || six;
        v4 = v4 || !six;
    }
    buf_puts(out, "],\n        \"routes\": [");
    if (v4)
        buf_puts(out, "{\"dst\": \"0.0.0.0/0\"}");
    if (v6)
        buf_printf(out, "%s{\"dst\": \"::/0\"}", v4 ? ", " : "");
    buf_puts(out, "]\n"
                  "      }\n"
                  "    },\n"
                  "    {\"type\": \"portmap\", \"capabilities\": {\"portMappings\": true}}\n"
                  "  ]\n"
                  "}\n");
}

static bool is_conf(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && (strcmp(dot, ".conf") == 0 || strcmp(dot, ".conflist") == 0 ||
                           strcmp(dot, ".json") == 0);
}

int cni_conf_write(const char *dir, struct str text, bool *ret_written, bool *ret_ours,
                   struct error *err)
{
    *ret_written = *ret_ours = false;
    int rc = file_mkdir_p(dir, 0755, err);
    if (rc != 0)
        return rc;
    DIR *d = opendir(dir);
    bool others = false;
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d))
        others = others || (is_conf(e->d_name) && strcmp(e->d_name, CONF_NAME) != 0);
    if (d != NULL)
        closedir(d);
    if (others)
        return 0;
    AUTO_FREE char *path = xasprintf("%s/%s", dir, CONF_NAME);
    AUTO_BUF have = BUF_INIT;
    if (file_read(path, CONF_BYTES_MAX, &have, NULL) == 0 && str_eq(buf_str(&have), text)) {
        *ret_ours = true;
        return 0;
    }
    rc = file_write_atomic(path, text.data, text.len, 0644, err);
    *ret_written = *ret_ours = rc == 0;
    return rc;
}
