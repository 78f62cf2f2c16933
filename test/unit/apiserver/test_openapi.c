/* test_openapi.c - the OpenAPI documents of all that is served, and of a
 * custom kind: every reference leads somewhere, protobuf says what JSON says. */
#include "api/meta_v1.h"
#include "apiserver/openapi_defs.h"
#include "apiserver/openapi_merge.h"
#include "apiserver/registry.h"
#include "lib/api/json.h"
#include "lib/api/json_write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/map.h"
#include "test/unit/unit.h"

static struct openapi_group_version versions[64];
static struct openapi_sources sources;

static void load(void)
{
    size_t groups;
    const struct registry_group *g = registry_groups(&groups);
    if (sources.count != 0)
        return;
    registry_init();
    struct openapi_resource *list = xzalloc(sizeof(*list) * registry_count());
    for (size_t i = 0; i <= groups; i++) {
        const char *group = i == 0 ? "" : g[i - 1].name;
        for (size_t j = 0; i == 0 ? j == 0 : g[i - 1].versions[j] != NULL; j++) {
            const char *version = i == 0 ? "v1" : g[i - 1].versions[j];
            struct openapi_group_version *gv = &versions[sources.count++];
            size_t pos = 0;
            const struct resource *r;
            *gv = (struct openapi_group_version){group, version, list, 0};
            while ((r = registry_next(str_of(group), str_of(version), &pos)) != NULL)
                list[gv->count++].kind = r->kind;
            list += gv->count;
        }
    }
    sources.versions = versions;
}

static struct json *v2(struct arena *a, const struct openapi_sources *s)
{
    AUTO_BUF b = BUF_INIT;
    openapi_v2_document(s, false, &b);
    return json_parse_own(a, arena_str(a, buf_str(&b)));
}

static struct json *v3(struct arena *a, const struct openapi_sources *s, const char *name)
{
    AUTO_BUF b = BUF_INIT;
    ck_assert(openapi_v3_document(s, str_of(name), false, &b));
    return json_parse_own(a, arena_str(a, buf_str(&b)));
}

/* The text of a value, for comparing. */
static const char *text(struct arena *a, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    ck_assert_ptr_nonnull(j);
    json_write(j, true, &b);
    return arena_strdup(a, str_c(arena_str(a, buf_str(&b))));
}

static const struct json *definition(const struct json *doc, const char *name)
{
    const struct json *all = json_getc(doc, "definitions");
    if (all == NULL)
        all = json_path(doc, "components.schemas");
    const struct json *d = json_getc(all, name);
    ck_assert_msg(d != NULL, "no definition %s", name);
    return d;
}

static const char *property(struct arena *a, const struct json *doc, const char *type,
                            const char *name)
{
    struct json *p = json_clone(a, json_getc(json_getc(definition(doc, type), "properties"), name));
    json_remove(p, STR("description"));
    return text(a, p);
}

/* '_' stands where protobuf allows no '-'. */
static const char *open_name(struct arena *a, const struct api_msg *m)
{
    char *name =
        arena_strdup(a, str_c(arena_printf(a, "io.k8s.%s", m->full_name + sizeof("k8s.io.") - 1)));
    for (char *p = name; *p != '\0'; p++)
        if (*p == '_')
            *p = '-';
    return name;
}

/* "#/definitions/NAME" and its kin name a member of the document. */
static void check_refs(const struct json *doc, const struct json *j)
{
    if (j->type == JSON_ARRAY)
        for (size_t i = 0; i < j->array.count; i++)
            check_refs(doc, j->array.items[i]);
    if (j->type != JSON_OBJECT)
        return;
    for (size_t i = 0; i < j->object.count; i++) {
        const struct json_member *m = &j->object.members[i];
        if (str_eqc(m->key, "$ref") && m->value->type == JSON_STRING) {
            struct str rest = m->value->string, part;
            const struct json *at = doc;
            ck_assert(str_cut(rest, '/', &part, &rest));
            for (bool more = true; more && at != NULL;) {
                more = str_cut(rest, '/', &part, &rest);
                at = json_get(at, part);
            }
            ck_assert_msg(at != NULL, "%.*s leads nowhere", (int)m->value->string.len,
                          m->value->string.data);
        } else
            check_refs(doc, m->value);
    }
}

static size_t check_operations(const struct json *doc, struct map *ids)
{
    const struct json *paths = json_getc(doc, "paths");
    size_t count = 0;
    for (size_t i = 0; i < paths->object.count; i++) {
        const struct json *item = paths->object.members[i].value;
        for (size_t j = 0; j < item->object.count; j++) {
            const struct json *o = item->object.members[j].value;
            if (str_eqc(item->object.members[j].key, "parameters"))
                continue;
            struct str id = json_get_str(o, "operationId");
            ck_assert(id.len != 0);
            ck_assert_msg(map_set(ids, id, ids) == NULL, "%.*s twice", (int)id.len, id.data);
            ck_assert_ptr_nonnull(json_path(o, "responses.200"));
            count++;
        }
    }
    return count;
}

/* Every reference of v2 leads somewhere and operations have names of their own. */
START_TEST(v2_document)
{
    AUTO_ARENA *a = arena_new(0);
    struct map ids;
    load();
    struct json *doc = v2(a, &sources);
    check_refs(doc, doc);
    map_init(&ids);
    ck_assert_uint_gt(check_operations(doc, &ids), 500);
    map_done(&ids);
    ck_assert_str_eq(text(a, json_getc(doc, "swagger")), "\"2.0\"");
}
END_TEST

static void check_v3(struct str name, void *arg)
{
    struct map *ids = arg;
    AUTO_ARENA *a = arena_new(0);
    struct json *doc = v3(a, &sources, str_c(arena_str(a, name)));
    check_refs(doc, doc);
    ck_assert_uint_gt(check_operations(doc, ids), 0);
}

/* The same of each document of v3. */
START_TEST(v3_documents)
{
    AUTO_BUF b = BUF_INIT;
    struct map ids;
    load();
    map_init(&ids);
    openapi_v3_names(&sources, check_v3, &ids);
    map_done(&ids);
    ck_assert(!openapi_v3_document(&sources, STR("apis/nothing/v1"), false, &b));
    ck_assert(!openapi_v3_document(&sources, STR("api/v2"), false, &b));
    ck_assert(!openapi_v3_document(&sources, STR("logs"), false, &b));
    ck_assert_uint_eq(b.len, 0);
}
END_TEST

/* Kinds are told apart by group, version and kind, and described. */
START_TEST(kinds)
{
    AUTO_ARENA *a = arena_new(0);
    load();
    struct json *doc = v2(a, &sources);
    for (size_t i = 0; i < registry_count(); i++) {
        const struct api_kind *k = registry_at(i)->kind;
        const struct json *d = definition(doc, open_name(a, k->msg));
        ck_assert_msg(json_get_str(d, "description").len > 10, "%s has no description", k->kind);
        ck_assert_str_eq(
            text(a, json_getc(d, "x-kubernetes-group-version-kind")),
            str_c(arena_printf(a, "[{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}]",
                               k->group, k->kind, k->version)));
    }
}
END_TEST

/* Types, formats, defaults, list types and patch keys, as upstream states them. */
START_TEST(members)
{
    AUTO_ARENA *a = arena_new(0);
    static const char container[] = "io.k8s.api.core.v1.Container",
                      pod_spec[] = "io.k8s.api.core.v1.PodSpec",
                      port[] = "io.k8s.api.core.v1.ServicePort";
    load();
    struct json *two = v2(a, &sources), *three = v3(a, &sources, "api/v1");
    ck_assert_str_eq(property(a, two, container, "ports"),
                     "{\"items\":{\"$ref\":\"#/definitions/io.k8s.api.core.v1.ContainerPort\"},"
                     "\"type\":\"array\",\"x-kubernetes-list-map-keys\":[\"containerPort\","
                     "\"protocol\"],\"x-kubernetes-list-type\":\"map\","
                     "\"x-kubernetes-patch-merge-key\":\"containerPort\","
                     "\"x-kubernetes-patch-strategy\":\"merge\"}");
    ck_assert_str_eq(property(a, three, container, "name"),
                     "{\"default\":\"\",\"type\":\"string\"}");
    ck_assert_str_eq(property(a, two, container, "name"), "{\"type\":\"string\"}");
    ck_assert_str_eq(
        property(a, three, port, "protocol"),
        "{\"default\":\"TCP\",\"enum\":[\"SCTP\",\"TCP\",\"UDP\"],\"type\":\"string\"}");
    ck_assert_str_eq(property(a, three, port, "port"),
                     "{\"default\":0,\"format\":\"int32\",\"type\":\"integer\"}");
    ck_assert_str_eq(
        property(a, three, port, "targetPort"),
        "{\"allOf\":[{\"$ref\":\"#/components/schemas/io.k8s.apimachinery.pkg.util.intstr."
        "IntOrString\"}]}");
    ck_assert_str_eq(property(a, three, container, "resources"),
                     "{\"allOf\":[{\"$ref\":\"#/components/schemas/io.k8s.api.core.v1."
                     "ResourceRequirements\"}],\"default\":{}}");
    ck_assert_str_eq(property(a, three, pod_spec, "overhead"),
                     "{\"additionalProperties\":{\"$ref\":\"#/components/schemas/io.k8s."
                     "apimachinery.pkg.api.resource.Quantity\"},\"type\":\"object\"}");
    ck_assert_str_eq(property(a, two, pod_spec, "nodeSelector"),
                     "{\"additionalProperties\":{\"type\":\"string\"},\"type\":\"object\","
                     "\"x-kubernetes-map-type\":\"atomic\"}");
    ck_assert_str_eq(text(a, json_getc(definition(two, pod_spec), "required")), "[\"containers\"]");
    ck_assert_str_eq(
        text(a, json_getc(definition(two, "io.k8s.api.core.v1.SeccompProfile"),
                          "x-kubernetes-unions")),
        "[{\"discriminator\":\"type\",\"fields-to-discriminateBy\":{\"localhostProfile\":"
        "\"LocalhostProfile\"}}]");
    ck_assert_str_eq(
        text(a, json_getc(definition(three, "io.k8s.apimachinery.pkg.api.resource.Quantity"),
                          "oneOf")),
        "[{\"type\":\"string\"},{\"type\":\"number\"}]");
}
END_TEST

/* --- protobuf ----------------------------------------------------------------------------------
 */
struct wire {
    const uint8_t *p, *end;
};

static uint64_t varint(struct wire *w)
{
    uint64_t v = 0;
    for (unsigned shift = 0; w->p < w->end; shift += 7) {
        v |= (uint64_t)(*w->p & 0x7f) << shift;
        if ((*w->p++ & 0x80) == 0)
            return v;
    }
    ck_abort_msg("a varint is cut off");
}

/* The next field that has a length; others are not met on the way. */
static bool field(struct wire *w, uint64_t *ret_number, struct wire *ret)
{
    if (w->p == w->end)
        return false;
    uint64_t tag = varint(w);
    ck_assert_uint_eq(tag & 7, 2);
    uint64_t n = varint(w);
    ck_assert_uint_le(n, (uint64_t)(w->end - w->p));
    *ret_number = tag >> 3;
    w->p += n;
    *ret = (struct wire){w->p - n, w->p}; /* Which may be w. */
    return true;
}

/* The names of a document's section, in the order in which they stand. */
static size_t check_names(const struct buf *b, const uint64_t path[3], const struct json *object)
{
    struct wire doc = {b->data, b->data + b->len}, at, name;
    uint64_t number;
    size_t n = 0;
    while (field(&doc, &number, &at)) {
        if (number != path[0])
            continue;
        ck_assert(field(&at, &number, &at));
        if (number != path[1])
            continue;
        if (path[2] != 0) {
            ck_assert(field(&at, &number, &at));
            ck_assert_uint_eq(number, path[2]);
        }
        ck_assert(field(&at, &number, &name));
        ck_assert_uint_eq(number, 1);
        ck_assert_uint_lt(n, object->object.count);
        ck_assert(str_eq(str_n((const char *)name.p, (size_t)(name.end - name.p)),
                         object->object.members[n++].key));
    }
    ck_assert_uint_eq(n, object->object.count);
    return n;
}

/* Protobuf has the paths and the definitions that JSON has. */
START_TEST(protobuf_names)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    load();
    struct json *doc = v2(a, &sources);
    openapi_v2_document(&sources, true, &b);
    check_names(&b, (const uint64_t[]){8, 2, 0}, json_getc(doc, "paths"));
    check_names(&b, (const uint64_t[]){9, 1, 0}, json_getc(doc, "definitions"));
    check_names(&b, (const uint64_t[]){10, 1, 0}, json_getc(doc, "parameters"));
    buf_clear(&b);
    doc = v3(a, &sources, "apis/apps/v1");
    ck_assert(openapi_v3_document(&sources, STR("apis/apps/v1"), true, &b));
    check_names(&b, (const uint64_t[]){4, 1, 0}, json_getc(doc, "paths"));
    check_names(&b, (const uint64_t[]){5, 1, 1}, json_path(doc, "components.schemas"));
}
END_TEST

static void check_bytes(enum openapi_version version, enum openapi_section section,
                        const char *json, const char *hex)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    char got[512] = "";
    openapi_proto_item(version, section, json_parse_own(a, str_of(json)), &b);
    for (size_t i = 0; i < b.len && i < 250; i++)
        snprintf(got + 2 * i, 3, "%02x", b.data[i]);
    ck_assert_str_eq(got, hex);
}

/* Every form of value, by the numbers of gnostic's messages. */
START_TEST(protobuf_values)
{
    check_bytes(OPENAPI_V2, OPENAPI_SCHEMAS, "{\"type\":\"string\",\"format\":\"byte\"}",
                "b201080a06737472696e67"
                "120462797465");
    check_bytes(OPENAPI_V2, OPENAPI_SCHEMAS, "{\"required\":[\"a\",\"b\"],\"enum\":[\"x\"]}",
                "9a010161"
                "9a010162"
                "a20105120322782"
                "2");
    check_bytes(OPENAPI_V2, OPENAPI_SCHEMAS, "{\"items\":{\"$ref\":\"r\"}}", "ba01050a030a0172");
    check_bytes(OPENAPI_V2, OPENAPI_SCHEMAS, "{\"properties\":{\"p\":{\"$ref\":\"r\"}}}",
                "ca010a0a080a017012030a0172");
    check_bytes(OPENAPI_V2, OPENAPI_SCHEMAS, "{\"additionalProperties\":true}", "aa01021001");
    check_bytes(OPENAPI_V2, OPENAPI_SCHEMAS, "{\"x-a\":1}", "fa010a0a03782d611203120131");
    check_bytes(OPENAPI_V2, OPENAPI_SCHEMAS, "{\"maxLength\":300,\"minimum\":1.5}",
                "58ac02"
                "49000000000000f83f");
    /* Parameter { NonBodyParameter { query | path } } or { BodyParameter }. */
    check_bytes(OPENAPI_V2, OPENAPI_PARAMETERS, "{\"in\":\"query\",\"name\":\"n\"}",
                "120c1a0a1205717565727922016e");
    check_bytes(OPENAPI_V2, OPENAPI_PARAMETERS, "{\"in\":\"body\",\"required\":true}",
                "0a081a04626f64792001");
    /* SchemaOrReference; a default of an object has no form and is only there. */
    check_bytes(OPENAPI_V3, OPENAPI_SCHEMAS, "{\"$ref\":\"r\"}", "12030a0172");
    check_bytes(OPENAPI_V3, OPENAPI_SCHEMAS, "{\"default\":{}}", "0a038a0200");
    check_bytes(OPENAPI_V3, OPENAPI_SCHEMAS, "{\"default\":\"\"}", "0a058a02021a00");
    check_bytes(OPENAPI_V3, OPENAPI_SCHEMAS, "{\"default\":0}", "0a0c8a0209090000000000000000");
    check_bytes(OPENAPI_V3, OPENAPI_SCHEMAS, "{\"nullable\":true,\"unheard-of\":1}", "0a020801");
}
END_TEST

/* --- a custom kind -----------------------------------------------------------------------------
 */
static const struct api_kind widget_kind = {.group = "example.com",
                                            .version = "v1",
                                            .kind = "Widget",
                                            .list_kind = "WidgetList",
                                            .resource = "widgets",
                                            .singular = "widget",
                                            .verbs = "create,delete,get,list,patch,update,watch",
                                            .namespaced = true,
                                            .api_version = "example.com/v1"};

static struct openapi_sources custom(struct arena *a, const char *schema)
{
    static struct openapi_resource resource;
    static struct openapi_group_version gv;
    resource = (struct openapi_resource){.kind = &widget_kind,
                                         .schema = json_parse_own(a, str_of(schema))};
    gv = (struct openapi_group_version){"example.com", "v1", &resource, 1};
    return (struct openapi_sources){&gv, 1};
}

static const char schema[] =
    "{\"type\":\"object\",\"required\":[\"spec\",\"none\"],\"properties\":{"
    "\"spec\":{\"type\":\"object\",\"properties\":{\"size\":{\"type\":\"integer\",\"default\":3,"
    "\"minimum\":1},\"port\":{\"x-kubernetes-int-or-string\":true,\"anyOf\":[{\"type\":"
    "\"integer\"},{\"type\":\"string\"}]}}},\"none\":{\"type\":\"string\",\"nullable\":true},"
    "\"any\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true,\"properties\":{"
    "\"a\":{\"type\":\"string\"}}}}}";

/* v3 has the schema as it was given, with every kind's own members. */
START_TEST(custom_v3)
{
    AUTO_ARENA *a = arena_new(0);
    struct openapi_sources s = custom(a, schema);
    struct json *doc = v3(a, &s, "apis/example.com/v1");
    check_refs(doc, doc);
    const struct json *d = definition(doc, "com.example.v1.Widget");
    ck_assert_str_eq(text(a, json_path(d, "properties.spec.properties.size")),
                     "{\"default\":3,\"minimum\":1,\"type\":\"integer\"}");
    ck_assert_str_eq(property(a, doc, "com.example.v1.Widget", "metadata"),
                     "{\"allOf\":[{\"$ref\":\"#/components/schemas/io.k8s.apimachinery.pkg.apis."
                     "meta.v1.ObjectMeta\"}]}");
    ck_assert_str_eq(text(a, json_getc(d, "x-kubernetes-group-version-kind")),
                     "[{\"group\":\"example.com\",\"kind\":\"Widget\",\"version\":\"v1\"}]");
    ck_assert_str_eq(property(a, doc, "com.example.v1.WidgetList", "items"),
                     "{\"items\":{\"$ref\":\"#/components/schemas/com.example.v1.Widget\"},"
                     "\"type\":\"array\"}");
    const struct json *item = json_getc(
        json_getc(doc, "paths"), "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}");
    ck_assert_str_eq(text(a, json_path(item, "patch.operationId")),
                     "\"patchExampleComV1NamespacedWidget\"");
    /* Custom kinds have no strategic merge and no protobuf. */
    const struct json *content = json_path(item, "patch.requestBody.content");
    ck_assert_ptr_nonnull(json_getc(content, "application/merge-patch+json"));
    ck_assert_ptr_null(json_getc(content, "application/strategic-merge-patch+json"));
    content = json_path(item, "get.responses.200.content");
    ck_assert_uint_eq(content->object.count, 2);
}
END_TEST

/* v2 leaves out what it cannot say, so that nothing valid is refused by who reads it. */
START_TEST(custom_v2)
{
    AUTO_ARENA *a = arena_new(0);
    struct openapi_sources s = custom(a, schema);
    struct json *doc = v2(a, &s);
    check_refs(doc, doc);
    const struct json *d = definition(doc, "com.example.v1.Widget");
    ck_assert_str_eq(text(a, json_path(d, "properties.spec.properties.size")),
                     "{\"minimum\":1,\"type\":\"integer\"}");
    ck_assert_str_eq(text(a, json_path(d, "properties.spec.properties.port")),
                     "{\"x-kubernetes-int-or-string\":true}");
    ck_assert_str_eq(text(a, json_path(d, "properties.none")), "{}");
    ck_assert_str_eq(text(a, json_path(d, "properties.any")),
                     "{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}");
    ck_assert_str_eq(text(a, json_getc(d, "required")), "[\"spec\"]");
    ck_assert_ptr_nonnull(json_path(d, "properties.kind"));
}
END_TEST

/* Whole objects inside of the object have what every object has. */
START_TEST(custom_embedded)
{
    AUTO_ARENA *a = arena_new(0);
    struct openapi_sources s =
        custom(a, "{\"type\":\"object\",\"properties\":{\"list\":{\"type\":\"array\",\"items\":{"
                  "\"type\":\"object\",\"x-kubernetes-embedded-resource\":true}}}}");
    struct json *doc = v3(a, &s, "apis/example.com/v1");
    const struct json *d = definition(doc, "com.example.v1.Widget");
    ck_assert_ptr_nonnull(json_path(d, "properties.list.items.properties.apiVersion"));
    ck_assert_ptr_nonnull(json_path(d, "properties.list.items.properties.metadata"));
}
END_TEST

/* A kind that takes any object shows no members: who reads them would refuse others. */
START_TEST(custom_open)
{
    AUTO_ARENA *a = arena_new(0);
    static const char open[] =
        "{\"type\":\"object\",\"x-kubernetes-group-version-kind\":[{"
        "\"group\":\"example.com\",\"kind\":\"Widget\",\"version\":\"v1\"}]}";
    struct openapi_sources s =
        custom(a, "{\"properties\":{\"a\":{}},\"x-kubernetes-preserve-unknown-fields\":true}");
    ck_assert_str_eq(text(a, definition(v2(a, &s), "com.example.v1.Widget")), open);
    const struct json *d = definition(v3(a, &s, "apis/example.com/v1"), "com.example.v1.Widget");
    ck_assert_ptr_nonnull(json_path(d, "properties.metadata"));
    s = custom(a, "null");
    ck_assert_str_eq(text(a, definition(v2(a, &s), "com.example.v1.Widget")), open);
    ck_assert_str_eq(text(a, definition(v3(a, &s, "apis/example.com/v1"), "com.example.v1.Widget")),
                     open);
}
END_TEST

/* --- joined to others' ------------------------------------------------------------------------ */
#define REF(name) "{\"$ref\":\"#/definitions/" name "\"}"
#define PATH_OF(name) "{\"get\":{\"responses\":{\"200\":{\"schema\":" REF(name) "}}}}"
#define KINDS_OF(kind) "\"x-kubernetes-group-version-kind\":[{\"kind\":\"" kind "\"}]"

static struct json *joined(struct arena *a, const char *const *others, size_t count)
{
    struct openapi_merge *m = openapi_merge_new();
    AUTO_BUF b = BUF_INIT;
    struct error err = {0};
    openapi_merge_own(m, OPENAPI_PATHS, STR("/apis/g/v/taken"), STR("{\"mine\":1}"));
    openapi_merge_own(m, OPENAPI_SCHEMAS, STR("A"), STR("{\"type\":\"string\"}"));
    openapi_merge_own(m, OPENAPI_SCHEMAS, STR("Same"),
                      STR("{\"description\":\"x\",\"type\":\"object\"," KINDS_OF("X") "}"));
    openapi_merge_own(m, OPENAPI_PARAMETERS, STR("P"), STR("{\"in\":\"query\"}"));
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(openapi_merge_add(m, str_of(others[i]), STR("/apis/g/v/"), &err) == 0, "%s",
                      error_message(&err));
    openapi_merge_write(m, false, &b);
    openapi_merge_free(m);
    return json_parse_own(a, arena_str(a, buf_str(&b)));
}

/* What is asked for comes with what it needs; what means something else gets another name. */
START_TEST(joins)
{
    AUTO_ARENA *a = arena_new(0);
    static const char *const others[] = {"{\"swagger\":\"2.0\",\"paths\":{\"/apis/g/v/x\":" PATH_OF(
        "A") ","
             "\"/apis/g/v/taken\":" PATH_OF("Gone") ",\"/apis/g/\":" PATH_OF(
                 "Gone") ","
                         "\"/apis/g/v/p\":{\"parameters\":[{\"$ref\":\"#/parameters/P\"}]}},"
                         "\"definitions\":{\"A\":{\"properties\":{\"a\":" REF("A") ",\"b\":" REF("B") ",\"s\":" REF(
                             "Same") "}},\"B\":{},\"Gone\":{\"items\":" REF("B") "},\"Loose\":{},"
                                                                                 "\"A_v2\":{"
                                                                                 "\"type\":"
                                                                                 "\"null\"},"
                                                                                 "\"Same\":{"
                                                                                 "\"description\":"
                                                                                 "\"y\",\"type\":"
                                                                                 "\"object\""
                                                                                 "," KINDS_OF(
                                                                                     "Y") "}},"
                                                                                          "\"parame"
                                                                                          "ters\":{"
                                                                                          "\"P\":{"
                                                                                          "\"in\":"
                                                                                          "\"path\""
                                                                                          "}}}"};
    const struct json *j = joined(a, others, 1), *d = json_getc(j, "definitions");
    ck_assert_str_eq(text(a, json_get(json_getc(j, "paths"), STR("/apis/g/v/x"))), PATH_OF("A_v3"));
    ck_assert_str_eq(text(a, json_get(json_getc(j, "paths"), STR("/apis/g/v/taken"))),
                     "{\"mine\":1}");
    ck_assert_str_eq(text(a, json_get(json_getc(j, "paths"), STR("/apis/g/v/p"))),
                     "{\"parameters\":[{\"$ref\":\"#/parameters/P_v2\"}]}");
    ck_assert_ptr_null(json_get(json_getc(j, "paths"), STR("/apis/g/")));
    ck_assert_str_eq(text(a, json_getc(d, "A")), "{\"type\":\"string\"}");
    ck_assert_str_eq(
        text(a, json_getc(d, "A_v3")),
        "{\"properties\":{\"a\":" REF("A_v3") ",\"b\":" REF("B") ",\"s\":" REF("Same") "}}");
    ck_assert_ptr_null(json_getc(d, "Gone"));
    ck_assert_ptr_nonnull(json_getc(d, "Loose"));
    ck_assert_str_eq(text(a, json_getc(d, "Same")),
                     "{\"description\":\"x\",\"type\":\"object\",\"x-kubernetes-group-version-"
                     "kind\":[{\"kind\":\"X\"},{\"kind\":\"Y\"}]}");
    ck_assert_str_eq(text(a, json_path(j, "parameters.P_v2")), "{\"in\":\"path\"}");
}
END_TEST

/* The second that means the same as the first under a name of its own shares it; what is no
 * document changes nothing. */
START_TEST(joins_several)
{
    AUTO_ARENA *a = arena_new(0);
    static const char *const others[] = {"{\"swagger\":\"2.0\",\"paths\":{\"/apis/g/v/1\":" PATH_OF(
                                             "A") "},\"definitions\":{\"A\":{}}}",
                                         "{\"swagger\":\"2.0\",\"paths\":{\"/apis/g/v/2\":" PATH_OF(
                                             "A") "},\"definitions\":{\"A\":{}}}",
                                         "{\"swagger\":\"2.0\",\"paths\":{}}"};
    const struct json *j = joined(a, others, 3);
    ck_assert_str_eq(text(a, json_get(json_getc(j, "paths"), STR("/apis/g/v/2"))), PATH_OF("A_v2"));
    ck_assert_ptr_null(json_path(j, "definitions.A_v3"));
    struct openapi_merge *m = openapi_merge_new();
    struct error err = {0};
    ck_assert_int_lt(openapi_merge_add(m, STR("{}"), STR("/"), &err), 0);
    ck_assert_int_lt(openapi_merge_add(m, STR("[\"swagger\"]"), STR("/"), &err), 0);
    ck_assert_int_lt(openapi_merge_add(m, STR("{"), STR("/"), &err), 0);
    openapi_merge_free(m);
}
END_TEST

UNIT_MAIN("openapi", {
    UNIT_TEST(v2_document);
    UNIT_TEST(v3_documents);
    UNIT_TEST(kinds);
    UNIT_TEST(members);
    UNIT_TEST(protobuf_names);
    UNIT_TEST(protobuf_values);
    UNIT_TEST(custom_v3);
    UNIT_TEST(custom_v2);
    UNIT_TEST(custom_embedded);
    UNIT_TEST(custom_open);
    UNIT_TEST(joins);
    UNIT_TEST(joins_several);
})
