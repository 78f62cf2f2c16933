/* openapi_document.c - whole documents from their parts; see openapi.h. */
#include "apiserver/openapi.h"

#include "apiserver/openapi_defs.h"
#include "apiserver/openapi_merge.h"
#include "apiserver/openapi_paths.h"
#include "apiserver/openapi_writer.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

struct document {
    struct arena *arena;
    struct openapi_defs defs;
    struct openapi_writer writer;
    struct openapi_paths paths;
};

static void begin(struct document *d, enum openapi_version version, bool protobuf, struct buf *out)
{
    d->arena = arena_new(64 << 10);
    openapi_defs_init(&d->defs, version, d->arena);
    openapi_writer_open(&d->writer, version, protobuf, out);
    openapi_paths_init(&d->paths, &d->defs, &d->writer);
    openapi_writer_section(&d->writer, OPENAPI_PATHS);
}

static void end(struct document *d)
{
    openapi_defs_write(&d->defs, &d->writer);
    if (d->defs.version == OPENAPI_V2)
        openapi_params_write(d->paths.used, d->paths.delete_body, d->paths.patch_body, &d->writer);
    openapi_writer_close(&d->writer);
    openapi_defs_done(&d->defs);
    arena_free(d->arena);
}

static int by_group_version(const void *x, const void *y)
{
    const struct openapi_group_version *a = *(const struct openapi_group_version *const *)x,
                                       *b = *(const struct openapi_group_version *const *)y;
    int c = strcmp(a->group, b->group);
    return c != 0 ? c : strcmp(a->version, b->version);
}

/* In the order of their paths: core first. */
static const struct openapi_group_version **sorted(const struct openapi_sources *s)
{
    const struct openapi_group_version **list = xmalloc(sizeof(*list) * (s->count + 1));
    for (size_t i = 0; i < s->count; i++)
        list[i] = &s->versions[i];
    list[s->count] = NULL;
    qsort(list, s->count, sizeof(*list), by_group_version);
    return list;
}

static void write_v2(struct document *d, const struct openapi_sources *s)
{
    const struct openapi_group_version **list = sorted(s);
    openapi_paths_single(&d->paths, OPENAPI_WELL_KNOWN);
    openapi_paths_single(&d->paths, OPENAPI_API);
    for (size_t i = 0; i < s->count && list[i]->group[0] == '\0'; i++)
        openapi_paths_group_version(&d->paths, list[i]);
    openapi_paths_single(&d->paths, OPENAPI_APIS);
    const char *group = "";
    for (size_t i = 0; i < s->count; i++) {
        if (list[i]->group[0] == '\0')
            continue;
        if (strcmp(group, list[i]->group) != 0)
            openapi_paths_group(&d->paths, list[i]->group);
        group = list[i]->group;
        openapi_paths_group_version(&d->paths, list[i]);
    }
    openapi_paths_single(&d->paths, OPENAPI_JWKS);
    openapi_paths_single(&d->paths, OPENAPI_VERSION);
    free(list);
}

void openapi_v2_document(const struct openapi_sources *s, bool protobuf, struct buf *out)
{
    struct document d;
    begin(&d, OPENAPI_V2, protobuf, out);
    write_v2(&d, s);
    end(&d);
}

void openapi_v2_items(const struct openapi_sources *s, struct openapi_merge *m)
{
    struct document d;
    struct buf nothing = BUF_INIT;
    begin(&d, OPENAPI_V2, false, &nothing);
    d.writer.divert = openapi_merge_own;
    d.writer.divert_arg = m;
    write_v2(&d, s);
    end(&d);
    buf_done(&nothing);
}

static bool write_single(struct document *d, struct str name, bool protobuf, struct buf *out)
{
    for (enum openapi_single i = 0; i < OPENAPI_SINGLE_COUNT; i++)
        if (str_eqc(name, openapi_single_name(i))) {
            begin(d, OPENAPI_V3, protobuf, out);
            openapi_paths_single(&d->paths, i);
            end(d);
            return true;
        }
    return false;
}

bool openapi_v3_document(const struct openapi_sources *s, struct str name, bool protobuf,
                         struct buf *out)
{
    struct document d;
    struct str kind, group, version;
    if (write_single(&d, name, protobuf, out))
        return true;
    str_cut(name, '/', &kind, &version);
    if (str_eqc(kind, "apis"))
        str_cut(version, '/', &group, &version);
    else if (str_eqc(kind, "api"))
        group = STR_NULL;
    else
        return false;
    for (size_t i = 0; i < s->count; i++) {
        const struct openapi_group_version *gv = &s->versions[i];
        if (!str_eqc(group, gv->group) || (version.len != 0 && !str_eqc(version, gv->version)))
            continue;
        if (version.len == 0 && group.len == 0)
            return false;
        begin(&d, OPENAPI_V3, protobuf, out);
        if (version.len != 0)
            openapi_paths_group_version(&d.paths, gv);
        else
            openapi_paths_group(&d.paths, gv->group);
        end(&d);
        return true;
    }
    return false;
}

void openapi_v3_names(const struct openapi_sources *s, void (*each)(struct str name, void *arg),
                      void *arg)
{
    const struct openapi_group_version **list = sorted(s);
    AUTO_BUF name = BUF_INIT;
    each(str_of(openapi_single_name(OPENAPI_WELL_KNOWN)), arg);
    each(str_of(openapi_single_name(OPENAPI_API)), arg);
    for (size_t i = 0; i < s->count; i++) {
        const char *group = list[i]->group;
        bool first = i == 0 || strcmp(group, list[i - 1]->group) != 0;
        if (first && group[0] != '\0') {
            if (i == 0 || list[i - 1]->group[0] == '\0')
                each(str_of(openapi_single_name(OPENAPI_APIS)), arg);
            buf_clear(&name);
            buf_printf(&name, "apis/%s", group);
            each(buf_str(&name), arg);
        }
        buf_clear(&name);
        buf_printf(&name, "%s%s/%s", group[0] == '\0' ? "api" : "apis/", group, list[i]->version);
        each(buf_str(&name), arg);
    }
    each(str_of(openapi_single_name(OPENAPI_JWKS)), arg);
    each(str_of(openapi_single_name(OPENAPI_VERSION)), arg);
    free(list);
}
