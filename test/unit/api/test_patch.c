/* test_patch.c - the three kinds of patches. Documents are written as YAML. */
#include "test/unit/unit.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/patch.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

static struct json *yaml(struct arena *a, const char *text)
{
    struct json *j = NULL;
    struct error err = {0};
    size_t consumed;
    ck_assert_msg(api_yaml_parse_strict(a, str_of(text), &consumed, &j, &err) == 0, "%s: %s", text,
                  err.message);
    return j;
}

static struct str text_of(struct arena *a, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    json_write(j, false, &b);
    return arena_str(a, buf_str(&b));
}

static int apply(struct arena *a, enum api_patch_type type, const struct api_msg *m,
                 const char *doc, const char *patch, struct str *ret, struct error *err)
{
    struct json *before = yaml(a, doc), *result;
    struct str kept = text_of(a, before);
    int r = api_patch_apply(a, type, m, before, text_of(a, yaml(a, patch)), &result, err);
    ck_assert_msg(str_eq(kept, text_of(a, before)), "%s changed its document", patch);
    if (r == 0)
        *ret = text_of(a, result);
    return r;
}

struct patch_case {
    const char *doc, *patch, *want;
};

static void check_cases(enum api_patch_type type, const struct api_msg *m,
                        const struct patch_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        AUTO_ARENA *a = arena_new(0);
        struct error err = {0};
        struct str got = STR_NULL;
        int r = apply(a, type, m, cases[i].doc, cases[i].patch, &got, &err);
        ck_assert_msg(r == 0, "%s: %s", cases[i].patch, err.message);
        struct str want = text_of(a, yaml(a, cases[i].want));
        ck_assert_msg(str_eq(got, want), "%s: got " STR_FMT ", want " STR_FMT, cases[i].patch,
                      STR_ARG(got), STR_ARG(want));
    }
}

struct error_case {
    const char *doc, *patch;
    int code;
    const char *message;
};

static void check_errors(enum api_patch_type type, const struct api_msg *m,
                         const struct error_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        AUTO_ARENA *a = arena_new(0);
        struct error err = {0};
        struct str got;
        int r = apply(a, type, m, cases[i].doc, cases[i].patch, &got, &err);
        ck_assert_msg(r == cases[i].code, "%s: code %d (%s)", cases[i].patch, r, err.message);
        ck_assert_str_eq(err.message, cases[i].message);
    }
}

/* Every operation of RFC 6902, with escapes, indexes and the end of lists. */
START_TEST(test_json_patch)
{
    static const struct patch_case cases[] = {
        {"{a: 1}", "[]", "{a: 1}"},
        {"{a: 1}", "[{op: add, path: /b, value: [2]}]", "{a: 1, b: [2]}"},
        {"{a: [1, 3]}", "[{op: add, path: /a/1, value: 2}]", "{a: [1, 2, 3]}"},
        {"{a: [1]}", "[{op: add, path: /a/-, value: 2}]", "{a: [1, 2]}"},
        {"{a: [1]}", "[{op: add, path: /a/1, value: 2}]", "{a: [1, 2]}"},
        {"{a: [1, 3]}", "[{op: add, path: /a/-1, value: 4}]", "{a: [1, 3, 4]}"},
        {"{a: 1, b: 2}", "[{op: remove, path: /a}]", "{b: 2}"},
        {"{a: [1, 2, 3]}", "[{op: remove, path: /a/1}]", "{a: [1, 3]}"},
        {"{a: [1, 2, 3]}", "[{op: remove, path: /a/-1}]", "{a: [1, 2]}"},
        {"{a: 1}", "[{op: replace, path: /a, value: {b: c}}]", "{a: {b: c}}"},
        {"{a: 1}", "[{op: replace, path: /new, value: x}]", "{a: 1, new: x}"},
        {"{a: [1, 2]}", "[{op: replace, path: /a/0, value: 9}]", "{a: [9, 2]}"},
        {"{a: 1}", "[{op: replace, path: '', value: {z: 1}}]", "{z: 1}"},
        {"{a: {b: 1}, c: {}}", "[{op: move, from: /a/b, path: /c/d}]", "{a: {}, c: {d: 1}}"},
        {"{a: {b: 1}}", "[{op: copy, from: /a, path: /c}, {op: add, path: /c/d, value: 2}]",
         "{a: {b: 1}, c: {b: 1, d: 2}}"},
        {"{a: {b: 1}}", "[{op: test, path: /a, value: {b: 1}}]", "{a: {b: 1}}"},
        {"{a: 1}", "[{op: test, path: /none, value: null}, {op: test, path: /none}]", "{a: 1}"},
        {"{'x/y': 1, 'm~n': 2, '~1': 3}",
         "[{op: replace, path: /x~1y, value: 4}, {op: replace, path: /m~0n, value: 5}, {op: "
         "remove, path: /~01}]",
         "{'x/y': 4, 'm~n': 5}"},
        {"{a: 1}", "[{op: add, path: /b, value: null}]", "{a: 1, b: null}"},
        {"{a: {'': 1}}", "[{op: remove, path: /a/}]", "{a: {}}"},
    };
    check_cases(API_PATCH_JSON, NULL, cases, ARRAY_SIZE(cases));
}
END_TEST

/* Malformed patches are 400, those that do not apply 422. */
START_TEST(test_json_patch_errors)
{
    static const struct error_case cases[] = {
        {"{}", "{op: add}", E_INVALID,
         "error decoding patch: json: cannot unmarshal object into Go value of type "
         "[]handlers.jsonPatchOp"},
        {"{}", "[1]", E_INVALID,
         "error decoding patch: json: cannot unmarshal number into Go value of type "
         "handlers.jsonPatchOp"},
        {"{}", "[{op: 1}]", E_INVALID,
         "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op "
         "of type string"},
        {"{}", "[{op: frob, path: /a}]", E_UNPROCESSABLE, "Unexpected kind: frob"},
        {"{a: 1}", "[{op: test, path: /a, value: 2}]", E_UNPROCESSABLE,
         "testing value /a failed: test failed"},
        {"{}", "[{op: remove, path: /a}]", E_UNPROCESSABLE,
         "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value"},
        {"{}", "[{op: add, path: /a/b, value: 1}]", E_UNPROCESSABLE,
         "add operation does not apply: doc is missing path: \"/a/b\""},
        {"{a: x}", "[{op: add, path: /a/b, value: 1}]", E_UNPROCESSABLE,
         "add operation does not apply: doc is missing path: \"/a/b\""},
        {"{a: [1]}", "[{op: add, path: /a/3, value: 1}]", E_UNPROCESSABLE,
         "error in add for path: '/a/3': invalid index referenced"},
        {"{a: [1]}", "[{op: replace, path: /a/1, value: 1}]", E_UNPROCESSABLE,
         "error in replace for path: '/a/1': invalid index referenced"},
        {"{a: 1}", "[{op: add, path: '', value: {}}]", E_UNPROCESSABLE,
         "add operation does not apply: doc is missing path: \"\""},
        {"{a: 1}", "[{op: add, value: {}}]", E_UNPROCESSABLE,
         "add operation failed to decode path: missing value"},
    };
    check_errors(API_PATCH_JSON, NULL, cases, ARRAY_SIZE(cases));
}
END_TEST

/* Copies cannot multiply a document without limit. */
START_TEST(test_json_patch_copy_limit)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *doc = yaml(a, "{a: {}}"), *patch = json_array(a), *result;
    struct error err = {0};
    json_setc(a, json_getc(doc, "a"), "x", json_stringf(a, "%0*d", 100000, 7));
    for (int i = 0; i < 40; i++) {
        struct json *op = json_object(a);
        json_setc(a, op, "op", json_string(a, STR("copy")));
        json_setc(a, op, "from", json_string(a, STR("/a")));
        json_setc(a, op, "path", json_stringf(a, "/a/%d", i));
        json_append(a, patch, op);
    }
    ck_assert_int_eq(api_json_patch_apply(a, doc, patch, &result, &err), E_UNPROCESSABLE);
}
END_TEST

/* RFC 7386, with nulls pruned from what is new. */
START_TEST(test_merge_patch)
{
    static const struct patch_case cases[] = {
        {"{a: 1, b: {c: 2, d: 3}}", "{b: {c: null, e: 4}, f: 5}", "{a: 1, b: {d: 3, e: 4}, f: 5}"},
        {"{a: [1, 2]}", "{a: [3]}", "{a: [3]}"},
        {"{a: 1}", "{a: {b: null, c: 1}}", "{a: {c: 1}}"},
        {"{}", "{a: [{b: null}]}", "{a: [{}]}"},
        {"{a: {b: 1}}", "{a: null}", "{}"},
        {"{a: 1}", "{}", "{a: 1}"},
        {"{a: 1}", "{b: null}", "{a: 1}"},
    };
    check_cases(API_PATCH_MERGE, NULL, cases, ARRAY_SIZE(cases));
    static const struct error_case errors[] = {
        {"{}", "[]", E_INVALID,
         "error decoding patch: json: cannot unmarshal array into Go value of type "
         "map[string]interface {}"},
    };
    check_errors(API_PATCH_MERGE, NULL, errors, ARRAY_SIZE(errors));
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    struct json *result;
    ck_assert_int_eq(
        api_patch_apply(a, API_PATCH_MERGE, NULL, json_object(a), STR("{"), &result, &err),
        E_INVALID);
    ck_assert_str_eq(err.message, "error decoding patch: unexpected end of JSON input");
}
END_TEST

/* A patch made from two documents turns one into the other; large objects too. */
START_TEST(test_merge_patch_create)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *from = yaml(a, "{a: 1, b: {c: 2, d: 3}, e: [1]}"),
                *to = yaml(a, "{a: 1, b: {d: 4}, e: [2], f: x}");
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        json_setc(a, from, key, json_int(a, i));
        if (i % 3 != 0)
            json_setc(a, to, key, json_int(a, i % 2 == 0 ? i : -i));
    }
    struct json *patch = api_merge_patch_create(a, from, to);
    ck_assert(json_equal(api_merge_patch_apply(a, from, patch), to));
    ck_assert_uint_eq(api_merge_patch_create(a, to, to)->object.count, 0);
}
END_TEST

#define POD "metadata: {name: p, finalizers: [u, v]}\n"

/* Lists with merge keys, sets of scalars, atomic lists, in all combinations of
 * directives. */
START_TEST(test_strategic)
{
    static const struct patch_case cases[] = {
        /* Merged by name; elements of the patch keep its order, behind. */
        {"spec: {containers: [{name: a, image: '1'}, {name: b, image: '2'}]}",
         "spec: {containers: [{name: b, image: '3'}, {name: c}]}",
         "spec: {containers: [{name: a, image: '1'}, {name: b, image: '3'}, {name: c}]}"},
        {"spec: {containers: [{name: a}, {name: b}]}", "spec: {containers: [{name: c}]}",
         "spec: {containers: [{name: c}, {name: a}, {name: b}]}"},
        {"spec: {containers: [{name: a}, {name: b}]}",
         "spec: {containers: [{name: a, $patch: delete}]}", "spec: {containers: [{name: b}]}"},
        {"spec: {containers: [{name: a}, {name: b}]}",
         "spec: {containers: [{$patch: replace}, {name: z}]}", "spec: {containers: [{name: z}]}"},
        {"spec: {containers: [{name: a, image: i}, {name: b}]}",
         "spec: {$setElementOrder/containers: [{name: b}, {name: a}], containers: [{name: a, "
         "image: j}]}",
         "spec: {containers: [{name: b}, {name: a, image: j}]}"},
        {"spec: {containers: [{name: a}, {name: b}]}",
         "spec: {$setElementOrder/containers: [{name: b}, {name: a}]}",
         "spec: {containers: [{name: b}, {name: a}]}"},
        /* Lists without a merge strategy are replaced. */
        {"spec: {tolerations: [{key: a}]}", "spec: {tolerations: [{key: b}]}",
         "spec: {tolerations: [{key: b}]}"},
        {"spec: {containers: [{name: a, args: [u, v]}]}",
         "spec: {containers: [{name: a, args: [z]}]}",
         "spec: {containers: [{name: a, args: [z]}]}"},
        /* Scalars. */
        {POD, "metadata: {finalizers: [z]}", "metadata: {name: p, finalizers: [z, u, v]}"},
        {POD, "metadata: {finalizers: [v, u]}", "metadata: {name: p, finalizers: [v, u]}"},
        {POD, "metadata: {$deleteFromPrimitiveList/finalizers: [u]}",
         "metadata: {name: p, finalizers: [v]}"},
        {POD, "metadata: {$setElementOrder/finalizers: [q, v], finalizers: [q]}",
         "metadata: {name: p, finalizers: [q, u, v]}"},
        /* Maps. */
        {"metadata: {labels: {a: '1', b: '2'}}", "metadata: {labels: {a: null, c: '3'}}",
         "metadata: {labels: {b: '2', c: '3'}}"},
        {"metadata: {labels: {a: '1'}}", "metadata: {labels: {$patch: replace, c: '3'}}",
         "metadata: {labels: {c: '3'}}"},
        {"metadata: {labels: {a: '1'}}", "metadata: {labels: {$patch: delete}}",
         "metadata: {labels: {}}"},
        {"metadata: {name: p}", "metadata: {labels: {a: null, b: x}}",
         "metadata: {name: p, labels: {b: x}}"},
        {"spec: {nodeName: n}", "spec: {nodeName: null}", "spec: {}"},
        {"spec: {nodeName: n}", "spec: null", "{}"},
        {"spec: {nodeName: n}", "{$patch: replace, metadata: {name: q}}", "metadata: {name: q}"},
        /* $retainKeys. */
        {"spec: {volumes: [{name: v, emptyDir: {}}]}",
         "spec: {volumes: [{name: v, $retainKeys: [name, configMap], configMap: {name: x}}]}",
         "spec: {volumes: [{name: v, configMap: {name: x}}]}"},
        {"spec: {volumes: [{name: v, emptyDir: {}}]}",
         "spec: {volumes: [{name: v, configMap: {name: x}}]}",
         "spec: {volumes: [{name: v, emptyDir: {}, configMap: {name: x}}]}"},
        /* Nested lists, and a list that was not there. */
        {"spec: {containers: [{name: a, env: [{name: A, value: '1'}, {name: B, value: '2'}]}]}",
         "spec: {containers: [{name: a, env: [{name: C, value: '3'}, {name: A, $patch: delete}]}]}",
         "spec: {containers: [{name: a, env: [{name: C, value: '3'}, {name: B, value: '2'}]}]}"},
        {"spec: {}", "spec: {containers: [{name: a}, {name: b, $patch: delete}]}",
         "spec: {containers: [{name: a}]}"},
        {"spec: {containers: [{name: a, ports: [{containerPort: 80}]}]}",
         "spec: {containers: [{name: a, ports: [{containerPort: 81}, {containerPort: 80, name: "
         "web}]}]}",
         "spec: {containers: [{name: a, ports: [{containerPort: 81}, {containerPort: 80, name: "
         "web}]}]}"},
    };
    check_cases(API_PATCH_STRATEGIC, &core_v1_pod_msg, cases, ARRAY_SIZE(cases));
    static const struct patch_case strategy[] = {
        {"spec: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1}}}",
         "spec: {strategy: {$retainKeys: [type], type: Recreate}}",
         "spec: {strategy: {type: Recreate}}"},
    };
    check_cases(API_PATCH_STRATEGIC, &apps_v1_deployment_msg, strategy, ARRAY_SIZE(strategy));
}
END_TEST

/* What makes no sense is refused in upstream's words. */
START_TEST(test_strategic_errors)
{
    static const struct error_case cases[] = {
        {"spec: {containers: [{name: a}]}", "spec: {containers: [{image: x}]}", E_INTERNAL,
         "map: map[image:x] does not contain declared merge key: name"},
        {"spec: {containers: [{name: one}]}", "spec: {containers: [{name: one, $patch: explode}]}",
         E_INTERNAL, "unknown patch type: explode in map: map[$patch:explode name:one]"},
        {"spec: {containers: [{name: one}]}", "spec: {containers: [{$patch: merge}]}", E_INTERNAL,
         "merging lists cannot yet be specified in the patch"},
        {"spec: {volumes: [{name: v}]}",
         "spec: {volumes: [{name: v, $retainKeys: [name], emptyDir: {}}]}", E_INVALID,
         "invalid patch format of retainKeys"},
        {"spec: {containers: [{name: a}]}", "spec: {containers: [x]}", E_INTERNAL,
         "list element types are not identical: [[map[name:a]] [x]]"},
        {POD, "metadata: {finalizers: [[x]]}", E_INTERNAL,
         "list element types are not identical: [[u v] [[x]]]"},
        {"spec: {containers: [{name: a}]}",
         "spec: {$setElementOrder/containers: [{name: a}], containers: [{name: b}]}", E_INTERNAL,
         "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder "
         "list:\n[map[name:a]]\n"},
        {"spec: {bogus: {}}", "spec: {bogus: {a: 1}}", E_INTERNAL,
         "unable to find api field in struct PodSpec for the json field \"bogus\""},
        {POD, "metadata: {$deleteFromPrimitiveList: [x]}", E_INVALID,
         "invalid patch format of primitive list"},
        {"{}", "[]", E_INVALID,
         "json: cannot unmarshal array into Go value of type map[string]interface {}"},
    };
    check_errors(API_PATCH_STRATEGIC, &core_v1_pod_msg, cases, ARRAY_SIZE(cases));
    check_errors(API_PATCH_STRATEGIC, NULL,
                 &(struct error_case){"{}", "{}", E_INVALID,
                                      "strategic merge patch format is not supported"},
                 1);
}
END_TEST

UNIT_MAIN("patch", {
    UNIT_TEST(test_json_patch);
    UNIT_TEST(test_json_patch_errors);
    UNIT_TEST(test_json_patch_copy_limit);
    UNIT_TEST(test_merge_patch);
    UNIT_TEST(test_merge_patch_create);
    UNIT_TEST(test_strategic);
    UNIT_TEST(test_strategic_errors);
})
