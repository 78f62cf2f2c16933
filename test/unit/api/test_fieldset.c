/* test_fieldset.c - sets of fields: their text, their algebra, and what
 * comparisons find by type. */
#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/field_tree.h"
#include "lib/api/fieldset.h"
#include "lib/api/fieldset_diff.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

/* Single quotes stand for double ones; \\' inside keys for \\". */
static struct str quoted(struct arena *a, const char *text)
{
    struct str s = arena_strc(a, text);
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '\'')
            ((char *)(uintptr_t)s.data)[i] = '"';
    return s;
}

static struct fieldset set_of(struct arena *a, const char *text)
{
    struct fieldset s;
    struct error err = {0};
    int code = fieldset_parse(a, quoted(a, text), &s, &err);
    ck_assert_msg(code == 0, "%s: %s", text, err.message);
    return s;
}

static const char *text_of(struct arena *a, const struct fieldset *s)
{
    AUTO_BUF b = BUF_INIT;
    fieldset_print(s, &b);
    return str_c(arena_str(a, buf_str(&b)));
}

#define ck_assert_set(s, want) ck_assert_str_eq(text_of(a, (s)), str_c(quoted(a, (want))))

/* Canonical text comes back byte for byte; disorder is put in order. */
START_TEST(text_is_canonical)
{
    AUTO_ARENA *a = arena_new(0);
    static const char *const same[] = {
        "{}",
        "{'f:a':{}}",
        "{'f:metadata':{'f:labels':{'.':{},'f:app':{}}},'f:spec':{'f:replicas':{}}}",
        ("{'f:p':{'.':{},'k:{\\'containerPort\\':80,\\'protocol\\':\\'TCP\\'}':{'.':{},'f:name':{}}"
         "}"
         "}"),
        "{'f:s':{'v:\\'x\\'':{},'v:true':{}},'f:t':{'i:0':{},'i:10':{}}}",
        "{'f:with<&>':{},'k:{\\'name\\':\\'\\\\u003c\\'}':{}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        struct fieldset s = set_of(a, same[i]);
        ck_assert_set(&s, same[i]);
    }
    struct fieldset s = set_of(a, " { 'i:2':{}, 'v:\\'b\\'':{}, 'v:10':{}, 'v:9':{}, 'k:{\\'b\\':1,"
                                  "\\'a\\':2}':{}, 'f:b':{}, 'f:a':{'f:x':{},'.':{}} } ");
    ck_assert_set(&s, "{'f:a':{'.':{},'f:x':{}},'f:b':{},'k:{\\'a\\':2,\\'b\\':1}':{},"
                      "'v:9':{},'v:10':{},'v:\\'b\\'':{},'i:2':{}}");
}
END_TEST

/* Elements of unknown form are left out, "." alone is no child, null is {}. */
/* Objects as values of a set are the same whichever order their members come in. */
START_TEST(objects_as_values_have_one_order)
{
    AUTO_ARENA *a = arena_new(0);
    struct fieldset s =
        set_of(a, "{'v:{\\'b\\':1.5,\\'a\\':[{}]}':{},'v:{\\'a\\':[{}],\\'b\\':1.5}':{}}");
    ck_assert_set(&s, "{'v:{\\'a\\':[{}],\\'b\\':1.5}':{}}");
    struct fieldset again = set_of(a, "{'v:{\\'a\\':[{}],\\'b\\':1.5}':{}}");
    ck_assert(fieldset_equal(&s, &again));
}
END_TEST

START_TEST(text_is_read_with_tolerance)
{
    AUTO_ARENA *a = arena_new(0);
    struct fieldset s = set_of(a, "{'x:new':{'f:a':{}},'f:b':{'.':{}},'f:c':null,'':{},'.':{}}");
    ck_assert_set(&s, "{'f:b':{},'f:c':{}}");
    struct fieldset empty;
    ck_assert_int_eq(fieldset_parse(a, STR(""), &empty, NULL), 0);
    ck_assert(fieldset_empty(&empty));
}
END_TEST

/* Damage is an error, however deep it goes. */
START_TEST(damaged_text_is_refused)
{
    AUTO_ARENA *a = arena_new(0);
    static const char *const bad[] = {
        "[",   "[]",          "{'f:a':[]}",          "{'f:a':{}",     "{'k:x':{}}",
        "x",   "{'k:[]':{}}", "{'v:':{}}",           "{'i:one':{}}",  "{'f:a':{}} x",
        "'s'", "{'f:a'}",     "{'k:{\\'a\\':}':{}}", "{'f:a':{}},{}", "12",
    };
    struct fieldset s;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(fieldset_parse(a, quoted(a, bad[i]), &s, NULL) == E_INVALID, "%s", bad[i]);
    AUTO_BUF b = BUF_INIT;
    for (int i = 0; i < 10000; i++)
        buf_puts(&b, "{\"f:a\":");
    ck_assert_int_eq(fieldset_parse(a, buf_str(&b), &s, NULL), E_INVALID);
}
END_TEST

/* Union, intersection and the two differences, on members and what is below. */
START_TEST(algebra)
{
    AUTO_ARENA *a = arena_new(0);
    struct fieldset x = set_of(a, "{'f:a':{'.':{},'f:x':{},'f:y':{}},'f:b':{},'f:d':{'f:z':{}}}");
    struct fieldset y = set_of(a, "{'f:a':{'f:x':{},'f:w':{}},'f:b':{},'f:c':{},'f:d':{}}");
    struct fieldset s = fieldset_union(a, &x, &y);
    ck_assert_set(&s, "{'f:a':{'.':{},'f:w':{},'f:x':{},'f:y':{}},'f:b':{},'f:c':{},"
                      "'f:d':{'.':{},'f:z':{}}}");
    s = fieldset_intersection(a, &x, &y);
    ck_assert_set(&s, "{'f:a':{'f:x':{}},'f:b':{}}");
    s = fieldset_difference(a, &x, &y);
    ck_assert_set(&s, "{'f:a':{'.':{},'f:y':{}},'f:d':{'f:z':{}}}");
    s = fieldset_recursive_difference(a, &x, &y);
    ck_assert_set(&s, "{'f:a':{'.':{},'f:y':{}}}");
    s = fieldset_difference(a, &x, &x);
    ck_assert(fieldset_empty(&s));
    struct fieldset nothing = set_of(a, "{'f:q':{}}");
    s = fieldset_difference(a, &x, &nothing);
    ck_assert_ptr_eq(s.items, x.items);
    ck_assert_uint_eq(fieldset_size(&x), 5);
    ck_assert(fieldset_equal(&x, &x) && !fieldset_equal(&x, &y));
}
END_TEST

static void list_path(const struct fieldpath_elem *path, size_t len, void *arg)
{
    for (size_t i = 0; i < len; i++)
        fieldpath_elem_show(&path[i], arg);
    buf_putc(arg, '\n');
}

/* Leaves, lookups, and paths as messages show them. */
START_TEST(members_are_found_and_shown)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct fieldset s =
        set_of(a, "{'f:l':{'.':{},'k:{\\'n\\':\\'a\\\\\\'b\\',\\'p\\':1}':{'f:x':{}},"
                  "'v:\\'s\\'':{},'i:3':{}},'f:z':{}}");
    fieldset_each(&s, list_path, &b);
    buf_putc(&b, '\0');
    ck_assert_str_eq((const char *)b.data, ".l\n.z\n.l[=\"s\"]\n.l[3]\n.l[n=\"a\\\"b\",p=1].x\n");
    struct fieldset leaves = fieldset_leaves(a, &s);
    ck_assert_uint_eq(fieldset_size(&leaves), 4);
    struct fieldpath_elem path[] = {
        {.kind = FIELDPATH_NAME, .name = {"l", 1}},
        {.kind = FIELDPATH_INDEX, .index = 3},
    };
    ck_assert(fieldset_has(&s, path, 1));
    ck_assert(fieldset_has(&s, path, 2));
    ck_assert(!fieldset_has(&leaves, path, 1));
    path[1].index = 4;
    ck_assert(!fieldset_has(&s, path, 2));
}
END_TEST

/* --- comparison --------------------------------------------------------------------- */
static void *object_of(struct arena *a, const struct api_msg *m, const char *text)
{
    struct error err = {0};
    void *obj = api_msg_new(a, m);
    int code = api_json_decode(a, m, quoted(a, text), API_STRICT, NULL, obj, &err);
    ck_assert_msg(code == 0, "%s: %s", text, err.message);
    return obj;
}

/* Structs and their documents must agree on what differs. */
static struct fieldset_diff diff_both(struct arena *a, const struct api_msg *m, const void *x,
                                      const void *y)
{
    struct fieldset_diff typed, untyped;
    struct field_type t = field_type_of_msg(m);
    ck_assert_int_eq(fieldset_diff_msg(a, m, x, y, &typed, NULL), 0);
    field_tree_diff(a, &t, api_json_tree(a, m, x, STR(""), STR("")),
                    api_json_tree(a, m, y, STR(""), STR("")), &untyped);
    ck_assert_str_eq(text_of(a, &typed.changed), text_of(a, &untyped.changed));
    ck_assert_str_eq(text_of(a, &typed.removed), text_of(a, &untyped.removed));
    return typed;
}

static void check_diff(const struct api_msg *m, const char *x, const char *y, const char *changed,
                       const char *removed)
{
    AUTO_ARENA *a = arena_new(0);
    struct fieldset_diff d = diff_both(a, m, object_of(a, m, x), object_of(a, m, y));
    ck_assert_set(&d.changed, changed);
    ck_assert_set(&d.removed, removed);
}

/* Maps by key, scalars by value, atomic structs whole; "." marks what came as
 * a whole. */
START_TEST(differences_of_maps_and_structs)
{
    check_diff(&core_v1_config_map_msg, "{}", "{'data':{'a':'1'}}", "{'f:data':{'.':{},'f:a':{}}}",
               "{}");
    check_diff(&core_v1_config_map_msg, "{'data':{'a':'1','b':'2'}}", "{'data':{'a':'9','c':'3'}}",
               "{'f:data':{'f:a':{},'f:c':{}}}", "{'f:data':{'f:b':{}}}");
    check_diff(&core_v1_config_map_msg, "{'data':{'a':'1'}}", "{}", "{}",
               "{'f:data':{'.':{},'f:a':{}}}");
    check_diff(&apps_v1_deployment_msg, "{'spec':{'selector':{'matchLabels':{'a':'b'}}}}",
               "{'spec':{'selector':{'matchLabels':{'a':'c'}}}}", "{'f:spec':{'f:selector':{}}}",
               "{}");
    /* claimRef is granular although ObjectReference is atomic elsewhere. */
    check_diff(&core_v1_persistent_volume_msg, "{'spec':{'claimRef':{'name':'a','uid':'1'}}}",
               "{'spec':{'claimRef':{'name':'b'}}}", "{'f:spec':{'f:claimRef':{'f:name':{}}}}",
               "{'f:spec':{'f:claimRef':{'f:uid':{}}}}");
}
END_TEST

/* Keyed lists by their keys, with defaults; sets by value; other lists whole. */
START_TEST(differences_of_lists)
{
    check_diff(
        &core_v1_service_msg, "{'spec':{'ports':[{'port':80}]}}",
        "{'spec':{'ports':[{'port':80,'name':'w','protocol':'TCP'},{'port':53,'protocol':"
        "'UDP'}]}}",
        "{'f:spec':{'f:ports':{'k:{\\'port\\':53,\\'protocol\\':\\'UDP\\'}':{'.':{},'f:port':{"
        "},'f:protocol':{},'f:targetPort':{}},'k:{\\'port\\':80,\\'protocol\\':\\'TCP\\'}':{"
        "'f:name':{},'f:protocol':{}}}}}",
        "{}");
    check_diff(&core_v1_pod_msg, "{'metadata':{'finalizers':['a/x','b/x']}}",
               "{'metadata':{'finalizers':['b/x','c/x']}}",
               "{'f:metadata':{'f:finalizers':{'v:\\'c/x\\'':{}}}}",
               "{'f:metadata':{'f:finalizers':{'v:\\'a/x\\'':{}}}}");
    check_diff(&core_v1_pod_msg, "{'spec':{'containers':[{'name':'c','args':['a']}]}}",
               "{'spec':{'containers':[{'name':'c','args':['a','b']}]}}",
               "{'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':{'f:args':{}}}}}", "{}");
    /* The order of keyed items is nobody's. */
    check_diff(&core_v1_pod_msg, "{'spec':{'containers':[{'name':'a'},{'name':'b'}]}}",
               "{'spec':{'containers':[{'name':'b'},{'name':'a'}]}}", "{}", "{}");
}
END_TEST

/* Items that share their keys are one unit while they repeat. */
START_TEST(differences_of_repeated_items)
{
    const char *once = "{'spec':{'containers':[{'name':'c','env':[{'name':'A','value':'1'}]}]}}";
    const char *twice = "{'spec':{'containers':[{'name':'c','env':[{'name':'A','value':'1'},"
                        "{'name':'A','value':'2'}]}]}}";
    const char *other = "{'spec':{'containers':[{'name':'c','env':[{'name':'A','value':'1'},"
                        "{'name':'A','value':'3'}]}]}}";
#define ENV(inner) "{'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':{'f:env':" inner "}}}}"
    check_diff(&core_v1_pod_msg, twice, other, ENV("{'k:{\\'name\\':\\'A\\'}':{}}"), "{}");
    check_diff(&core_v1_pod_msg, once, twice, ENV("{'k:{\\'name\\':\\'A\\'}':{}}"),
               ENV("{'k:{\\'name\\':\\'A\\'}':{'.':{},'f:name':{},'f:value':{}}}"));
    check_diff(&core_v1_pod_msg, twice, once,
               ENV("{'k:{\\'name\\':\\'A\\'}':{'.':{},'f:name':{},'f:value':{}}}"),
               ENV("{'k:{\\'name\\':\\'A\\'}':{}}"));
}
END_TEST

/* Every kind: what a full sample has that an empty object has not is what the
 * two ways of looking find alike. */
START_TEST(structs_and_documents_agree)
{
    size_t count, compared = 0;
    const struct api_kind *const *kinds = api_kinds(&count);
    const char *facts = getenv("TRIREME_FACTS");
    for (size_t i = 0; i < count; i++) {
        AUTO_ARENA *a = arena_new(0);
        const struct api_kind *k = kinds[i];
        void *empty = api_msg_new(a, k->msg), *full = api_msg_new(a, k->msg);
        diff_both(a, k->msg, empty, full);
        struct str path =
            arena_printf(a, "%s/golden/%s.%s.%s.json", facts != NULL ? facts : "../shared/facts",
                         k->group[0] != '\0' ? k->group : "core", k->version, k->kind);
        FILE *f = fopen(str_c(path), "r");
        if (f == NULL)
            continue;
        AUTO_BUF text = BUF_INIT;
        size_t n;
        while ((n = fread(buf_reserve(&text, 65536), 1, 65536, f)) > 0)
            buf_commit(&text, n);
        fclose(f);
        ck_assert_int_eq(api_json_decode(a, k->msg, buf_str(&text), API_LENIENT, NULL, full, NULL),
                         0);
        diff_both(a, k->msg, empty, full);
        diff_both(a, k->msg, full, empty);
        struct fieldset_diff d = diff_both(a, k->msg, full, api_msg_clone(a, k->msg, full));
        ck_assert(fieldset_empty(&d.changed) && fieldset_empty(&d.removed));
        compared++;
    }
    if (compared == 0)
        printf("no golden samples found: set TRIREME_FACTS\n");
}
END_TEST

UNIT_MAIN("fieldset", {
    UNIT_TEST(text_is_canonical);
    UNIT_TEST(objects_as_values_have_one_order);
    UNIT_TEST(text_is_read_with_tolerance);
    UNIT_TEST(damaged_text_is_refused);
    UNIT_TEST(algebra);
    UNIT_TEST(members_are_found_and_shown);
    UNIT_TEST(differences_of_maps_and_structs);
    UNIT_TEST(differences_of_lists);
    UNIT_TEST(differences_of_repeated_items);
    UNIT_TEST(structs_and_documents_agree);
})
