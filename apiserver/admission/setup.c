/* setup.c - which admission plugins run, and with which configuration; see admission.h. */
#include "apiserver/admission.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"

#include <stdlib.h>

#define PLUGINS_MAX 64u
#define CONFIG_BYTES_MAX (1u << 20)

struct admission_setup {
    struct arena *arena;
    bool off[PLUGINS_MAX];
    const void *configs[PLUGINS_MAX];
};

/* Names of upstream's that may be given: what they look at does not exist here
 * or is looked at elsewhere. */
static const char *const silent[] = {"PodGroupProtection", "PodGroupWorkloadExists",
                                     "NodeDeclaredFeatureValidator", "JobValidation",
                                     "PodResizeValidator"};

static ptrdiff_t plugin_index(const char *name)
{
    for (size_t i = 0; admission_plugins[i] != NULL; i++)
        if (admission_plugins[i]->name != NULL && strcmp(admission_plugins[i]->name, name) == 0)
            return (ptrdiff_t)i;
    return -1;
}

static bool is_silent(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
        if (strcmp(silent[i], name) == 0)
            return true;
    return false;
}

static bool holds(const struct flag_list *l, const char *name)
{
    for (size_t i = 0; l != NULL && i < l->count; i++)
        if (strcmp(l->items[i], name) == 0)
            return true;
    return false;
}

/* --- flags ------------------------------------------------------------------------------- */
static int check_names(const struct flag_list *l, const char *flag, struct error *err)
{
    for (size_t i = 0; l != NULL && i < l->count; i++)
        if (plugin_index(l->items[i]) < 0 && !is_silent(l->items[i]))
            return error_set(err, E_INVALID, "%s plugin \"%s\" is unknown", flag, l->items[i]);
    return 0;
}

static int check_overlap(const struct admission_flags *f, struct error *err)
{
    AUTO_BUF both = BUF_INIT;
    for (size_t i = 0; f->enable != NULL && i < f->enable->count; i++)
        if (holds(f->disable, f->enable->items[i]))
            buf_printf(&both, "%s%s", both.len != 0 ? " " : "", f->enable->items[i]);
    if (both.len == 0)
        return 0;
    return error_set(err, E_INVALID,
                     "[" STR_FMT "] in enable-admission-plugins and disable-admission-plugins "
                     "overlapped",
                     STR_ARG(buf_str(&both)));
}

/* --- the configuration file --------------------------------------------------------------------
 */
static int read_yaml(struct arena *a, const char *path, struct json **ret, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    size_t consumed;
    int code = file_read(path, CONFIG_BYTES_MAX, &text, err);
    if (code == 0)
        code = api_yaml_parse_strict(a, arena_str(a, buf_str(&text)), &consumed, ret, err);
    return code;
}

/* A plugin's part: within the file, or a file of its own beside it. */
static int plugin_config(struct arena *a, const char *file, const struct json *entry,
                         struct json **ret, struct error *err)
{
    struct json *inner = json_getc(entry, "configuration");
    struct str path = json_get_str(entry, "path"), dir = str_of(file);
    if (inner != NULL && inner->type != JSON_NULL) {
        *ret = inner;
        return 0;
    }
    *ret = NULL;
    if (path.len == 0)
        return 0;
    while (dir.len > 0 && dir.data[dir.len - 1] != '/')
        dir.len--;
    if (path.data[0] != '/')
        path = arena_printf(a, STR_FMT STR_FMT, STR_ARG(dir), STR_ARG(path));
    return read_yaml(a, arena_str(a, path).data, ret, err);
}

static int read_file_configs(struct arena *a, const char *path, const struct json **configs,
                             struct error *err)
{
    struct json *j;
    int code = read_yaml(a, path, &j, err);
    if (code != 0)
        return code;
    struct str version = json_get_str(j, "apiVersion");
    if (!str_eqc(json_get_str(j, "kind"), "AdmissionConfiguration") ||
        (!str_eqc(version, "apiserver.config.k8s.io/v1") &&
         !str_eqc(version, "apiserver.k8s.io/v1alpha1")))
        return error_set(err, E_INVALID,
                         "want kind AdmissionConfiguration of apiserver.config.k8s.io/v1");
    const struct json *list = json_getc(j, "plugins");
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++) {
        const struct json *entry = list->array.items[i];
        struct json *config;
        struct str name = arena_str(a, json_get_str(entry, "name"));
        ptrdiff_t at = plugin_index(name.len != 0 ? name.data : "");
        code = plugin_config(a, path, entry, &config, err);
        if (code != 0)
            return error_prefix(err, "plugins[%zu]", i);
        if (at < 0 || (config != NULL && admission_plugins[at]->configure == NULL))
            return error_set(err, E_INVALID,
                             "plugins[%zu]: \"" STR_FMT "\" is no plugin with a configuration", i,
                             STR_ARG(name));
        if (configs[at] == NULL)
            configs[at] = config;
    }
    return 0;
}

/* --- life
 * ------------------------------------------------------------------------------------------ */
static int configure(struct admission_setup *s, const struct admission_flags *f, struct error *err)
{
    const struct json *configs[PLUGINS_MAX] = {0};
    int code = check_names(f->enable, "enable-admission-plugins", err);
    if (code == 0)
        code = check_names(f->disable, "disable-admission-plugins", err);
    if (code == 0)
        code = check_overlap(f, err);
    if (code == 0 && f->config_file != NULL) {
        code = read_file_configs(s->arena, f->config_file, configs, err);
        if (code != 0)
            return error_prefix(err, "--admission-control-config-file %s", f->config_file);
    }
    for (size_t i = 0; admission_plugins[i] != NULL && code == 0; i++) {
        const struct admission_plugin *p = admission_plugins[i];
        ASSERT_CMP(i, <, PLUGINS_MAX);
        s->off[i] =
            p->name != NULL && (p->off ? !holds(f->enable, p->name) : holds(f->disable, p->name));
        if (s->off[i] || p->configure == NULL)
            continue;
        code = p->configure(s->arena, configs[i], &s->configs[i], err);
        if (code != 0)
            error_prefix(err, "admission plugin %s", p->name);
    }
    return code;
}

int admission_setup_new(const struct admission_flags *flags, struct admission_setup **ret,
                        struct error *err)
{
    struct admission_setup *s = xzalloc(sizeof(*s));
    s->arena = arena_new(0);
    int code = configure(s, flags, err);
    if (code != 0) {
        admission_setup_free(s);
        return code;
    }
    *ret = s;
    return 0;
}

void admission_setup_free(struct admission_setup *s)
{
    if (s == NULL)
        return;
    arena_free(s->arena);
    free(s);
}

bool admission_setup_runs(const struct admission_setup *s, size_t plugin, const void **ret_config)
{
    *ret_config = s != NULL ? s->configs[plugin] : NULL;
    return s != NULL ? !s->off[plugin] : !admission_plugins[plugin]->off;
}
