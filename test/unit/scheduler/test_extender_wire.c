/* test_extender_wire.c - what goes to extenders and comes from them. */
#include "lib/api/json.h"
#include "lib/base/buf.h"
#include "scheduler/extender_wire.h"
#include "test/unit/scheduler/cluster.h"

static struct str text(const struct buf *b)
{
    return str_n((const char *)b->data, b->len);
}

static void wrote(struct buf *b, const char *wanted)
{
    ck_assert_msg(str_eqc(text(b), wanted), "%.*s", (int)b->len, (const char *)b->data);
    buf_clear(b);
}

#define POD "{\"metadata\":{\"name\":\"p\",\"namespace\":\"x\",\"uid\":\"7\"}}"
#define POD_OUT                                                                                    \
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"x\",\"uid\":\"7\"},\"spec\":{\"containers\":"   \
    "null},\"status\":{}}"

START_TEST(requests_are_as_upstreams)
{
    AUTO_BUF b = BUF_INIT;
    struct snapshot s;
    snapshot_init(&s);
    add_node(&s, "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"a\":\"b\"}}}");
    add_node(&s, "{\"metadata\":{\"name\":\"n2\"}}");
    struct api_object *o = object_from("Pod", POD);
    const struct core_v1_pod *pod = o->msg;
    extender_write_args(pod, s.nodes, 2, true, &b);
    wrote(&b, "{\"Pod\":" POD_OUT ",\"Nodes\":null,\"NodeNames\":[\"n1\",\"n2\"]}");
    extender_write_args(pod, s.nodes, 1, false, &b);
    AUTO_ARENA *a = arena_new(0);
    struct json *j;
    ck_assert_int_eq(json_parse(a, text(&b), &j, NULL), 0);
    const struct json *items = json_path(j, "Nodes.items");
    ck_assert_uint_eq(items->array.count, 1);
    ck_assert(str_eqc(json_get_str(json_path(items->array.items[0], "metadata.labels"), "a"), "b"));
    ck_assert_int_eq(json_getc(j, "NodeNames")->type, JSON_NULL);
    buf_clear(&b);
    extender_write_binding(pod, STR("n\"2"), &b);
    wrote(&b, "{\"PodName\":\"p\",\"PodNamespace\":\"x\",\"PodUID\":\"7\",\"Node\":\"n\\\"2\"}");
    struct api_object *const pods[] = {o};
    const struct extender_victims v = {STR("n1"), pods, 1, 2};
    extender_write_preemption(pod, &v, true, &b);
    wrote(&b, "{\"Pod\":" POD_OUT ",\"NodeNameToVictims\":null,\"NodeNameToMetaVictims\":{\"n1\":{"
              "\"Pods\":[{\"UID\":\"7\"}],\"NumPDBViolations\":2}}}");
    extender_write_preemption(pod, &v, false, &b);
    wrote(&b, "{\"Pod\":" POD_OUT ",\"NodeNameToVictims\":{\"n1\":{\"Pods\":[" POD_OUT
              "],\"NumPDBViolations\":2}},\"NodeNameToMetaVictims\":null}");
    api_object_unref(o);
    snapshot_done(&s);
}
END_TEST

START_TEST(filters_are_read)
{
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    struct extender_filtered f;
    /* In any case of letters, as Go reads it. */
    ck_assert_int_eq(extender_read_filtered(a,
                                            STR("{\"nodenames\":[\"n1\",\"n2\"],\"failedNodes\":{"
                                                "\"n3\":\"no\"},\"FailedAndUnresolvableNodes\":{"
                                                "\"n3\":\"never\"},\"Error\":\"\"}"),
                                            true, &f, &err),
                     0);
    ck_assert_uint_eq(f.name_count, 2);
    ck_assert(str_eqc(f.names[1], "n2"));
    ck_assert_uint_eq(f.failed_count, 2);
    ck_assert(f.failed[0].unresolvable && str_eqc(f.failed[0].reason, "never"));
    ck_assert_int_eq(extender_read_filtered(a,
                                            STR("{\"Nodes\":{\"items\":[{\"metadata\":{\"name\":"
                                                "\"n9\"}}]},\"NodeNames\":null}"),
                                            false, &f, &err),
                     0);
    ck_assert_uint_eq(f.name_count, 1);
    ck_assert(str_eqc(f.names[0], "n9"));
    ck_assert_int_eq(extender_read_filtered(a, STR("{}"), true, &f, &err), 0);
    ck_assert_uint_eq(f.name_count + f.failed_count, 0);
    ck_assert_int_eq(extender_read_filtered(a, STR("{\"Error\":\"broken\"}"), true, &f, &err),
                     E_UNAVAILABLE);
    ck_assert_str_eq(error_message(&err), "broken");
    ck_assert_int_eq(extender_read_filtered(a, STR("[]"), true, &f, &err), E_INVALID);
    ck_assert_int_ne(extender_read_filtered(a, STR("{\"NodeNames\":"), true, &f, &err), 0);
}
END_TEST

START_TEST(other_answers_are_read)
{
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    const struct extender_score *list;
    const struct str *uids;
    size_t count;
    bool accepted;
    ck_assert_int_eq(extender_read_scores(a,
                                          STR("[{\"Host\":\"n1\",\"Score\":10},{\"host\":\"n2\"}]"),
                                          &list, &count, &err),
                     0);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(list[0].score, 10);
    ck_assert_int_eq(list[1].score, 0);
    ck_assert(str_eqc(list[1].node, "n2"));
    ck_assert_int_eq(extender_read_scores(a, STR("{}"), &list, &count, &err), E_INVALID);
#define META "{\"NodeNameToMetaVictims\":{\"n1\":{\"Pods\":[{\"UID\":\"7\"},{\"UID\":\"8\"}]}}}"
    ck_assert_int_eq(
        extender_read_preemption(a, STR(META), STR("n1"), &accepted, &uids, &count, &err), 0);
    ck_assert(accepted && count == 2 && str_eqc(uids[1], "8"));
    ck_assert_int_eq(
        extender_read_preemption(a, STR(META), STR("n2"), &accepted, &uids, &count, &err), 0);
    ck_assert(!accepted);
    ck_assert_int_eq(extender_read_binding(a, STR("{}"), &err), 0);
    ck_assert_int_eq(extender_read_binding(a, STR("{\"error\":\"no\"}"), &err), E_UNAVAILABLE);
    ck_assert_str_eq(error_message(&err), "no");
}
END_TEST

UNIT_MAIN("scheduler/extender_wire", {
    UNIT_TEST(requests_are_as_upstreams);
    UNIT_TEST(filters_are_read);
    UNIT_TEST(other_answers_are_read);
})
