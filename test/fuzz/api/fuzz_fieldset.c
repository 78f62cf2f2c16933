/* fuzz_fieldset.c - FieldsV1 texts: a set is printed to a fixed point, and the
 * algebra holds between it and what is left of a half of its text. Documents:
 * what is merged and compared by type stays within its type. */
#include "test/fuzz/api/seeds.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/field_tree.h"
#include "lib/api/fieldset.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT(
        "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app\":{}}},\"f:spec\":{\"f:containers\":{"
        "\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:image\":{},\"f:ports\":{\"k:{"
        "\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{}}}}}}}"),
    FUZZ_TEXT("{\"v:\\\"a\\\"\":{},\"v:1\":{},\"v:true\":{},\"v:null\":{},\"i:0\":{},\"x:y\":{},"
              "\"k:{\\\"b\\\":1.5,\\\"a\\\":[{}]}\":{\"f:\":{}}}"),
    FUZZ_TEXT(
        "{\"metadata\":{\"labels\":{\"a\":\"b\"},\"finalizers\":[\"x\",\"y\",\"x\"]},\"spec\":{"
        "\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"A\"},{\"name\":\"A\"}]},{\"name\":"
        "\"d\",\"ports\":[{\"containerPort\":1}]}],\"nodeSelector\":null}}"),
};

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    size_t n = sizeof(seeds) / sizeof(seeds[0]);
    const struct fuzz_text *t = &seeds[i % n];
    if (i >= n * 100 || cap < t->len)
        return 0;
    memcpy(p, t->text, t->len);
    return t->len;
}

static struct str print(struct arena *a, const struct fieldset *s)
{
    AUTO_BUF b = BUF_INIT;
    fieldset_print(s, &b);
    return arena_str(a, buf_str(&b));
}

static void check_algebra(struct arena *a, const struct fieldset *x, const struct fieldset *y)
{
    struct fieldset both = fieldset_intersection(a, x, y), all = fieldset_union(a, x, y);
    struct fieldset rest = fieldset_difference(a, x, y), again = fieldset_union(a, &rest, &both);
    ASSERT(fieldset_equal(&again, x));
    again = fieldset_intersection(a, &all, x);
    ASSERT(fieldset_equal(&again, x));
    again = fieldset_difference(a, &all, y);
    ASSERT(fieldset_equal(&again, &rest));
    again = fieldset_intersection(a, &rest, y);
    ASSERT(fieldset_empty(&again));
    struct fieldset deep = fieldset_recursive_difference(a, x, y);
    again = fieldset_difference(a, &deep, x);
    ASSERT(fieldset_empty(&again));
    ASSERT(fieldset_size(&all) == fieldset_size(x) + fieldset_size(y) - fieldset_size(&both));
}

static void check_set(struct arena *a, struct str text)
{
    struct fieldset x, y, again;
    if (fieldset_parse(a, text, &x, NULL) != 0)
        return;
    struct str printed = print(a, &x);
    ASSERT(fieldset_parse(a, printed, &again, NULL) == 0);
    ASSERT(fieldset_equal(&x, &again));
    ASSERT(str_eq(print(a, &again), printed));
    y = fieldset_leaves(a, &x);
    check_algebra(a, &x, &y);
    /* Every second step, as another set. */
    y = FIELDSET_EMPTY;
    for (uint32_t i = 0; i < x.count; i += 2)
        fieldset_append(a, &y, &x.items[i].elem, true, FIELDSET_EMPTY);
    check_algebra(a, &x, &y);
    struct field_type t = field_type_of_msg(&core_v1_pod_msg);
    y = field_type_reconcile(a, &t, &x);
    (void)field_type_name_members(a, &t, &y);
}

static void check_documents(struct arena *a, struct str first, struct str second)
{
    struct json *x, *y;
    struct str faults;
    struct fieldset_diff d;
    struct field_type t = field_type_of_msg(&core_v1_pod_msg);
    if (json_parse(a, first, &x, NULL) != 0 || json_parse(a, second, &y, NULL) != 0 ||
        field_tree_check(a, &t, x, true, &faults) != 0 || x->type != JSON_OBJECT ||
        field_tree_check(a, &t, y, false, &faults) != 0 || y->type != JSON_OBJECT)
        return;
    struct json *merged = field_tree_merge(a, &t, x, y);
    ASSERT(field_tree_check(a, &t, merged, true, &faults) == 0);
    struct fieldset config = field_tree_set(a, &t, y), result = field_tree_set(a, &t, merged);
    field_tree_diff(a, &t, merged, merged, &d);
    ASSERT(fieldset_empty(&d.changed) && fieldset_empty(&d.removed));
    field_tree_diff(a, &t, x, merged, &d);
    struct json *pruned = field_tree_remove(a, &t, merged, &config);
    ASSERT(field_tree_check(a, &t, pruned, true, &faults) == 0);
    (void)print(a, &result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    struct str text = arena_str(a, str_n((const char *)data, size));
    check_set(a, text);
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        struct str seed = str_n(seeds[i].text, seeds[i].len);
        check_documents(a, seed, text);
        check_documents(a, text, seed);
    }
    return 0;
}
