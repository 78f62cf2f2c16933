/* openapi_paths.c - see openapi_paths.h.
 *
 * A resource becomes these path items, where its verbs and scope allow:
 *
 *   /PREFIX/RESOURCE                                   list, create, delete all (all namespaces:
 * list) /PREFIX/namespaces/{namespace}/RESOURCE            the same, in one
 *   .../RESOURCE/{name}                                get, replace, patch, delete
 *   .../RESOURCE/{name}/SUBRESOURCE                    by its verbs
 *   .../RESOURCE/{name}/proxy/{path}
 *   /PREFIX/watch/...                                  the old form of watches
 *
 * Parameters that all of an item's operations take stand at the item. */
#include "apiserver/openapi_paths.h"

#include "api/meta_v1.h"
#include "apiserver/openapi_defs.h"
#include "apiserver/openapi_operation.h"
#include "apiserver/openapi_writer.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdio.h>

#define PARAMS_LIST                                                                                \
    (PARAM_BIT(PARAM_ALLOW_WATCH_BOOKMARKS) | PARAM_BIT(PARAM_CONTINUE) |                          \
     PARAM_BIT(PARAM_FIELD_SELECTOR) | PARAM_BIT(PARAM_LABEL_SELECTOR) | PARAM_BIT(PARAM_LIMIT) |  \
     PARAM_BIT(PARAM_RESOURCE_VERSION) | PARAM_BIT(PARAM_RESOURCE_VERSION_MATCH) |                 \
     PARAM_BIT(PARAM_SEND_INITIAL_EVENTS) | PARAM_BIT(PARAM_TIMEOUT_SECONDS) |                     \
     PARAM_BIT(PARAM_WATCH) | PARAM_BIT(PARAM_PRETTY))
#define PARAMS_WRITE                                                                               \
    (PARAM_BIT(PARAM_DRY_RUN) | PARAM_BIT(PARAM_FIELD_MANAGER) |                                   \
     PARAM_BIT(PARAM_FIELD_VALIDATION) | PARAM_BIT(PARAM_BODY_OBJECT) | PARAM_BIT(PARAM_PRETTY))
#define PARAMS_PATCH                                                                               \
    (PARAM_BIT(PARAM_DRY_RUN) | PARAM_BIT(PARAM_FIELD_MANAGER_PATCH) |                             \
     PARAM_BIT(PARAM_FIELD_VALIDATION) | PARAM_BIT(PARAM_FORCE) | PARAM_BIT(PARAM_BODY_PATCH) |    \
     PARAM_BIT(PARAM_PRETTY))
#define PARAMS_DELETE                                                                              \
    (PARAM_BIT(PARAM_DRY_RUN) | PARAM_BIT(PARAM_GRACE_PERIOD_SECONDS) |                            \
     PARAM_BIT(PARAM_IGNORE_STORE_READ_ERROR) | PARAM_BIT(PARAM_ORPHAN_DEPENDENTS) |               \
     PARAM_BIT(PARAM_PROPAGATION_POLICY) | PARAM_BIT(PARAM_BODY_DELETE) | PARAM_BIT(PARAM_PRETTY))
#define PARAMS_DELETE_ALL                                                                          \
    (PARAMS_DELETE |                                                                               \
     (PARAMS_LIST & ~(PARAM_BIT(PARAM_ALLOW_WATCH_BOOKMARKS) | PARAM_BIT(PARAM_WATCH))))
#define PARAMS_LOG                                                                                 \
    (PARAM_BIT(PARAM_CONTAINER_LOG) | PARAM_BIT(PARAM_FOLLOW) |                                    \
     PARAM_BIT(PARAM_INSECURE_SKIP_TLS_VERIFY_BACKEND) | PARAM_BIT(PARAM_LIMIT_BYTES) |            \
     PARAM_BIT(PARAM_PRETTY) | PARAM_BIT(PARAM_PREVIOUS) | PARAM_BIT(PARAM_SINCE_SECONDS) |        \
     PARAM_BIT(PARAM_STREAM) | PARAM_BIT(PARAM_TAIL_LINES) | PARAM_BIT(PARAM_TIMESTAMPS))
#define PARAMS_STREAMS                                                                             \
    (PARAM_BIT(PARAM_STDERR) | PARAM_BIT(PARAM_STDIN) | PARAM_BIT(PARAM_STDOUT) |                  \
     PARAM_BIT(PARAM_TTY))

struct items {
    struct openapi_item *items;
    size_t count, cap;
};

/* --- names ------------------------------------------------------------------------------------ */
/* "rbac.authorization.k8s.io" -> "RbacAuthorization", "" -> "Core" */
static struct str group_title(struct arena *a, const char *group)
{
    struct str rest = group[0] == '\0' ? STR("core") : str_of(group), part;
    if (str_has_suffix(rest, STR(".k8s.io")))
        rest.len -= sizeof(".k8s.io") - 1;
    struct buf b = BUF_INIT;
    bool more = true;
    while (more) {
        more = str_cut(rest, '.', &part, &rest);
        for (size_t i = 0; i < part.len; i++) {
            char c = part.data[i];
            bool upper = (i == 0 || part.data[i - 1] == '-') && c >= 'a' && c <= 'z';
            if (c != '-')
                buf_putc(&b, upper ? (char)(c - 'a' + 'A') : c);
        }
    }
    struct str title = arena_str(a, buf_str(&b));
    buf_done(&b);
    return title;
}

static struct str title(struct arena *a, const char *s)
{
    char *copy = arena_strdup(a, s);
    if (copy[0] >= 'a' && copy[0] <= 'z')
        copy[0] = (char)(copy[0] - 'a' + 'A');
    return str_of(copy);
}

/* "rbacAuthorization_v1" */
static void put_tag(struct arena *a, const char *group, const char *version, struct buf *out)
{
    struct str t = group_title(a, group);
    char first = t.data[0] >= 'A' && t.data[0] <= 'Z' ? (char)(t.data[0] - 'A' + 'a') : t.data[0];
    buf_printf(out, "%c" STR_FMT "%s%s", first, STR_ARG(str_sub(t, 1, t.len)),
               version != NULL ? "_" : "", version != NULL ? version : "");
}

/* --- resources
 * ------------------------------------------------------------------------------------ */
struct build {
    struct openapi_paths *paths;
    struct arena *arena;
    const struct openapi_resource *resource;
    const struct api_kind *kind;
    struct str prefix; /* "/apis/apps/v1" */
    struct str title;  /* "AppsV1" */
    struct items *out;
};

static struct openapi_item *new_item(struct build *b, struct str path)
{
    struct items *list = b->out;
    list->items = arena_grow(b->arena, list->items, list->count, &list->cap, sizeof(*list->items));
    struct openapi_item *it = &list->items[list->count++];
    *it = (struct openapi_item){
        .path = path, .kind = b->kind->kind, .protobuf = !openapi_is_custom(b->kind)};
    return it;
}

/* verb, place and suffix make the id: "read" "Namespaced" Pod "Status". */
static struct openapi_operation *add_operation(struct build *b, struct openapi_item *it,
                                               const char *method, const char *action,
                                               const char *verb, const char *suffix)
{
    ASSERT(it->count < OPENAPI_OPERATIONS_MAX);
    struct openapi_operation *o = &it->operations[it->count++];
    bool scoped = str_find_str(it->path, STR("{namespace}")) >= 0;
    *o = (struct openapi_operation){
        .method = method,
        .action = action,
        .group = b->kind->group,
        .version = b->kind->version,
        .kind = b->kind->kind,
        .id = arena_printf(b->arena, "%s" STR_FMT "%s%s%s%s", verb, STR_ARG(b->title),
                           strcmp(action, "deletecollection") == 0 ? "Collection" : "",
                           scoped ? "Namespaced" : "", b->kind->kind, suffix),
    };
    if (scoped)
        o->params |= PARAM_BIT(PARAM_NAMESPACE);
    if (str_find_str(it->path, STR("{name}")) >= 0)
        o->params |= PARAM_BIT(PARAM_NAME);
    return o;
}

/* .../RESOURCE, with "watch/" in front for the old watches. */
static struct str resource_path(struct build *b, const char *watch, bool scoped, const char *behind)
{
    return arena_printf(b->arena, STR_FMT "/%s%s%s%s", STR_ARG(b->prefix), watch,
                        scoped ? "namespaces/{namespace}/" : "", b->kind->resource, behind);
}

static void add_list(struct build *b, struct openapi_item *it, bool everywhere)
{
    struct openapi_operation *o =
        add_operation(b, it, "get", "list", "list", everywhere ? "ForAllNamespaces" : "");
    o->params |= PARAMS_LIST;
    o->flags = ANSWER_STREAM;
    o->answer = openapi_defs_list(b->paths->defs, b->resource);
    o->text = arena_printf(b->arena, "List or watch %s objects%s.", b->kind->kind,
                           everywhere ? " of all namespaces" : "");
}

static void add_collection(struct build *b)
{
    const char *verbs = b->kind->verbs;
    struct openapi_defs *d = b->paths->defs;
    bool list = api_list_has(verbs, STR("list"));
    if (b->kind->namespaced && list)
        add_list(b, new_item(b, resource_path(b, "", false, "")), true);
    struct openapi_item *it = new_item(b, resource_path(b, "", b->kind->namespaced, ""));
    struct openapi_operation *o;
    if (api_list_has(verbs, STR("deletecollection"))) {
        o = add_operation(b, it, "delete", "deletecollection", "delete", "");
        o->params |= PARAMS_DELETE_ALL;
        o->body = b->paths->delete_body;
        o->answer = openapi_defs_message(d, &meta_v1_status_msg);
        o->text = arena_printf(b->arena, "Delete all %s objects that the selectors match.",
                               b->kind->kind);
    }
    if (list)
        add_list(b, it, false);
    if (api_list_has(verbs, STR("create"))) {
        o = add_operation(b, it, "post", "post", "create", "");
        o->params |= PARAMS_WRITE;
        o->body = o->answer = openapi_defs_kind(d, b->resource);
        o->flags = ANSWER_CREATED | ANSWER_ACCEPTED;
        o->text = arena_printf(b->arena, "Make a new %s.", b->kind->kind);
    }
    if (it->count == 0)
        b->out->count--;
}

/* Reading, replacing and patching: of an object or of a subresource. */
static void add_access(struct build *b, struct openapi_item *it, const char *verbs, struct str def,
                       const char *what, const char *suffix)
{
    struct openapi_operation *o;
    if (api_list_has(verbs, STR("get"))) {
        o = add_operation(b, it, "get", "get", "read", suffix);
        o->params |= PARAM_BIT(PARAM_PRETTY);
        o->answer = def;
        o->text = arena_printf(b->arena, "Read the %s%s.", b->kind->kind, what);
    }
    if (api_list_has(verbs, STR("patch"))) {
        o = add_operation(b, it, "patch", "patch", "patch", suffix);
        o->params |= PARAMS_PATCH;
        o->body = b->paths->patch_body;
        o->answer = def;
        o->flags = ANSWER_CREATED;
        o->text = arena_printf(b->arena, "Change parts of the %s%s.", b->kind->kind, what);
    }
    if (api_list_has(verbs, STR("update"))) {
        o = add_operation(b, it, "put", "put", "replace", suffix);
        o->params |= PARAMS_WRITE;
        o->body = o->answer = def;
        o->flags = ANSWER_CREATED;
        o->text = arena_printf(b->arena, "Replace the %s%s.", b->kind->kind, what);
    }
}

static void add_object(struct build *b)
{
    struct openapi_defs *d = b->paths->defs;
    struct openapi_item *it = new_item(b, resource_path(b, "", b->kind->namespaced, "/{name}"));
    if (api_list_has(b->kind->verbs, STR("delete"))) {
        struct openapi_operation *o = add_operation(b, it, "delete", "delete", "delete", "");
        o->params |= PARAMS_DELETE;
        o->body = b->paths->delete_body;
        o->answer = b->resource->returns_deleted ? openapi_defs_kind(d, b->resource)
                                                 : openapi_defs_message(d, &meta_v1_status_msg);
        o->flags = ANSWER_ACCEPTED;
        o->text = arena_printf(b->arena, "Delete the %s.", b->kind->kind);
    }
    if (api_list_has(b->kind->verbs, STR("get")))
        add_access(b, it, b->kind->verbs, openapi_defs_kind(d, b->resource), "", "");
    if (it->count == 0)
        b->out->count--;
}

static void add_watch(struct build *b, bool scoped, const char *suffix, bool single)
{
    struct openapi_item *it =
        new_item(b, resource_path(b, "watch/", scoped, single ? "/{name}" : ""));
    struct openapi_operation *o =
        add_operation(b, it, "get", single ? "watch" : "watchlist", "watch", suffix);
    o->params |= PARAMS_LIST;
    o->flags = ANSWER_STREAM;
    o->answer = openapi_defs_message(b->paths->defs, &meta_v1_watch_event_msg);
    o->text = arena_printf(b->arena, "Deprecated: list with watch=true. Watch %s%s.", b->kind->kind,
                           single ? "" : " objects");
}

static void add_watches(struct build *b)
{
    if (!api_list_has(b->kind->verbs, STR("watch")))
        return;
    if (b->kind->namespaced)
        add_watch(b, false, "ListForAllNamespaces", false);
    add_watch(b, b->kind->namespaced, "List", false);
    add_watch(b, b->kind->namespaced, "", true);
}

/* --- subresources
 * ---------------------------------------------------------------------------------- */
static openapi_params connect_params(const char *sub)
{
    if (strcmp(sub, "attach") == 0)
        return PARAMS_STREAMS | PARAM_BIT(PARAM_CONTAINER_ATTACH);
    if (strcmp(sub, "exec") == 0)
        return PARAMS_STREAMS | PARAM_BIT(PARAM_CONTAINER_EXEC) | PARAM_BIT(PARAM_COMMAND);
    return strcmp(sub, "portforward") == 0 ? PARAM_BIT(PARAM_PORTS) : PARAM_BIT(PARAM_PATH);
}

static void add_connect(struct build *b, const struct api_subresource *s, bool with_path)
{
    static const struct {
        const char *method, *title, *verb;
    } methods[] = {
        {"delete", "Delete", "delete"},   {"get", "Get", "get"},
        {"head", "Head", "delete"}, /* What may be proxied with DELETE may be with any method. */
        {"options", "Options", "delete"}, {"patch", "Patch", "patch"},
        {"post", "Post", "create"},       {"put", "Put", "update"},
    };
    struct openapi_item *it =
        new_item(b, resource_path(b, "", b->kind->namespaced,
                                  str_c(arena_printf(b->arena, "/{name}/%s%s", s->name,
                                                     with_path ? "/{path}" : ""))));
    struct str suffix = arena_printf(b->arena, STR_FMT "%s", STR_ARG(title(b->arena, s->name)),
                                     with_path ? "WithPath" : "");
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        if (!api_list_has(s->verbs, str_of(methods[i].verb)))
            continue;
        struct openapi_operation *o =
            add_operation(b, it, methods[i].method, "connect", "connect", str_c(suffix));
        bool scoped = b->kind->namespaced;
        o->id = arena_printf(b->arena, "connect" STR_FMT "%s%s%s" STR_FMT, STR_ARG(b->title),
                             methods[i].title, scoped ? "Namespaced" : "", b->kind->kind,
                             STR_ARG(suffix));
        o->params |= connect_params(s->name);
        if (with_path)
            o->params |= PARAM_BIT(PARAM_PATH_IN_PATH);
        o->flags = ANSWER_ANY;
        o->group = s->group;
        o->version = s->version;
        o->kind = s->kind;
        o->text = arena_printf(b->arena, "Connect to %s of the %s with %s.", s->name, b->kind->kind,
                               methods[i].title);
    }
}

static void add_subresource(struct build *b, const struct api_subresource *s)
{
    struct openapi_defs *d = b->paths->defs;
    if (api_list_has(s->verbs, STR("connect"))) {
        add_connect(b, s, false);
        if (strcmp(s->name, "proxy") == 0)
            add_connect(b, s, true);
        return;
    }
    const struct api_kind *other =
        api_kind_by_gvk(str_of(s->group), str_of(s->version), str_of(s->kind));
    bool own = strcmp(s->kind, b->kind->kind) == 0;
    struct str def = own             ? openapi_defs_kind(d, b->resource)
                     : other != NULL ? openapi_defs_message(d, other->msg)
                                     : STR_NULL;
    struct str suffix = title(b->arena, s->name);
    struct openapi_item *it =
        new_item(b, resource_path(b, "", b->kind->namespaced,
                                  str_c(arena_printf(b->arena, "/{name}/%s", s->name))));
    if (strcmp(s->name, "log") == 0) {
        struct openapi_operation *o = add_operation(b, it, "get", "get", "read", str_c(suffix));
        o->params |= PARAMS_LOG;
        o->flags = ANSWER_TEXT;
        o->text = arena_printf(b->arena, "Read the log of the %s.", b->kind->kind);
        return;
    }
    add_access(b, it, s->verbs, def, str_c(arena_printf(b->arena, "'s %s", s->name)),
               str_c(suffix));
    if (api_list_has(s->verbs, STR("create"))) {
        struct openapi_operation *o = add_operation(b, it, "post", "post", "create", str_c(suffix));
        o->params |= PARAMS_WRITE;
        o->body = o->answer = def;
        o->flags = ANSWER_CREATED | ANSWER_ACCEPTED;
        o->text = arena_printf(b->arena, "Make a new %s for the %s.", s->kind, b->kind->kind);
    }
    for (size_t i = 0; i < it->count; i++) {
        it->operations[i].group = s->group;
        it->operations[i].version = s->version;
        it->operations[i].kind = s->kind;
    }
}

/* --- documents' parts
 * --------------------------------------------------------------------------------- */
void openapi_paths_init(struct openapi_paths *p, struct openapi_defs *defs,
                        struct openapi_writer *w)
{
    *p = (struct openapi_paths){.defs = defs, .writer = w};
}

static int by_path(const void *x, const void *y)
{
    const struct openapi_item *a = x, *b = y;
    return str_cmp(a->path, b->path);
}

/* "/apis/apps/v1/": which resources there are. */
static struct openapi_operation *add_index(struct build *b, struct str path,
                                           const struct api_msg *answer, struct str id,
                                           const char *text)
{
    struct items *list = b->out;
    list->items = arena_grow(b->arena, list->items, list->count, &list->cap, sizeof(*list->items));
    struct openapi_item *it = &list->items[list->count++];
    *it = (struct openapi_item){.path = path, .protobuf = answer != NULL, .kind = "", .count = 1};
    it->operations[0] = (struct openapi_operation){
        .method = "get",
        .id = id,
        .text = str_of(text),
        .flags = ANSWER_SAME,
        .answer = answer != NULL ? openapi_defs_message(b->paths->defs, answer) : STR_NULL};
    return &it->operations[0];
}

void openapi_paths_group_version(struct openapi_paths *p, const struct openapi_group_version *gv)
{
    struct items items = {0};
    struct arena *a = p->defs->arena;
    struct str group = group_title(a, gv->group), version = title(a, gv->version);
    struct build b = {
        .paths = p,
        .arena = a,
        .prefix = gv->group[0] != '\0' ? arena_printf(a, "/apis/%s/%s", gv->group, gv->version)
                                       : arena_printf(a, "/api/%s", gv->version),
        .title = arena_printf(a, STR_FMT STR_FMT, STR_ARG(group), STR_ARG(version)),
        .out = &items,
    };
    p->delete_body = openapi_defs_message(p->defs, &meta_v1_delete_options_msg);
    p->patch_body = openapi_defs_message(p->defs, &meta_v1_patch_msg);
    add_index(&b, arena_printf(a, STR_FMT "/", STR_ARG(b.prefix)), &meta_v1_api_resource_list_msg,
              arena_printf(a, "get" STR_FMT "APIResources", STR_ARG(b.title)),
              "Which resources there are.");
    for (size_t i = 0; i < gv->count; i++) {
        b.resource = &gv->resources[i];
        b.kind = b.resource->kind;
        add_collection(&b);
        add_object(&b);
        for (size_t j = 0; j < b.kind->sub_count; j++)
            add_subresource(&b, &b.kind->sub[j]);
        add_watches(&b);
    }
    qsort(items.items, items.count, sizeof(*items.items), by_path);
    AUTO_BUF tag = BUF_INIT;
    put_tag(a, gv->group, gv->version, &tag);
    for (size_t i = 0; i < items.count; i++)
        p->used |= openapi_item_write(p->writer, &items.items[i], buf_str(&tag));
}

static void write_index(struct openapi_paths *p, struct str path, const struct api_msg *answer,
                        struct str id, const char *text, struct str tag)
{
    struct items items = {0};
    struct build b = {.paths = p, .arena = p->defs->arena, .out = &items};
    add_index(&b, path, answer, id, text);
    p->used |= openapi_item_write(p->writer, &items.items[0], tag);
}

void openapi_paths_group(struct openapi_paths *p, const char *group)
{
    struct arena *a = p->defs->arena;
    AUTO_BUF tag = BUF_INIT;
    put_tag(a, group, NULL, &tag);
    write_index(p, arena_printf(a, "/apis/%s/", group), &meta_v1_api_group_msg,
                arena_printf(a, "get" STR_FMT "APIGroup", STR_ARG(group_title(a, group))),
                "The group's versions.", buf_str(&tag));
}

static const struct {
    const char *name, *id, *text, *tag;
    const struct api_msg *answer;
    unsigned flags;
} singles[OPENAPI_SINGLE_COUNT] = {
    [OPENAPI_WELL_KNOWN] = {".well-known/openid-configuration",
                            "getServiceAccountIssuerOpenIDConfiguration",
                            "How tokens of service accounts can be verified.", "WellKnown", NULL,
                            ANSWER_JSON},
    [OPENAPI_API] = {"api", "getCoreAPIVersions", "The versions of the core API.", "core",
                     &meta_v1_api_versions_msg, ANSWER_SAME},
    [OPENAPI_APIS] = {"apis", "getAPIVersions", "The API groups.", "apis",
                      &meta_v1_api_group_list_msg, ANSWER_SAME},
    [OPENAPI_JWKS] = {"openid/v1/jwks", "getServiceAccountIssuerOpenIDKeyset",
                      "The public keys that tokens of service accounts are signed with.", "openid",
                      NULL, ANSWER_KEYS},
    [OPENAPI_VERSION] = {"version", "getCodeVersion", "The server's release.", "version", NULL,
                         ANSWER_JSON | ANSWER_SAME},
};

const char *openapi_single_name(enum openapi_single s)
{
    return singles[s].name;
}

void openapi_paths_single(struct openapi_paths *p, enum openapi_single s)
{
    struct items items = {0};
    struct build b = {.paths = p, .arena = p->defs->arena, .out = &items};
    struct openapi_operation *o =
        add_index(&b, arena_printf(b.arena, "/%s/", singles[s].name), singles[s].answer,
                  str_of(singles[s].id), singles[s].text);
    o->flags = singles[s].flags;
    if (s == OPENAPI_VERSION)
        o->answer = openapi_defs_version_info(p->defs);
    p->used |= openapi_item_write(p->writer, &items.items[0], str_of(singles[s].tag));
}
