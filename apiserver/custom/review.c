/* review.c - see review.h. */
#include "apiserver/custom/review.h"

#include "api/meta_v1.h"
#include "apiserver/field_error.h"
#include "apiserver/validate.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#define API_GROUP "apiextensions.k8s.io/"

struct str review_version(const struct str *versions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(versions[i], "v1") || str_eqc(versions[i], "v1beta1"))
            return versions[i];
    return STR_NULL;
}

void review_write(const struct review *r, const struct review_item *items, size_t count,
                  struct buf *out)
{
    buf_printf(out, "{\"kind\":\"ConversionReview\",\"apiVersion\":\"" API_GROUP STR_FMT "\"",
               STR_ARG(r->version));
    buf_printf(out,
               ",\"request\":{\"uid\":\"" STR_FMT "\",\"desiredAPIVersion\":\"" STR_FMT
               "\",\"objects\":[",
               STR_ARG(r->uid), STR_ARG(r->desired));
    for (size_t i = 0; i < count; i++) {
        if (i != 0)
            buf_putc(out, ',');
        buf_append_str(out, items[i].sent);
    }
    buf_puts(out,
             "]},\"response\":{\"uid\":\"\",\"convertedObjects\":null,\"result\":{\"metadata\":"
             "{}}}}");
}

/* --- the answer as a whole ------------------------------------------------------------ */
/* The list of converted objects; NULL: *ret_why. */
static struct json *objects_of(struct arena *a, const struct review *r, struct str answer,
                               struct str *ret_why)
{
    struct json *review;
    struct error err = {0};
    bool v1 = str_eqc(r->version, "v1");
    if (json_parse(a, answer, &review, &err) != 0) {
        *ret_why =
            arena_printf(a, "couldn't get version/kind; json parse error: %s", error_message(&err));
        return NULL;
    }
    /* Another type is not read at all, and so it is of none. */
    struct str api_version = json_get_str(review, "apiVersion");
    bool expected =
        str_eqc(json_get_str(review, "kind"), "ConversionReview") &&
        str_has_prefix(api_version, STR(API_GROUP)) &&
        str_eq(str_sub(api_version, sizeof(API_GROUP) - 1, api_version.len), r->version);
    if (v1 && !expected) {
        *ret_why = STR("expected webhook response of " API_GROUP
                       "v1, Kind=ConversionReview, got /, Kind=");
        return NULL;
    }
    const struct json *response = json_getc(review, "response");
    if (response == NULL || response->type != JSON_OBJECT) {
        *ret_why = STR("no response provided");
        return NULL;
    }
    struct str uid = json_get_str(response, "uid");
    if (v1 && !str_eq(uid, r->uid)) {
        *ret_why = arena_printf(a, "expected response.uid=\"" STR_FMT "\", got \"" STR_FMT "\"",
                                STR_ARG(r->uid), STR_ARG(uid));
        return NULL;
    }
    const struct json *result = json_getc(response, "result");
    struct str status = json_get_str(result, "status"), message = json_get_str(result, "message");
    if (!str_eqc(status, "Success")) {
        *ret_why = message.len != 0
                       ? message
                       : arena_printf(a, "response.result.status was '" STR_FMT "', not 'Success'",
                                      STR_ARG(status));
        return NULL;
    }
    struct json *objects = json_getc(response, "convertedObjects");
    return objects != NULL && objects->type == JSON_ARRAY ? objects : json_array(a);
}

/* --- one object ------------------------------------------------------------------------- */
/* The types of Go that a reader of any JSON gets. */
static const char *go_type(const struct json *j)
{
    static const char *const names[] = {[JSON_NULL] = "<nil>",
                                        [JSON_BOOL] = "bool",
                                        [JSON_INT] = "int64",
                                        [JSON_DOUBLE] = "float64",
                                        [JSON_STRING] = "string",
                                        [JSON_ARRAY] = "[]interface {}",
                                        [JSON_OBJECT] = "map[string]interface {}"};
    return names[j->type];
}

static bool same(struct arena *a, const char *what, struct str in, struct str out,
                 struct str *ret_why)
{
    if (str_eq(in, out))
        return true;
    *ret_why = arena_printf(a, "must have the same %s: " STR_FMT " != " STR_FMT, what, STR_ARG(in),
                            STR_ARG(out));
    return false;
}

static bool check_same(struct arena *a, const struct review *r, const struct review_item *item,
                       struct str *ret_why)
{
    const struct json *meta = json_getc(item->converted, "metadata");
    const struct meta_v1_object_meta *m = item->metadata;
    return same(a, "kind", r->kind, json_get_str(item->converted, "kind"), ret_why) &&
           same(a, "name", m->name, json_get_str(meta, "name"), ret_why) &&
           same(a, "namespace", m->namespace, json_get_str(meta, "namespace"), ret_why) &&
           same(a, "UID", m->uid, json_get_str(meta, "uid"), ret_why);
}

/* Labels or annotations as they came back; count of those that are as they were. */
static bool read_map(struct arena *a, const char *name, const struct json *j,
                     const struct api_str_entry *old, size_t old_count, bool *ret_changed,
                     struct api_str_entry *ret, struct str *ret_why)
{
    *ret_changed = j->object.count != old_count;
    for (size_t i = 0; i < j->object.count; i++) {
        const struct json_member *m = &j->object.members[i];
        if (m->value->type != JSON_STRING) {
            *ret_why = arena_printf(
                a, "metadata.%s[" STR_FMT "] must be a string, but is %s in converted object", name,
                STR_ARG(m->key), go_type(m->value));
            return false;
        }
        ret[i] = (struct api_str_entry){m->key, m->value->string};
        const struct str *before = api_str_map_get(old, old_count, m->key);
        *ret_changed |= before == NULL || !str_eq(*before, m->value->string);
    }
    return true;
}

/* What is written anew must be what clients may write. */
static bool check_map(struct arena *a, const struct json *meta, bool labels,
                      const struct api_str_entry *old, size_t old_count, struct str *ret_why)
{
    const char *name = labels ? "labels" : "annotations";
    const struct json *j = json_getc(meta, name);
    struct field_errors errs = {.arena = a};
    bool changed;
    if (j == NULL || j->type == JSON_NULL)
        return true;
    if (j->type != JSON_OBJECT) {
        *ret_why =
            arena_printf(a, "invalid metadata.%s of type %s in converted object", name, go_type(j));
        return false;
    }
    struct api_str_entry *e = ARENA_ARRAY(a, struct api_str_entry, j->object.count + 1);
    if (!read_map(a, name, j, old, old_count, &changed, e, ret_why))
        return false;
    if (!changed)
        return true;
    if (labels)
        validate_labels(&errs, PATH(PATH(PATH_ROOT, "metadata"), "labels"), e, j->object.count);
    else
        validate_annotations(&errs, PATH(PATH(PATH_ROOT, "metadata"), "annotation"), e,
                             j->object.count);
    if (errs.count == 0)
        return true;
    *ret_why = field_errors_text(a, &errs);
    return false;
}

static bool check_meta(struct arena *a, const struct review_item *item, struct str *ret_why)
{
    const struct meta_v1_object_meta *m = item->metadata;
    const struct json *meta = json_getc(item->converted, "metadata");
    if (meta == NULL) {
        *ret_why = STR("missing metadata in converted object");
        return false;
    }
    if (meta->type != JSON_OBJECT) {
        *ret_why =
            arena_printf(a, "invalid metadata of type %s in converted object", go_type(meta));
        return false;
    }
    return check_map(a, meta, true, m->labels, m->labels_count, ret_why) &&
           check_map(a, meta, false, m->annotations, m->annotations_count, ret_why);
}

static bool check_type(struct arena *a, const struct review *r, const struct json *converted,
                       struct str *ret_why)
{
    struct str api_version = json_get_str(converted, "apiVersion"),
               kind = json_get_str(converted, "kind");
    if (!str_eq(api_version, r->desired))
        *ret_why =
            arena_printf(a, "invalid groupVersion (expected " STR_FMT ", received " STR_FMT ")",
                         STR_ARG(r->desired), STR_ARG(api_version));
    else if (!str_eq(kind, r->kind))
        *ret_why = arena_printf(a, "invalid kind (expected " STR_FMT ", received " STR_FMT ")",
                                STR_ARG(r->kind), STR_ARG(kind));
    else
        return true;
    return false;
}

/* Upstream words what is wrong with one object differently from one of several. */
static bool read_object(struct arena *a, const struct review *r, struct review_item *items,
                        size_t i, size_t count, struct str *ret_why)
{
    struct review_item *item = &items[i];
    struct str prefix =
        arena_printf(a, "conversion webhook for " STR_FMT " returned invalid", STR_ARG(r->from));
    struct str at = arena_printf(a, " at index %zu", i), why, what = STR("converted object");
    if (item->converted->type != JSON_OBJECT || json_get_str(item->converted, "kind").len == 0) {
        AUTO_BUF b = BUF_INIT;
        json_write(item->converted, false, &b);
        struct str shown = arena_str(a, buf_str(&b));
        why = arena_printf(a, "Object 'Kind' is missing in '" STR_FMT "'", STR_ARG(shown));
        if (count == 1) {
            *ret_why = why;
            return false;
        }
    } else if (!check_type(a, r, item->converted, &why)) {
        what = count == 1 ? STR("object") : what;
    } else if (!check_same(a, r, item, &why)) {
        what = count == 1 ? STR("object") : what;
        at = count == 1 ? STR("") : at;
    } else if (!check_meta(a, item, &why)) {
        what = count == 1 ? STR("metadata") : STR("metadata in object");
        at = count == 1 ? STR("") : at;
    } else {
        return true;
    }
    *ret_why = arena_printf(a, STR_FMT " " STR_FMT STR_FMT ": " STR_FMT, STR_ARG(prefix),
                            STR_ARG(what), STR_ARG(at), STR_ARG(why));
    return false;
}

bool review_read(struct arena *a, const struct review *r, struct str answer,
                 struct review_item *items, size_t count, struct str *ret_why,
                 enum review_fault *ret_fault)
{
    struct str why;
    const struct json *objects = objects_of(a, r, answer, &why);
    if (objects == NULL) {
        *ret_fault = REVIEW_MALFORMED;
        *ret_why = arena_printf(a, "conversion webhook for " STR_FMT " failed: " STR_FMT,
                                STR_ARG(r->from), STR_ARG(why));
        return false;
    }
    if (objects->array.count != count) {
        *ret_fault = REVIEW_PARTIAL;
        *ret_why =
            arena_printf(a, "conversion webhook for " STR_FMT " returned %zu objects, expected %zu",
                         STR_ARG(r->from), objects->array.count, count);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        items[i].converted = objects->array.items[i];
        if (!read_object(a, r, items, i, count, ret_why)) {
            *ret_fault = REVIEW_INVALID_OBJECT;
            return false;
        }
    }
    return true;
}
