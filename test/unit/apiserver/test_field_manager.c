/* test_field_manager.c - who owns which fields after updates and applied
 * configurations, without a server. */
#include "api/apps_v1.h"
#include "api/autoscaling_v1.h"
#include "api/core_v1.h"
#include "apiserver/field_manager.h"
#include "apiserver/registry.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

#define T0 1700000000

struct bed {
    struct arena *arena;
    struct field_manager fm;
    void *live; /* NULL: nothing is stored. */
};

static struct bed bed_of(struct arena *a, const char *group, const char *version,
                         const char *resource)
{
    static bool once;
    if (!once)
        registry_init();
    once = true;
    struct bed b = {.arena = a};
    b.fm.arena = a;
    b.fm.res = registry_find(str_of(group), str_of(version), str_of(resource));
    ck_assert_ptr_nonnull(b.fm.res);
    b.fm.kind = b.fm.res->storage;
    b.fm.api_version = str_of(b.fm.res->kind->api_version);
    b.fm.subresource = "";
    b.fm.now_s = T0;
    return b;
}

static struct bed config_maps(struct arena *a)
{
    return bed_of(a, "", "v1", "configmaps");
}

static struct str quoted(struct arena *a, const char *text)
{
    struct str s = arena_strc(a, text);
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '\'')
            ((char *)(uintptr_t)s.data)[i] = '"';
    return s;
}

static void *object_of(struct bed *b, const char *text)
{
    struct error err = {0};
    void *obj = api_msg_new(b->arena, b->fm.kind->msg);
    int code = api_json_decode(b->arena, b->fm.kind->msg, quoted(b->arena, text), API_STRICT, NULL,
                               obj, &err);
    ck_assert_msg(code == 0, "%s: %s", text, err.message);
    return obj;
}

/* A write of the whole object by a manager, a second after the one before. */
static void put(struct bed *b, const char *manager, const char *text)
{
    void *obj = object_of(b, text);
    struct meta_v1_object_meta *m = api_meta_of(b->fm.kind, obj);
    if (b->live != NULL && m->managed_fields == NULL) {
        m->managed_fields = api_meta_of(b->fm.kind, b->live)->managed_fields;
        m->managed_fields_count = api_meta_of(b->fm.kind, b->live)->managed_fields_count;
    }
    b->fm.manager = str_of(manager);
    field_manager_update(&b->fm, b->live, obj);
    b->fm.now_s++;
    b->live = obj;
}

static struct meta_v1_status *try_apply(struct bed *b, const char *manager, const char *text,
                                        bool force)
{
    struct json *config;
    void *obj;
    ck_assert_int_eq(json_parse(b->arena, quoted(b->arena, text), &config, NULL), 0);
    b->fm.manager = str_of(manager);
    struct meta_v1_status *s = field_manager_apply(&b->fm, b->live, config, force, &obj);
    b->fm.now_s++;
    if (s == NULL)
        b->live = obj;
    return s;
}

static void apply(struct bed *b, const char *manager, const char *text)
{
    struct meta_v1_status *s = try_apply(b, manager, text, false);
    ck_assert_msg(s == NULL, "%s", str_c(s != NULL ? s->message : STR("")));
}

/* "manager/Operation[/subresource]@second fields", one line per entry. */
static const char *owners(struct bed *b)
{
    AUTO_BUF out = BUF_INIT;
    const struct meta_v1_object_meta *m = api_meta_of(b->fm.kind, b->live);
    for (size_t i = 0; i < m->managed_fields_count; i++) {
        const struct meta_v1_managed_fields_entry *e = &m->managed_fields[i];
        buf_printf(&out, STR_FMT "/" STR_FMT, STR_ARG(e->manager), STR_ARG(e->operation));
        if (e->subresource.len != 0)
            buf_printf(&out, "/" STR_FMT, STR_ARG(e->subresource));
        if (e->time != NULL)
            buf_printf(&out, "@%d", (int)(e->time->seconds - T0));
        buf_printf(&out, " " STR_FMT "\n", STR_ARG(e->fields_v1->raw));
    }
    struct str s = arena_str(b->arena, buf_str(&out));
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '"')
            ((char *)(uintptr_t)s.data)[i] = '\'';
    return str_c(s);
}

static const char *data_of(struct bed *b)
{
    AUTO_BUF out = BUF_INIT;
    const struct core_v1_config_map *c = b->live;
    for (size_t i = 0; i < c->data_count; i++)
        buf_printf(&out, "%s" STR_FMT "=" STR_FMT, i != 0 ? "," : "", STR_ARG(c->data[i].key),
                   STR_ARG(c->data[i].value));
    return str_c(arena_str(b->arena, buf_str(&out)));
}

#define CONFIG "'apiVersion':'v1','kind':'ConfigMap'"

/* --- updates -------------------------------------------------------------------------- */
/* Who changes a field owns it alone; identity is nobody's. */
START_TEST(updates_move_ownership)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = config_maps(a);
    put(&b, "one",
        "{'metadata':{'name':'c','uid':'u','labels':{'l':'1'}},'data':{'a':'1','b':'2'}}");
    ck_assert_str_eq(owners(&b), "one/Update@0 {'f:data':{'.':{},'f:a':{},'f:b':{}},"
                                 "'f:metadata':{'f:labels':{'.':{},'f:l':{}}}}\n");
    put(&b, "two",
        "{'metadata':{'name':'c','uid':'u','labels':{'l':'1'}},'data':{'a':'9','b':'2'}}");
    ck_assert_str_eq(owners(&b), "one/Update@0 {'f:data':{'.':{},'f:b':{}},"
                                 "'f:metadata':{'f:labels':{'.':{},'f:l':{}}}}\n"
                                 "two/Update@1 {'f:data':{'f:a':{}}}\n");
    /* Nothing changes: neither sets nor times do. */
    put(&b, "three",
        "{'metadata':{'name':'c','uid':'u','labels':{'l':'1'}},'data':{'a':'9','b':'2'}}");
    ck_assert_str_eq(owners(&b), "one/Update@0 {'f:data':{'.':{},'f:b':{}},"
                                 "'f:metadata':{'f:labels':{'.':{},'f:l':{}}}}\n"
                                 "two/Update@1 {'f:data':{'f:a':{}}}\n");
    /* Managers that own nothing any more go. */
    put(&b, "four", "{'metadata':{'name':'c','uid':'u'}}");
    ck_assert_str_eq(owners(&b), "");
}
END_TEST

/* Status belongs to its subresource, and the other way round. */
START_TEST(reset_fields_are_not_owned)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = bed_of(a, "", "v1", "pods");
    put(&b, "user",
        "{'metadata':{'uid':'u'},'spec':{'nodeName':'n'},'status':{'phase':'Running'}}");
    ck_assert_str_eq(owners(&b), "user/Update@0 {'f:spec':{'f:nodeName':{}}}\n");
    b.fm.subresource = "status";
    put(&b, "node",
        "{'metadata':{'uid':'u','ownerReferences':[{'uid':'o','apiVersion':'v1','kind':"
        "'k','name':'n'}]},'spec':{'nodeName':'m'},'status':{'phase':'Failed'}}");
    ck_assert_str_eq(owners(&b), "user/Update@0 {'f:spec':{'f:nodeName':{}}}\n"
                                 "node/Update/status@1 {'f:status':{'f:phase':{}}}\n");
}
END_TEST

/* [{}] and [] clear the list, and it stays so; damage is not taken over. */
START_TEST(clients_reset_and_damage_the_list)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = config_maps(a);
    put(&b, "one", "{'metadata':{'uid':'u'},'data':{'a':'1'}}");
    put(&b, "two", "{'metadata':{'uid':'u','managedFields':[{'manager':'x'}]},'data':{'a':'1'}}");
    ck_assert_str_eq(owners(&b), "one/Update@0 {'f:data':{'.':{},'f:a':{}}}\n");
    put(&b, "two",
        "{'metadata':{'uid':'u','managedFields':[{'manager':'x','operation':'Update',"
        "'apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{'f:data':{'f:z':{},"
        "'f:a':{}}}}]},'data':{'a':'1'}}");
    ck_assert_str_eq(owners(&b), "x/Update {'f:data':{'f:a':{},'f:z':{}}}\n");
    put(&b, "two", "{'metadata':{'uid':'u','managedFields':[{}]},'data':{'a':'2'}}");
    ck_assert_str_eq(owners(&b), "");
    put(&b, "three", "{'metadata':{'uid':'u'},'data':{'a':'3'}}");
    ck_assert_str_eq(owners(&b), "");
}
END_TEST

/* Of more than ten updaters the oldest become one. */
START_TEST(old_updaters_are_merged)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = config_maps(a);
    AUTO_BUF data = BUF_INIT;
    for (int i = 0; i < 12; i++) {
        buf_printf(&data, "%s'k%02d':'v'", i != 0 ? "," : "", i);
        put(&b, str_c(arena_printf(a, "m%02d", i)),
            str_c(arena_printf(a, "{'metadata':{'uid':'u'},'data':{" STR_FMT "}}",
                               STR_ARG(buf_str(&data)))));
    }
    const struct meta_v1_object_meta *m = api_meta_of(b.fm.kind, b.live);
    ck_assert_uint_eq(m->managed_fields_count, 10);
    ck_assert(str_eqc(m->managed_fields[0].manager, "ancient-changes"));
    ck_assert(str_eqc(m->managed_fields[0].fields_v1->raw,
                      "{\"f:data\":{\".\":{},\"f:k00\":{},\"f:k01\":{},\"f:k02\":{}}}"));
    ck_assert_int_eq(m->managed_fields[0].time->seconds, T0 + 2);
}
END_TEST

/* A manager of another version keeps its own view; one of a version that is
 * gone goes with it. */
START_TEST(versions_are_kept_apart)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = bed_of(a, "autoscaling", "v2", "horizontalpodautoscalers");
    struct field_manager v1 = b.fm;
    v1.res = registry_find(STR("autoscaling"), STR("v1"), STR("horizontalpodautoscalers"));
    v1.api_version = STR("autoscaling/v1");
    v1.manager = STR("old");
    b.live = object_of(&b, "{'metadata':{'uid':'u'},'spec':{'maxReplicas':3,'minReplicas':1}}");
    field_manager_update(&v1, NULL, b.live);
    const char *before = owners(&b);
    ck_assert_ptr_nonnull(strstr(before, "'f:maxReplicas':{}"));
    put(&b, "new", "{'metadata':{'uid':'u'},'spec':{'maxReplicas':4,'minReplicas':1}}");
    ck_assert_ptr_null(strstr(strstr(owners(&b), "old/Update"), "maxReplicas"));
    struct meta_v1_object_meta *m = api_meta_of(b.fm.kind, b.live);
    for (size_t i = 0; i < m->managed_fields_count; i++)
        m->managed_fields[i].api_version = STR("autoscaling/v2beta9");
    put(&b, "new", "{'metadata':{'uid':'u'},'spec':{'maxReplicas':5,'minReplicas':1}}");
    ck_assert_str_eq(owners(&b), "new/Update@1 {'f:spec':{'f:maxReplicas':{}}}\n");
}
END_TEST

/* --- apply ------------------------------------------------------------------------------ */
/* Fields that a configuration does not name any more go, unless shared. */
START_TEST(applied_fields_come_and_go)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = config_maps(a);
    apply(&b, "one",
          "{" CONFIG ",'metadata':{'name':'c','uid':'u'},'data':{'a':'1','b':'2','c':'3'}}");
    apply(&b, "two", "{" CONFIG ",'metadata':{'name':'c'},'data':{'b':'2'}}");
    put(&b, "upd", "{'metadata':{'name':'c','uid':'u'},'data':{'a':'1','b':'2','c':'4','d':'5'}}");
    apply(&b, "one", "{" CONFIG ",'metadata':{'name':'c'},'data':{'a':'1'}}");
    ck_assert_str_eq(data_of(&b), "a=1,b=2,c=4,d=5");
    ck_assert_str_eq(owners(&b), "two/Apply {'f:data':{'f:b':{}}}\n"
                                 "one/Apply@0 {'f:data':{'f:a':{}}}\n"
                                 "upd/Update@2 {'f:data':{'f:c':{},'f:d':{}}}\n");
    apply(&b, "two", "{" CONFIG ",'metadata':{'name':'c'}}");
    ck_assert_str_eq(data_of(&b), "a=1,c=4,d=5");
}
END_TEST

/* Others' values are conflicts until force takes them. */
START_TEST(conflicts_name_managers_and_fields)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = config_maps(a);
    apply(&b, "one", "{" CONFIG ",'metadata':{'name':'c','uid':'u'},'data':{'a':'1'}}");
    put(&b, "upd", "{'metadata':{'name':'c','uid':'u'},'data':{'a':'1','b':'2'}}");
    const char *mine = "{" CONFIG ",'metadata':{'name':'c'},'data':{'a':'x','b':'y'}}";
    struct meta_v1_status *s = try_apply(&b, "two", mine, false);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(s->code, 409);
    ck_assert_str_eq(str_c(s->message), "Apply failed with 2 conflicts: conflicts with \"one\":\n"
                                        "- .data.a\nconflicts with \"upd\" using v1:\n- .data.b");
    ck_assert_uint_eq(s->details->causes_count, 2);
    ck_assert(str_eqc(s->details->causes[1].message, "conflict with \"upd\" using v1"));
    ck_assert_str_eq(data_of(&b), "a=1,b=2");
    ck_assert_ptr_null(try_apply(&b, "two", mine, true));
    ck_assert_str_eq(data_of(&b), "a=x,b=y");
    ck_assert_str_eq(owners(&b), "two/Apply@3 {'f:data':{'f:a':{},'f:b':{}}}\n");
}
END_TEST

/* However many fields conflict, the answer is made in linear space. */
START_TEST(many_conflicts_are_bounded)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = config_maps(a);
    AUTO_BUF mine = BUF_INIT, yours = BUF_INIT;
    for (int i = 0; i < 5000; i++) {
        buf_printf(&mine, "%s'k%d':'1'", i != 0 ? "," : "", i);
        buf_printf(&yours, "%s'k%d':'2'", i != 0 ? "," : "", i);
    }
    static const char form[] =
        "{" CONFIG ",'metadata':{'name':'c','uid':'u'},'data':{" STR_FMT "}}";
    apply(&b, "one", str_c(arena_printf(a, form, STR_ARG(buf_str(&mine)))));
    size_t before = arena_bytes(a);
    struct meta_v1_status *s =
        try_apply(&b, "two", str_c(arena_printf(a, form, STR_ARG(buf_str(&yours)))), false);
    ck_assert_uint_eq(s->details->causes_count, 5000);
    ck_assert_uint_lt(arena_bytes(a) - before, 64u << 20);
}
END_TEST

/* What was there before anyone applied belongs to one who stands for the past;
 * kubectl may take over what it applied from the client's side. */
START_TEST(objects_from_before_apply)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = config_maps(a);
    const char *last =
        "{'metadata':{'uid':'u','name':'c','annotations':{"
        "'kubectl.kubernetes.io/last-applied-configuration':"
        "'{\\'apiVersion\\':\\'v1\\',\\'kind\\':\\'ConfigMap\\',\\'metadata\\':{"
        "\\'name\\':\\'c\\'},\\'data\\':{\\'a\\':\\'1\\'}}'}},'data':{'a':'1','b':'2'}}";
    b.live = object_of(&b, last);
    struct meta_v1_status *s =
        try_apply(&b, "other", "{" CONFIG ",'metadata':{'name':'c'},'data':{'a':'9'}}", false);
    ck_assert_str_eq(str_c(s->message), "Apply failed with 1 conflict: conflict with "
                                        "\"before-first-apply\" using v1: .data.a");
    s = try_apply(&b, "kubectl", "{" CONFIG ",'metadata':{'name':'c'},'data':{'a':'9','b':'8'}}",
                  false);
    ck_assert_str_eq(str_c(s->message), "Apply failed with 1 conflict: conflict with "
                                        "\"before-first-apply\" using v1: .data.b");
    apply(&b, "kubectl", "{" CONFIG ",'metadata':{'name':'c'},'data':{'a':'9'}}");
    ck_assert_str_eq(data_of(&b), "a=9,b=2");
    const struct meta_v1_object_meta *m = api_meta_of(b.fm.kind, b.live);
    ck_assert_str_eq(str_c(m->annotations[0].value),
                     "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"9\"},\"kind\":\"ConfigMap\","
                     "\"metadata\":{\"name\":\"c\"}}\n");
    ck_assert_ptr_nonnull(strstr(owners(&b), "kubectl/Apply@2 {'f:data':{'f:a':{}}}\n"));
}
END_TEST

/* Applying the same again changes nothing, not even a time. */
START_TEST(the_same_again_is_no_change)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = config_maps(a);
    const char *config = "{" CONFIG ",'metadata':{'name':'c','uid':'u'},'data':{'a':'1'}}";
    apply(&b, "one", config);
    const char *before = owners(&b);
    apply(&b, "one", config);
    ck_assert_str_eq(owners(&b), before);
}
END_TEST

/* Keyed items: shared by key, each field with its owner, gone with the last. */
START_TEST(items_of_keyed_lists)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = bed_of(a, "", "v1", "services");
#define SERVICE(ports)                                                                             \
    "{'apiVersion':'v1','kind':'Service','metadata':{'name':'s','uid':'u'},"                       \
    "'spec':{'ports':[" ports "]}}"
    apply(&b, "one", SERVICE("{'port':80},{'port':81,'name':'b'}"));
    apply(&b, "two", SERVICE("{'port':80,'protocol':'TCP','targetPort':8080}"));
    apply(&b, "one", SERVICE("{'port':81,'name':'b'}"));
    const struct core_v1_service *s = b.live;
    ck_assert_uint_eq(s->spec.ports_count, 2);
    apply(&b, "two", SERVICE(""));
    s = b.live;
    ck_assert_uint_eq(s->spec.ports_count, 1);
    ck_assert_int_eq(s->spec.ports[0].port, 81);
    ck_assert_str_eq(
        owners(&b),
        "one/Apply@0 {'f:spec':{'f:ports':{'k:{\\'port\\':81,\\'protocol\\':\\'TCP\\'}':"
        "{'.':{},'f:name':{},'f:port':{}}}}}\n");
}
END_TEST

/* Wrong kinds, managedFields and what does not fit are refused. */
START_TEST(configurations_are_checked)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = config_maps(a);
    static const struct {
        const char *config, *message;
        int32_t code;
    } cases[] = {
        {"{'apiVersion':'v1','kind':'Secret'}", "invalid object type: /v1, Kind=Secret", 400},
        {"{}", "invalid object type: /, Kind=", 400},
        {"{" CONFIG ",'metadata':{'managedFields':[]}}", "metadata.managedFields must be nil", 400},
        {"{" CONFIG ",'metadata':{'name':'c','namespace':'n'},'x':1}",
         "failed to create typed patch object (n/c; /v1, Kind=ConfigMap): .x: field not declared "
         "in schema",
         500},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct meta_v1_status *s = try_apply(&b, "m", cases[i].config, false);
        ck_assert_ptr_nonnull(s);
        ck_assert_str_eq(str_c(s->message), cases[i].message);
        ck_assert_int_eq(s->code, cases[i].code);
    }
}
END_TEST

/* --- scale ------------------------------------------------------------------------------- */
/* replicas changes hands through a Scale, without a time. */
START_TEST(scale_moves_replicas)
{
    AUTO_ARENA *a = arena_new(0);
    struct bed b = bed_of(a, "apps", "v1", "deployments");
    apply(&b, "one",
          "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'d','uid':'u',"
          "'labels':{'l':'1'}},'spec':{'replicas':2}}");
    struct autoscaling_v1_scale live = {.spec.replicas = 2}, changed;
    struct meta_v1_object_meta *m = api_meta_of(b.fm.kind, b.live);
    field_manager_to_scale(a, b.fm.res, m, &live.metadata);
    ck_assert_uint_eq(live.metadata.managed_fields_count, 1);
    ck_assert(str_eqc(live.metadata.managed_fields[0].api_version, "autoscaling/v1"));
    struct field_manager fm = b.fm;
    fm.res = NULL;
    fm.kind = api_kind_by_gvk(STR("autoscaling"), STR("v1"), STR("Scale"));
    fm.api_version = STR("autoscaling/v1");
    fm.subresource = "scale";
    fm.manager = STR("scaler");
    changed = live;
    field_manager_update(&fm, &live, &changed); /* Nothing changes hands. */
    field_manager_from_scale(a, b.fm.res, &changed.metadata, m);
    ck_assert_str_eq(
        owners(&b),
        "one/Apply@0 {'f:metadata':{'f:labels':{'f:l':{}}},'f:spec':{'f:replicas':{}}}\n");
    changed.spec.replicas = 5;
    field_manager_update(&fm, &live, &changed);
    field_manager_from_scale(a, b.fm.res, &changed.metadata, m);
    ck_assert_str_eq(owners(&b), "one/Apply@0 {'f:metadata':{'f:labels':{'f:l':{}}}}\n"
                                 "scaler/Update/scale {'f:spec':{'f:replicas':{}}}\n");
}
END_TEST

UNIT_MAIN("field_manager", {
    UNIT_TEST(updates_move_ownership);
    UNIT_TEST(reset_fields_are_not_owned);
    UNIT_TEST(clients_reset_and_damage_the_list);
    UNIT_TEST(old_updaters_are_merged);
    UNIT_TEST(versions_are_kept_apart);
    UNIT_TEST(applied_fields_come_and_go);
    UNIT_TEST(conflicts_name_managers_and_fields);
    UNIT_TEST(many_conflicts_are_bounded);
    UNIT_TEST(objects_from_before_apply);
    UNIT_TEST(the_same_again_is_no_change);
    UNIT_TEST(items_of_keyed_lists);
    UNIT_TEST(configurations_are_checked);
    UNIT_TEST(scale_moves_replicas);
})
