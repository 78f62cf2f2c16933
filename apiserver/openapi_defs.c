/* openapi_defs.c - see openapi_defs.h. */
#include "apiserver/openapi_defs.h"

#include "api/meta_v1.h"
#include "apiserver/openapi_writer.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define VERSION_INFO "io.k8s.apimachinery.pkg.version.Info"

static const char version_info[] =
    "{\"description\":\"Which release the server is, and how it was built.\",\"properties\":{"
    "\"buildDate\":{\"type\":\"string\"},\"compiler\":{\"type\":\"string\"},"
    "\"emulationMajor\":{\"type\":\"string\"},\"emulationMinor\":{\"type\":\"string\"},"
    "\"gitCommit\":{\"type\":\"string\"},\"gitTreeState\":{\"type\":\"string\"},"
    "\"gitVersion\":{\"type\":\"string\"},\"goVersion\":{\"type\":\"string\"},"
    "\"major\":{\"type\":\"string\"},\"minCompatibilityMajor\":{\"type\":\"string\"},"
    "\"minCompatibilityMinor\":{\"type\":\"string\"},\"minor\":{\"type\":\"string\"},"
    "\"platform\":{\"type\":\"string\"}},\"required\":[\"major\",\"minor\",\"gitVersion\","
    "\"gitCommit\",\"gitTreeState\",\"buildDate\",\"goVersion\",\"compiler\",\"platform\"],"
    "\"type\":\"object\"}";

void openapi_defs_init(struct openapi_defs *d, enum openapi_version version, struct arena *a)
{
    *d = (struct openapi_defs){.version = version, .arena = a};
    map_init(&d->by_name);
}

void openapi_defs_done(struct openapi_defs *d)
{
    map_done(&d->by_name);
}

const char *openapi_ref_prefix(enum openapi_version version)
{
    return version == OPENAPI_V2 ? "#/definitions/" : "#/components/schemas/";
}

/* Returns the one that is there already, else the new one. */
static struct openapi_def *add(struct openapi_defs *d, struct str name, bool *ret_new)
{
    struct openapi_def *def = map_get(&d->by_name, name);
    *ret_new = def == NULL;
    if (def != NULL)
        return def;
    def = ARENA_NEW(d->arena, struct openapi_def);
    def->name = arena_str(d->arena, name);
    map_set(&d->by_name, name, def);
    return def;
}

/* Packages are written in the order of domain names, and '_' stands where
 * protobuf allows no '-': "k8s.io.api.core.v1.Pod" -> "io.k8s.api.core.v1.Pod". */
static struct str message_name(struct openapi_defs *d, const struct api_msg *m)
{
    static const char prefix[] = "k8s.io.";
    struct str full = str_of(m->full_name);
    ASSERT(str_has_prefix(full, STR("k8s.io.")));
    size_t skip = sizeof(prefix) - 1;
    struct str name =
        arena_printf(d->arena, "io.k8s." STR_FMT, STR_ARG(str_sub(full, skip, full.len - skip)));
    char *text = arena_strdup(d->arena, str_c(name));
    for (char *p = text; *p != '\0'; p++)
        if (*p == '_')
            *p = '-';
    return str_n(text, name.len);
}

static void add_members(struct openapi_defs *d, const struct api_msg *m)
{
    if (m->special != API_PLAIN)
        return;
    for (size_t i = 0; i < m->json_count; i++) {
        const struct api_field *f = m->json[i].field;
        if (f->msg != NULL && f->msg->special != API_STRING_LIST)
            openapi_defs_message(d, f->msg);
    }
}

struct str openapi_defs_message(struct openapi_defs *d, const struct api_msg *m)
{
    bool is_new;
    struct openapi_def *def = add(d, message_name(d, m), &is_new);
    if (is_new) {
        def->msg = m;
        add_members(d, m); /* As deep as messages nest: bounded by the schema. */
    }
    return def->name;
}

/* "example.com" and "v1" -> "com.example.v1.Widget" */
static struct str custom_name(struct openapi_defs *d, const struct api_kind *k, bool list)
{
    struct str parts[32], rest = str_of(k->group), part;
    struct buf b = BUF_INIT;
    size_t n = 0;
    bool more = true;
    while (more && n < ARRAY_SIZE(parts)) {
        more = str_cut(rest, '.', &part, &rest);
        parts[n++] = part;
    }
    while (n > 0) {
        n--;
        buf_printf(&b, STR_FMT ".", STR_ARG(parts[n]));
    }
    buf_printf(&b, "%s.%s", k->version, list ? k->list_kind : k->kind);
    struct str name = arena_str(d->arena, buf_str(&b));
    buf_done(&b);
    return name;
}

static struct str add_custom(struct openapi_defs *d, const struct openapi_resource *r, bool list)
{
    bool is_new;
    struct openapi_def *def = add(d, custom_name(d, r->kind, list), &is_new);
    if (!is_new)
        return def->name;
    def->custom = r;
    def->custom_list = list;
    openapi_defs_message(d, &meta_v1_object_meta_msg);
    if (list)
        openapi_defs_message(d, &meta_v1_list_meta_msg);
    if (list)
        add_custom(d, r, false);
    return def->name;
}

struct str openapi_defs_kind(struct openapi_defs *d, const struct openapi_resource *r)
{
    return !openapi_is_custom(r->kind) ? openapi_defs_message(d, r->kind->msg)
                                       : add_custom(d, r, false);
}

struct str openapi_defs_list(struct openapi_defs *d, const struct openapi_resource *r)
{
    return r->kind->list_msg != NULL ? openapi_defs_message(d, r->kind->list_msg)
                                     : add_custom(d, r, true);
}

struct str openapi_defs_version_info(struct openapi_defs *d)
{
    bool is_new;
    struct openapi_def *def = add(d, STR(VERSION_INFO), &is_new);
    def->json = version_info;
    return def->name;
}

static int by_name(const void *x, const void *y)
{
    const struct openapi_def *const *a = x, *const *b = y;
    return str_cmp((*a)->name, (*b)->name);
}

void openapi_defs_write(const struct openapi_defs *d, struct openapi_writer *w)
{
    struct openapi_def **sorted = ARENA_ARRAY(d->arena, struct openapi_def *, d->by_name.count);
    struct openapi_defs scratch = *d; /* Every definition is there: none is added. */
    AUTO_BUF json = BUF_INIT;
    size_t n = 0, pos = 0;
    struct str key;
    void *value;
    while (map_next(&d->by_name, &pos, &key, &value))
        sorted[n++] = value;
    qsort(sorted, n, sizeof(*sorted), by_name);
    openapi_writer_section(w, OPENAPI_SCHEMAS);
    for (size_t i = 0; i < n; i++) {
        const struct openapi_def *def = sorted[i];
        buf_clear(&json);
        if (def->msg != NULL)
            openapi_schema_message(&scratch, def->msg, &json);
        else if (def->custom != NULL)
            openapi_schema_custom(&scratch, def->custom, def->custom_list, &json);
        else
            buf_puts(&json, def->json);
        openapi_writer_item(w, def->name, buf_str(&json));
        ASSERT(scratch.by_name.count == n);
    }
}
