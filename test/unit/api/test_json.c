/* test_json.c - the tree, the typed decoder and encoder, their errors. */
#include "test/unit/unit.h"

#include "api/apiextensions_v1.h"
#include "api/apiextensions_v1.h"
#include "api/apps_v1.h"
#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "api/rbac_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

/* --- trees --------------------------------------------------------------------------- */

/* Text to tree to text. */
START_TEST(test_tree_round_trip)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {" { } ", "{}"},
        {"[1, -2 ,3.5,1e3,true,false,null]", "[1,-2,3.5,1000,true,false,null]"},
        {"[0.1,1e-7,0.00001,1e20,1e21,123.456,-1.5e-3]",
         "[0.1,1e-7,0.00001,100000000000000000000,1e+21,123.456,-0.0015]"},
        {"{\"b\":1,\"a\":{\"b\":2,\"b\":3}}", "{\"b\":1,\"a\":{\"b\":3}}"},
        {"\"\\u00e9\\ud83d\\ude00\\n\\\"\\/\"", "\"\303\251\360\237\230\200\\n\\\"/\""},
        {"\"\\ud83dx\"", "\"\357\277\275x\""},
        {"\"<&>\"", "\"\\u003c\\u0026\\u003e\""},
        {"\"\342\200\250\"", "\"\\u2028\""},
        {"\"\\u0000\\u001f\177\"", "\"\\u0000\\u001f\177\""},
        {"\"a\377b\"", "\"a\\ufffdb\""},
        {"9223372036854775807", "9223372036854775807"},
        {"9223372036854775808", "9223372036854776000"},
        {"-0", "0"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF out = BUF_INIT;
        struct json *j;
        struct error err = {0};
        ck_assert_msg(json_parse(a, str_of(cases[i].text), &j, &err) == 0, "%s: %s", cases[i].text,
                      err.message);
        json_write(j, false, &out);
        /* A byte that is no UTF-8 becomes the character itself on the way in. */
        const char *want = i == 9 ? "\"a\357\277\275b\"" : cases[i].want;
        ck_assert_msg(str_eqc(buf_str(&out), want), "%s: got %.*s", cases[i].text, (int)out.len,
                      (const char *)out.data);
    }
}
END_TEST

/* Syntax errors in Go's words. */
START_TEST(test_syntax_errors)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "unexpected end of JSON input"},
        {"{\"a\":", "unexpected end of JSON input"},
        {"[1,", "unexpected end of JSON input"},
        {"\"abc", "unexpected end of JSON input"},
        {"apiVersion", "invalid character 'a' looking for beginning of value"},
        {"{a}", "invalid character 'a' looking for beginning of object key string"},
        {"{\"a\" 1}", "invalid character '1' after object key"},
        {"{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"},
        {"[1 2]", "invalid character '2' after array element"},
        {"[1] x", "invalid character 'x' after top-level value"},
        {"tru", "unexpected end of JSON input"},
        {"trux", "invalid character 'x' in literal true (expecting 'e')"},
        {"\"\n\"", "invalid character '\\n' in string literal"},
        {"\"\\x\"", "invalid character 'x' in string escape code"},
        {"\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"},
        {"-x", "invalid character 'x' in numeric literal"},
        {"1.x", "invalid character 'x' after decimal point in numeric literal"},
        {"1ex", "invalid character 'x' in exponent of numeric literal"},
        {"[1,]", "invalid character ']' looking for beginning of value"},
        {"01", "invalid character '1' after top-level value"},
        {"{\"a\":[5e299999999]}",
         "json: cannot unmarshal number 5e299999999 into Go value of type float64"},
        {"-1e309", "json: cannot unmarshal number -1e309 into Go value of type float64"},
        {"\317", "invalid character '\303\217' looking for beginning of value"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct json *j;
        struct error err = {0};
        ck_assert_msg(json_parse(a, str_of(cases[i].text), &j, &err) == E_INVALID, "%s",
                      cases[i].text);
        ck_assert_str_eq(err.message, cases[i].message);
    }
}
END_TEST

/* Depth is bounded; large objects keep their members apart. */
START_TEST(test_tree_limits)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF text = BUF_INIT;
    struct json *j;
    for (int i = 0; i < 100000; i++)
        buf_putc(&text, '[');
    ck_assert_int_eq(json_parse(a, buf_str(&text), &j, NULL), E_INVALID);
    buf_clear(&text);
    buf_putc(&text, '{');
    for (int i = 0; i < 2000; i++)
        buf_printf(&text, "%s\"k%d\":%d", i > 0 ? "," : "", i % 1000, i);
    buf_putc(&text, '}');
    ck_assert_int_eq(json_parse(a, buf_str(&text), &j, NULL), 0);
    ck_assert_uint_eq(j->object.count, 1000);
    ck_assert_int_eq(json_get_int(j, "k7", 0), 1007);
}
END_TEST

START_TEST(test_tree_edits)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *o = json_object(a), *list = json_array(a);
    json_setc(a, o, "list", list);
    json_append(a, list, json_int(a, 1));
    json_append(a, list, json_int(a, 3));
    json_insert(a, list, 1, json_stringf(a, "%s", "two"));
    json_remove_at(list, 0);
    json_setc(a, o, "b", json_bool(a, true));
    json_setc(a, o, "d", json_double(a, 0.1));
    json_setc(a, o, "gone", json_null(a));
    ck_assert(json_remove(o, STR("gone")) && !json_remove(o, STR("gone")));
    struct json *copy = json_clone(a, o);
    ck_assert(json_equal(copy, o));
    json_setc(a, copy, "b", json_bool(a, false));
    ck_assert(!json_equal(copy, o));
    AUTO_BUF out = BUF_INIT;
    json_write(o, true, &out);
    buf_puts(&out, " ");
    json_write_go(o, &out);
    buf_putc(&out, '\0');
    ck_assert_str_eq((char *)out.data,
                     "{\"b\":true,\"d\":0.1,\"list\":[\"two\",3]} map[b:true d:0.1 list:[two 3]]");
    ck_assert(json_path(o, "list.x") == NULL && json_path(o, "b") != NULL);
}
END_TEST

/* --- typed ------------------------------------------------------------------------------ */

static struct str reencode(struct arena *a, const struct api_msg *m, const char *text)
{
    struct error err = {0};
    AUTO_BUF out = BUF_INIT;
    void *msg = api_msg_new(a, m);
    ck_assert_msg(api_json_decode(a, m, str_of(text), API_STRICT, NULL, msg, &err) == 0, "%s: %s",
                  text, err.message);
    api_json_encode(m, msg, STR_NULL, STR_NULL, &out);
    return arena_str(a, buf_str(&out));
}

/* What Go prints for what it read: empty and absent, nil and empty lists, inlined structs, custom
 * forms. */
START_TEST(test_typed_round_trip)
{
    static const struct {
        const struct api_msg *m;
        const char *text, *want;
    } cases[] = {
        {&core_v1_config_map_msg, "{}", "{\"metadata\":{}}"},
        {&core_v1_config_map_msg, "{\"data\":{\"b\":\"2\",\"a\":\"1\"},\"immutable\":false}",
         "{\"metadata\":{},\"immutable\":false,\"data\":{\"a\":\"1\",\"b\":\"2\"}}"},
        {&core_v1_config_map_msg, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"data\":null}",
         "{\"metadata\":{}}"},
        {&core_v1_config_map_msg, "{\"metadata\":{\"creationTimestamp\":null,\"labels\":{}}}",
         "{\"metadata\":{}}"},
        {&core_v1_config_map_msg, "{\"metadata\":{\"creationTimestamp\":\"1970-01-01T00:00:00Z\"}}",
         "{\"metadata\":{\"creationTimestamp\":\"1970-01-01T00:00:00Z\"}}"},
        {&core_v1_config_map_msg, "{\"binaryData\":{\"a\":\"\",\"b\":\"AQID\",\"c\":null}}",
         "{\"metadata\":{},\"binaryData\":{\"a\":\"\",\"b\":\"AQID\",\"c\":null}}"},
        {&rbac_v1_cluster_role_msg, "{}", "{\"metadata\":{},\"rules\":null}"},
        {&rbac_v1_cluster_role_msg, "{\"rules\":[]}", "{\"metadata\":{},\"rules\":[]}"},
        {&core_v1_volume_msg, "{\"emptyDir\":{\"sizeLimit\":\"1024Ki\"},\"name\":\"v\"}",
         "{\"name\":\"v\",\"emptyDir\":{\"sizeLimit\":\"1Mi\"}}"},
        {&core_v1_http_get_action_msg, "{\"port\":\"web\"}", "{\"port\":\"web\"}"},
        {&core_v1_http_get_action_msg, "{\"port\":80}", "{\"port\":80}"},
        {&core_v1_http_get_action_msg, "{}", "{\"port\":0}"},
        {&core_v1_resource_requirements_msg, "{\"limits\":{\"cpu\":0.5,\"memory\":\" 1Gi \"}}",
         "{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1Gi\"}}"},
        {&core_v1_list_msg, "{\"items\":[{\"a\": [1, \"<\"]}, null]}",
         "{\"metadata\":{},\"items\":[{\"a\":[1,\"\\u003c\"]},null]}"},
        {&coordination_v1_lease_spec_msg, "{\"renewTime\":\"2024-01-01T00:00:00.000001Z\"}",
         "{\"renewTime\":\"2024-01-01T00:00:00.000001Z\"}"},
        {&core_v1_pod_spec_msg, "{\"hostUsers\":null,\"containers\":[{}]}",
         "{\"containers\":[{\"name\":\"\",\"resources\":{}}]}"},
        {&apiextensions_v1_json_schema_props_msg,
         "{\"default\":{\"a\": "
         "1},\"items\":{\"type\":\"string\"},\"additionalProperties\":false,\"maximum\":1.5,"
         "\"dependencies\":{\"x\":[\"y\"],\"z\":{}},\"properties\":{\"b\":{},\"a\":{}},\"enum\":[1,"
         "null]}",
         "{\"default\":{\"a\":1},\"maximum\":1.5,\"enum\":[1,null],\"items\":{\"type\":\"string\"},"
         "\"properties\":{\"a\":{},\"b\":{}},\"additionalProperties\":false,"
         "\"dependencies\":{\"x\":[\"y\"],\"z\":{}}}"},
        {&apiextensions_v1_json_schema_props_msg,
         "{\"items\":[{},{}],\"additionalProperties\":{\"type\":\"x\"}}",
         "{\"items\":[{},{}],\"additionalProperties\":{\"type\":\"x\"}}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        ck_assert_str_eq(str_c(reencode(a, cases[i].m, cases[i].text)), cases[i].want);
    }
}
END_TEST

/* Values of the wrong type, in the words that servers were recorded with. */
START_TEST(test_type_errors)
{
    static const struct {
        const struct api_msg *m;
        const char *text, *message;
    } cases[] = {
        {&core_v1_config_map_msg, "{\"data\":{\"a\":1}}",
         "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"},
        {&core_v1_config_map_msg, "{\"data\":\"x\"}",
         "json: cannot unmarshal string into Go struct field ConfigMap.data of type "
         "map[string]string"},
        {&core_v1_config_map_msg, "{\"metadata\":{\"name\":true}}",
         "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.name of type "
         "string"},
        {&apps_v1_deployment_msg, "{\"spec\":{\"replicas\":\"x\"}}",
         "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type "
         "int32"},
        {&apps_v1_deployment_msg, "{\"spec\":{\"replicas\":1.5}}",
         "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of "
         "type int32"},
        {&apps_v1_deployment_msg, "{\"spec\":{\"replicas\":3000000000}}",
         "json: cannot unmarshal number 3000000000 into Go struct field "
         "DeploymentSpec.spec.replicas of type int32"},
        {&apiextensions_v1_json_schema_props_msg, "{\"maximum\":1e309}",
         "json: cannot unmarshal number 1e309 into Go struct field JSONSchemaProps.maximum of type "
         "float64"},
        {&core_v1_pod_msg, "{\"spec\":{\"containers\":\"x\"}}",
         "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type "
         "[]v1.Container"},
        {&core_v1_pod_msg, "{\"spec\":{\"containers\":[{\"name\":1}]}}",
         "json: cannot unmarshal number into Go struct field Container.spec.containers.name of "
         "type string"},
        {&core_v1_pod_msg, "{\"spec\":{\"containers\":[1]}}",
         "json: cannot unmarshal number into Go struct field PodSpec.spec.containers of type "
         "v1.Container"},
        {&core_v1_pod_msg, "[]", "json: cannot unmarshal array into Go value of type v1.Pod"},
        {&core_v1_pod_msg, "{\"spec\":{\"volumes\":[{\"emptyDir\":{\"sizeLimit\":\"x\"}}]}}",
         "quantities must match the regular expression "
         "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
        {&coordination_v1_lease_msg, "{\"spec\":{\"renewTime\":\"yesterday\"}}",
         "parsing time \"yesterday\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse "
         "\"yesterday\" as \"2006\""},
        {&core_v1_secret_msg, "{\"data\":{\"a\":\"*\"}}", "illegal base64 data at input byte 0"},
        {&core_v1_secret_msg, "{\"data\":{\"a\":\"QQ\"}}", "illegal base64 data at input byte 2"},
        {&core_v1_secret_msg, "{\"data\":{\"a\":1}}",
         "json: cannot unmarshal number into Go struct field Secret.data of type []uint8"},
        {&core_v1_http_get_action_msg, "{\"port\":true}",
         "json: cannot unmarshal bool into Go value of type int32"},
        /* The first wrong value counts, but a syntax error counts for more. */
        {&core_v1_config_map_msg, "{\"immutable\":1,\"data\":[]}",
         "json: cannot unmarshal number into Go struct field ConfigMap.immutable of type bool"},
        {&core_v1_config_map_msg, "{\"immutable\":1,\"data\":", "unexpected end of JSON input"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct error err = {0};
        void *msg = api_msg_new(a, cases[i].m);
        ck_assert_msg(api_json_decode(a, cases[i].m, str_of(cases[i].text), API_LENIENT, NULL, msg,
                                      &err) == E_INVALID,
                      "%s", cases[i].text);
        ck_assert_str_eq(err.message, cases[i].message);
    }
}
END_TEST

/* Unknown and duplicate fields: refused, reported or ignored. */
START_TEST(test_strictness)
{
    static const char text[] = "{\"kind\":\"Deployment\",\"kind\":\"Deployment\",\"Spec\":{},"
                               "\"spec\":{\"template\":{\"spec\":{\"containers\":"
                               "[{\"name\":\"a\",\"imagee\":{\"x\":[]},\"name\":\"b\"}]},"
                               "\"metadata\":{\"labels\":{\"l\":\"1\",\"l\":\"2\"}}},"
                               "\"replica\":1,\"replica\":2}}";
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    struct apps_v1_deployment d = {0};
    ck_assert_int_eq(
        api_json_decode(a, &apps_v1_deployment_msg, STR(text), API_STRICT, NULL, &d, &err),
        E_INVALID);
    ck_assert_str_eq(
        err.message,
        "strict decoding error: duplicate field \"kind\", unknown field \"Spec\", unknown field "
        "\"spec.template.spec.containers[0].imagee\", duplicate field "
        "\"spec.template.spec.containers[0].name\", duplicate field "
        "\"spec.template.metadata.labels.l\", unknown field \"spec.replica\"");
    struct api_warnings w = {0};
    d = (struct apps_v1_deployment){0};
    ck_assert_int_eq(api_json_decode(a, &apps_v1_deployment_msg, STR(text), API_WARN, &w, &d, &err),
                     0);
    ck_assert_uint_eq(w.count, 6);
    ck_assert_str_eq(str_c(d.spec.template.spec.containers[0].name), "b");
    ck_assert_str_eq(str_c(d.spec.template.metadata.labels[0].value), "2");
    ck_assert_uint_eq(d.spec.template.metadata.labels_count, 1);
    d = (struct apps_v1_deployment){0};
    ck_assert_int_eq(
        api_json_decode(a, &apps_v1_deployment_msg, STR(text), API_LENIENT, NULL, &d, &err), 0);
}
END_TEST

/* kind and apiVersion come first, and only at the top. */
START_TEST(test_type_meta)
{
    AUTO_BUF out = BUF_INIT;
    struct core_v1_config_map m = {0};
    api_json_encode(&core_v1_config_map_msg, &m, STR("v1"), STR("ConfigMap"), &out);
    buf_putc(&out, '\0');
    ck_assert_str_eq((char *)out.data,
                     "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{}}");
}
END_TEST

/* Hostile nesting ends in an error, also where raw JSON is taken as it is. */
START_TEST(test_typed_depth)
{
    AUTO_BUF text = BUF_INIT;
    for (int i = 0; i < 100000; i++)
        buf_puts(&text, "{\"not\":");
    AUTO_ARENA *a = arena_new(0);
    struct apiextensions_v1_json_schema_props p = {0};
    struct error err = {0};
    ck_assert_int_eq(api_json_decode(a, &apiextensions_v1_json_schema_props_msg, buf_str(&text),
                                     API_LENIENT, NULL, &p, &err),
                     E_INVALID);
    buf_clear(&text);
    buf_puts(&text, "{\"default\":");
    for (int i = 0; i < 100000; i++)
        buf_putc(&text, '[');
    ck_assert_int_eq(api_json_decode(a, &apiextensions_v1_json_schema_props_msg, buf_str(&text),
                                     API_LENIENT, NULL, &p, &err),
                     E_INVALID);
}
END_TEST

UNIT_MAIN("json", {
    UNIT_TEST(test_tree_round_trip);
    UNIT_TEST(test_syntax_errors);
    UNIT_TEST(test_tree_limits);
    UNIT_TEST(test_tree_edits);
    UNIT_TEST(test_typed_round_trip);
    UNIT_TEST(test_type_errors);
    UNIT_TEST(test_strictness);
    UNIT_TEST(test_type_meta);
    UNIT_TEST(test_typed_depth);
})
