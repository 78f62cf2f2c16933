/* secrets.c - Secret: bounded data, a type that is fixed at creation and says
 * which keys must be there. stringData is written into data and never stored. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/validate.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

#define SECRET_BYTES_MAX (1024 * 1024)
#define ACCOUNT_NAME "kubernetes.io/service-account.name"

static void put_data(struct arena *a, struct core_v1_secret *s, struct str key, struct str value)
{
    size_t n = s->data_count, at = 0;
    while (at < n && str_cmp(s->data[at].key, key) < 0)
        at++;
    if (at < n && str_eq(s->data[at].key, key)) {
        s->data[at].value = value;
        return;
    }
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i < at ? i : i + 1] = s->data[i];
    list[at] = (struct api_str_entry){key, value};
    s->data = list;
    s->data_count = n + 1;
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_secret *s = obj;
    default_str(&s->type, STR("Opaque"));
    for (size_t i = 0; i < s->string_data_count; i++)
        put_data(ctx->arena, s, s->string_data[i].key, s->string_data[i].value);
    s->string_data = NULL;
    s->string_data_count = 0;
}

static const struct str *find(const struct core_v1_secret *s, const char *key)
{
    return api_str_map_get(s->data, s->data_count, str_of(key));
}

static const struct field_path *data_path(void)
{
    static const struct field_path path = {NULL, "data", {NULL, 0}, -1};
    return &path;
}

static void require_key(struct field_errors *errs, const struct core_v1_secret *s, const char *key)
{
    if (find(s, key) == NULL)
        field_required(errs, PATH_KEY(data_path(), str_of(key)), NULL);
}

/* What Go calls the type of a JSON value that is no object. */
static const char *go_type_name(const struct json *j)
{
    switch (j->type) {
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_BOOL:
        return "bool";
    default:
        return "number";
    }
}

static void require_json(const struct kind_ctx *ctx, struct field_errors *errs,
                         const struct core_v1_secret *s, const char *key)
{
    const struct str *text = find(s, key);
    struct json *j = NULL;
    struct error err = {0};
    if (text == NULL)
        field_required(errs, PATH_KEY(data_path(), str_of(key)), NULL);
    else if (json_parse(ctx->arena, *text, &j, &err) != 0)
        field_invalid(errs, PATH_KEY(data_path(), str_of(key)), STR("<secret contents redacted>"),
                      "%s", error_message(&err));
    else if (j->type != JSON_OBJECT && j->type != JSON_NULL)
        field_invalid(errs, PATH_KEY(data_path(), str_of(key)), STR("<secret contents redacted>"),
                      "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                      go_type_name(j));
}

static void validate_type(const struct kind_ctx *ctx, const struct core_v1_secret *s,
                          struct field_errors *errs)
{
    if (str_eqc(s->type, "kubernetes.io/service-account-token")) {
        const struct str *name = api_str_map_get(s->metadata.annotations,
                                                 s->metadata.annotations_count, STR(ACCOUNT_NAME));
        if (name == NULL || str_empty(*name))
            field_required(
                errs, PATH_KEY(PATH(PATH(PATH_ROOT, "metadata"), "annotations"), STR(ACCOUNT_NAME)),
                NULL);
    } else if (str_eqc(s->type, "kubernetes.io/dockercfg")) {
        require_json(ctx, errs, s, ".dockercfg");
    } else if (str_eqc(s->type, "kubernetes.io/dockerconfigjson")) {
        require_json(ctx, errs, s, ".dockerconfigjson");
    } else if (str_eqc(s->type, "kubernetes.io/basic-auth")) {
        if (find(s, "username") == NULL && find(s, "password") == NULL) {
            require_key(errs, s, "username");
            require_key(errs, s, "password");
        }
    } else if (str_eqc(s->type, "kubernetes.io/ssh-auth")) {
        const struct str *key = find(s, "ssh-privatekey");
        if (key == NULL || str_empty(*key))
            field_required(errs, PATH_KEY(data_path(), STR("ssh-privatekey")), NULL);
    } else if (str_eqc(s->type, "kubernetes.io/tls")) {
        require_key(errs, s, "tls.crt");
        require_key(errs, s, "tls.key");
    }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct core_v1_secret *s = obj;
    size_t bytes = 0;
    for (size_t i = 0; i < s->data_count; i++) {
        struct str key = s->data[i].key;
        field_faults(errs, PATH_KEY(data_path(), key), key, api_check_config_key(key));
        bytes += s->data[i].value.len;
    }
    if (bytes > SECRET_BYTES_MAX)
        field_too_long(errs, data_path(), SECRET_BYTES_MAX);
    validate_type(ctx, s, errs);
}

static bool same_data(const struct core_v1_secret *x, const struct core_v1_secret *y)
{
    if (x->data_count != y->data_count)
        return false;
    for (size_t i = 0; i < x->data_count; i++)
        if (!str_eq(x->data[i].key, y->data[i].key) || !str_eq(x->data[i].value, y->data[i].value))
            return false;
    return true;
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    static const char why[] = "field is immutable when `immutable` is set";
    const struct core_v1_secret *s = obj, *o = old;
    validate_immutable_str(errs, PATH(PATH_ROOT, "type"), s->type, o->type);
    if (o->has_immutable && o->immutable) {
        if (!s->has_immutable || !s->immutable)
            field_forbidden(errs, PATH(PATH_ROOT, "immutable"), "%s", why);
        if (!same_data(s, o))
            field_forbidden(errs, data_path(), "%s", why);
    }
    validate_create(ctx, obj, errs);
}

/* An update that leaves the type out means the one that is there. */
static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct core_v1_secret *s = obj;
    if (str_empty(s->type))
        s->type = ((const struct core_v1_secret *)old)->type;
}

/* A key that is not the certificate's is kept: the two may be written one after the other. */
static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct core_v1_secret *s = obj;
    struct error err = {0};
    if (!str_eqc(s->type, "kubernetes.io/tls"))
        return;
    const struct str *cert = find(s, "tls.crt"), *key = find(s, "tls.key");
    if (pki_pair_check(cert != NULL ? *cert : STR_NULL, key != NULL ? *key : STR_NULL, &err) != 0)
        kind_warn(ctx, "%s", error_message(&err));
}

static struct str get_type(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const struct core_v1_secret *)obj)->type;
}

static const struct kind_field fields[] = {{"type", get_type}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Type", "string", "", "What the data is for.", 0},
    {"Data", "string", "", "Number of entries.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_secret *s = obj;
    cell_str(r, s->metadata.name);
    cell_str(r, s->type);
    cell_int(r, (int64_t)s->data_count);
    cell_age(r, &s->metadata.creation_timestamp);
}

const struct kind_ops kind_secrets = {
    .group = "",
    .version = "v1",
    .resource = "secrets",
    .flags = KIND_CHECKED_AS_NEW,
    .default_ = set_defaults,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .fields = fields,
    .columns = columns,
    .row = row,
};
