/* test_field_tree.c - documents as server-side apply sees them: checked by
 * type, merged, pruned. */
#include "api/core_v1.h"
#include "lib/api/field_tree.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

/* Single quotes stand for double ones. */
static struct json *doc(struct arena *a, const char *text)
{
    struct json *j;
    struct error err = {0};
    struct str s = arena_strc(a, text);
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '\'')
            ((char *)(uintptr_t)s.data)[i] = '"';
    ck_assert_msg(json_parse(a, s, &j, &err) == 0, "%s: %s", text, err.message);
    return j;
}

static const char *text_of(struct arena *a, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    json_write(j, true, &b);
    struct str s = arena_str(a, buf_str(&b));
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '"')
            ((char *)(uintptr_t)s.data)[i] = '\'';
    return str_c(s);
}

static const char *fields_of(struct arena *a, const struct fieldset *s)
{
    AUTO_BUF b = BUF_INIT;
    fieldset_print(s, &b);
    return text_of(a, doc(a, str_c(arena_str(a, buf_str(&b)))));
}

static void check_fault(const char *text, const char *want)
{
    AUTO_ARENA *a = arena_new(0);
    struct str faults = STR("");
    struct field_type t = field_type_of_msg(&core_v1_pod_msg);
    int code = field_tree_check(a, &t, doc(a, text), false, &faults);
    ck_assert_int_eq(code, want[0] == '\0' ? 0 : E_INVALID);
    ck_assert_str_eq(str_c(faults), want);
}

/* What does not fit is named by its path, in upstream's words. */
START_TEST(documents_are_checked)
{
    check_fault("{'apiVersion':'v1','kind':'Pod','metadata':{'name':'x','creationTimestamp':null},"
                "'spec':{'containers':null,'volumes':[]}}",
                "");
    check_fault("{'metadata':{'name':true}}",
                ".metadata.name: expected string, got &value.valueUnstructured{Value:true}");
    check_fault("{'bogus':1}", ".bogus: field not declared in schema");
    check_fault("{'spec':{'containers':[{'name':'c','imag':'x'}]}}",
                ".spec.containers[name=\"c\"].imag: field not declared in schema");
    check_fault("{'spec':{'containers':[{'name':'c'},{'name':'c'}]}}",
                ".spec.containers: duplicate entries for key [name=\"c\"]");
    check_fault("{'spec':{'containers':['c']}}",
                ".spec.containers: element 0: associative list with keys may not have non-map "
                "elements");
    check_fault("{'spec':{'containers':'c'}}", ".spec.containers: expected list, got &{c}");
    check_fault("{'spec':[]}", ".spec: expected map, got &{[]}");
    check_fault("{'spec':{'priority':'high'}}",
                ".spec.priority: expected numeric (int or float), got string");
    check_fault("{'spec':{'hostNetwork':1}}", ".spec.hostNetwork: expected boolean, got &{1}");
    check_fault("{'metadata':{'labels':{'a':1},'finalizers':['a','a']}}",
                "errors:\n  .metadata.labels.a: expected string, got "
                "&value.valueUnstructured{Value:1}\n  .metadata.finalizers: duplicate entries for "
                "key [=\"a\"]");
}
END_TEST

/* Leaves and items; map entries and empty maps are members themselves. */
START_TEST(documents_become_sets)
{
    AUTO_ARENA *a = arena_new(0);
    struct field_type t = field_type_of_msg(&core_v1_pod_msg);
    struct fieldset s = field_tree_set(
        a, &t,
        doc(a, "{'kind':'Pod','metadata':{'labels':{'a':'b'},'annotations':{}},'spec':{"
               "'hostNetwork':false,'tolerations':[],'nodeSelector':{'x':'y'},'securityContext':{},"
               "'containers':[{'name':'c','ports':[{'containerPort':80}],'resources':null}]}}"));
    ck_assert_str_eq(
        fields_of(a, &s),
        "{'f:kind':{},'f:metadata':{'f:annotations':{},'f:labels':{'f:a':{}}},'f:spec':{"
        "'f:containers':{'k:{\\'name\\':\\'c\\'}':{'.':{},'f:name':{},'f:ports':{"
        "'k:{\\'containerPort\\':80,\\'protocol\\':\\'TCP\\'}':{'.':{},'f:containerPort':{}}},"
        "'f:resources':{}}},'f:hostNetwork':{},'f:nodeSelector':{},'f:securityContext':{},"
        "'f:tolerations':{}}}");
}
END_TEST

static void check_merge(const char *live, const char *config, const char *want)
{
    AUTO_ARENA *a = arena_new(0);
    struct field_type t = field_type_of_msg(&core_v1_pod_msg);
    ck_assert_str_eq(text_of(a, field_tree_merge(a, &t, doc(a, live), doc(a, config))), want);
}

/* Maps and keyed lists merge, leaves are replaced, nothing is removed. */
START_TEST(merging)
{
    check_merge("{'metadata':{'labels':{'a':'1','b':'2'}}}",
                "{'metadata':{'labels':{'b':'3','c':'4'},'name':'n'}}",
                "{'metadata':{'labels':{'a':'1','b':'3','c':'4'},'name':'n'}}");
    check_merge("{'spec':{'containers':[{'name':'c','image':'i','args':['x','y']}]}}",
                "{'spec':{'containers':[{'name':'c','args':['z']},{'name':'d'}]}}",
                "{'spec':{'containers':[{'args':['z'],'image':'i','name':'c'},{'name':'d'}]}}");
    check_merge("{'spec':{'nodeSelector':{'a':'1'}}}", "{'spec':{'nodeSelector':{'b':'2'}}}",
                "{'spec':{'nodeSelector':{'b':'2'}}}");
    check_merge("{'metadata':{'labels':{'a':'1'}}}", "{'metadata':{'labels':null}}",
                "{'metadata':{'labels':{'a':'1'}}}");
    check_merge("{}", "{'metadata':{'labels':{}}}", "{'metadata':{'labels':{}}}");
}
END_TEST

static void check_order(const char *live, const char *config, const char *want)
{
    AUTO_ARENA *a = arena_new(0);
    struct field_type t = field_type_of_msg(&core_v1_pod_msg);
    struct json *x = json_object(a), *y = json_object(a);
    struct json *pair[] = {x, y};
    const char *letters[] = {live, config};
    for (size_t i = 0; i < 2; i++) {
        struct json *list = json_array(a), *meta = json_object(a);
        for (const char *p = letters[i]; *p != '\0'; p++)
            json_append(a, list, json_string(a, str_n(p, 1)));
        json_setc(a, meta, "finalizers", list);
        json_setc(a, pair[i], "metadata", meta);
    }
    AUTO_BUF b = BUF_INIT;
    struct json *out = json_path(field_tree_merge(a, &t, x, y), "metadata.finalizers");
    for (size_t i = 0; out != NULL && out->type == JSON_ARRAY && i < out->array.count; i++)
        buf_append_str(&b, out->array.items[i]->string);
    buf_putc(&b, '\0');
    ck_assert_str_eq((const char *)b.data, want);
}

/* Shared items follow the configuration; the others keep their place. */
START_TEST(merged_lists_are_in_order)
{
    check_order("abc", "", "abc");
    check_order("", "abc", "abc");
    check_order("abc", "abc", "abc");
    check_order("abc", "cba", "cba");
    check_order("abcd", "cxa", "bcdxa");
    check_order("abc", "d", "abcd");
    check_order("abc", "bd", "abcd");
    check_order("aabc", "c", "aabc");
    check_order("aab", "a", "ab");
}
END_TEST

static struct fieldset set_of(struct arena *a, const char *text)
{
    struct fieldset s;
    AUTO_BUF b = BUF_INIT;
    json_write(doc(a, text), false, &b);
    ck_assert_int_eq(fieldset_parse(a, arena_str(a, buf_str(&b)), &s, NULL), 0);
    return s;
}

/* Members and items go; what is emptied by it is null. */
START_TEST(pruning)
{
    AUTO_ARENA *a = arena_new(0);
    struct field_type t = field_type_of_msg(&core_v1_pod_msg);
    struct json *j = doc(a, "{'metadata':{'labels':{'a':'1'},'name':'n'},'spec':{'containers':[{"
                            "'name':'c','image':'i'},{'name':'d','image':'j'}]}}");
    struct fieldset s =
        set_of(a, "{'f:metadata':{'f:labels':{'f:a':{}}},'f:spec':{'f:containers':{"
                  "'k:{\\'name\\':\\'c\\'}':{'f:image':{}},'k:{\\'name\\':\\'d\\'}':{}}}}");
    ck_assert_str_eq(
        text_of(a, field_tree_remove(a, &t, j, &s)),
        "{'metadata':{'labels':null,'name':'n'},'spec':{'containers':[{'name':'c'}]}}");
    s = set_of(a, "{}");
    ck_assert_ptr_eq(field_tree_remove(a, &t, j, &s), j);
}
END_TEST

/* Sets of an older schema lose what is below today's atomic types. */
START_TEST(sets_follow_the_schema)
{
    AUTO_ARENA *a = arena_new(0);
    struct field_type t = field_type_of_msg(&core_v1_pod_msg);
    struct fieldset s =
        set_of(a, "{'f:metadata':{'f:labels':{'f:a':{}}},'f:spec':{'f:nodeSelector':{"
                  "'f:x':{}},'f:tolerations':{'i:0':{'f:key':{}}},'f:gone':{'f:y':{"
                  "}}}}");
    s = field_type_reconcile(a, &t, &s);
    ck_assert_str_eq(fields_of(a, &s),
                     "{'f:metadata':{'f:labels':{'f:a':{}}},'f:spec':{'f:gone':{'f:y':{}},"
                     "'f:nodeSelector':{},'f:tolerations':{}}}");
    s = set_of(a, "{'f:metadata':{'f:labels':{'f:a':{}}}}");
    struct fieldset named = field_type_name_members(a, &t, &s);
    ck_assert_str_eq(fields_of(a, &named), "{'f:metadata':{'.':{},'f:labels':{'.':{},'f:a':{}}}}");
}
END_TEST

UNIT_MAIN("field_tree", {
    UNIT_TEST(documents_are_checked);
    UNIT_TEST(documents_become_sets);
    UNIT_TEST(merging);
    UNIT_TEST(merged_lists_are_in_order);
    UNIT_TEST(pruning);
    UNIT_TEST(sets_follow_the_schema);
})
