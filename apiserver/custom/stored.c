/* stored.c - see stored.h. */
#include "apiserver/custom/stored.h"

#include "apiserver/custom/conversion.h"
#include "apiserver/custom/definition.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/json_lex.h"
#include "lib/api/jsonpath.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <inttypes.h>
#include <stdlib.h>

#define LABELS_MAX 256u

/* --- looking inside ------------------------------------------------------------------ */
/* The text of a member of the object at l. False: there is none. */
static bool find_member(struct json_lex *l, const char *name, struct str *ret)
{
    struct str key, text;
    if (json_lex_peek(l) != '{')
        return false;
    l->p++;
    for (bool first = true; json_lex_next(l, '}', first) > 0; first = false) {
        if (json_lex_key_view(l, &key) != 0 || json_lex_skip(l, 0, &text) != 0)
            return false;
        if (str_eqc(key, name)) {
            *ret = text;
            return true;
        }
    }
    return false;
}

static bool member_of(struct arena *a, struct str object, const char *name, struct str *ret)
{
    struct json_lex l;
    struct error err = {0};
    json_lex_init(&l, a, object, &err);
    return find_member(&l, name, ret);
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

static size_t read_labels(struct arena *a, struct str text, struct api_str_entry *ret)
{
    struct json_lex l;
    struct error err = {0};
    size_t n = 0;
    json_lex_init(&l, a, text, &err);
    if (json_lex_peek(&l) != '{')
        return 0;
    l.p++;
    for (bool first = true; n < LABELS_MAX && json_lex_next(&l, '}', first) > 0; first = false) {
        if (json_lex_key(&l, &ret[n].key) != 0 || json_lex_peek(&l) != '"' ||
            json_lex_string(&l, &ret[n].value) != 0)
            break;
        n++;
    }
    qsort(ret, n, sizeof(*ret), by_key);
    return n;
}

bool custom_labels_match(const struct api_label_selector *s, const struct resource *r,
                         struct str value)
{
    AUTO_ARENA *a = arena_new(0);
    struct str meta, labels;
    void *msg;
    if (custom_stored_converts(r, value)) { /* Which labels it has is the webhook's say. */
        if (custom_stored_decode(a, r, value, 0, &msg, NULL) != 0)
            return false;
        const struct meta_v1_object_meta *m = &((const struct api_custom *)msg)->metadata;
        return api_label_selector_matches(s, m->labels, m->labels_count);
    }
    struct api_str_entry entries[LABELS_MAX];
    size_t n = 0;
    if (member_of(a, value, "metadata", &meta) && member_of(a, meta, "labels", &labels))
        n = read_labels(a, labels, entries);
    return api_label_selector_matches(s, entries, n);
}

/* --- decoding and encoding --------------------------------------------------------------- */
/* The version whose object this is. */
static const struct custom_version *version_of(struct arena *a, const struct custom_definition *d,
                                               struct str value)
{
    struct str text;
    if (str_has_prefix(value, d->storage->head) || !member_of(a, value, "apiVersion", &text) ||
        text.len < 2)
        return d->storage;
    for (size_t i = 0; i < d->count; i++)
        if (str_eqc(str_sub(text, 1, text.len - 2), d->versions[i].kind.api_version))
            return &d->versions[i];
    return d->storage;
}

int custom_stored_read(struct arena *a, const struct custom_definition *d, struct str value,
                       int64_t rev, struct api_custom **ret, struct error *err)
{
    if (encryption_check(value, err) != 0)
        return E_INTERNAL;
    const struct custom_version *v = version_of(a, d, value);
    struct api_custom *x = api_msg_new(a, &v->type.msg);
    int code = api_json_decode(a, &v->type.msg, value, API_LENIENT, NULL, x, err);
    if (code != 0)
        return code;
    x->metadata.resource_version = rev > 0 ? arena_printf(a, "%" PRId64, rev) : STR_NULL;
    *ret = x;
    return 0;
}

bool custom_stored_converts(const struct resource *r, struct str value)
{
    if (!conversions_needed(r) || str_has_prefix(value, r->custom->head))
        return false;
    AUTO_ARENA *a = arena_new(0);
    return version_of(a, r->custom->definition, value) != r->custom;
}

int custom_stored_decode(struct arena *a, const struct resource *r, struct str value, int64_t rev,
                         void **ret, struct error *err)
{
    struct api_custom *x;
    int code = custom_stored_read(a, r->custom->definition, value, rev, &x, err);
    if (code == 0)
        *ret = custom_convert(a, x, r->kind->msg);
    return code;
}

void custom_stored_encode(const struct resource *r, const void *msg, struct buf *out)
{
    const struct api_kind *k = &r->custom->definition->storage->kind;
    AUTO_ARENA *a = r->kind != k ? arena_new(0) : NULL;
    if (a != NULL)
        msg = custom_convert(a, api_msg_clone(a, r->kind->msg, msg), k->msg);
    api_json_encode(k->msg, msg, str_of(k->api_version), str_of(k->kind), out);
}

static int encode_metadata(struct arena *a, const struct accepted *f, const struct resource *r,
                           struct str value, int64_t rev, struct buf *out, struct error *err)
{
    struct str text = STR("{}");
    struct meta_v1_object_meta m = {0};
    void *msg;
    int code;
    if (custom_stored_converts(r, value)) {
        code = custom_stored_decode(a, r, value, rev, &msg, err);
        if (code == 0)
            m = ((const struct api_custom *)msg)->metadata;
    } else {
        (void)member_of(a, value, "metadata", &text);
        code = api_json_decode(a, &meta_v1_object_meta_msg, text, API_LENIENT, NULL, &m, err);
    }
    if (code != 0)
        return code;
    m.resource_version = arena_printf(a, "%" PRId64, rev);
    encode_partial_meta(f, &m, out);
    return 0;
}

int custom_encode_stored(struct arena *a, const struct accepted *f, const struct resource *r,
                         struct str value, int64_t rev, struct buf *out, struct error *err)
{
    const struct custom_definition *d = r->custom->definition;
    if (f->transform == AS_PARTIAL || f->transform == AS_PARTIAL_LIST)
        return encode_metadata(a, f, r, value, rev, out, err);
    if (r->custom == d->storage && rev >= d->since_rev && str_has_prefix(value, d->storage->head)) {
        buf_reserve(out, value.len + 48);
        buf_append_str(out, d->storage->head);
        buf_printf(out, "\"resourceVersion\":\"%" PRId64 "\",", rev);
        buf_append_str(out, str_sub(value, d->storage->head.len, value.len));
        return 0;
    }
    void *msg;
    int code = custom_stored_decode(a, r, value, rev, &msg, err);
    if (code != 0)
        return code;
    api_json_encode(r->kind->msg, msg, str_of(r->kind->api_version), str_of(r->kind->kind), out);
    return 0;
}

struct str custom_field(struct arena *a, const struct jsonpath *path, const void *msg)
{
    const struct api_custom *x = msg;
    const struct json *v = jsonpath_first(a, path, x->content);
    AUTO_BUF b = BUF_INIT;
    if (v == NULL || v->type == JSON_NULL)
        return STR("");
    if (v->type == JSON_STRING)
        return v->string;
    json_write(v, true, &b);
    return arena_str(a, buf_str(&b));
}
