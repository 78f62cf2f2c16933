/* encode.c - see encode.h. */
#include "apiserver/encode.h"

#include "api/meta_v1.h"
#include "apiserver/custom/stored.h"
#include "apiserver/encryption.h"
#include "apiserver/wire.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <inttypes.h>
#include <string.h>

/* The form in which we store: one byte for the length of the type, the object, and two
 * empty texts behind it. Anything else is for the full parser. */
static bool raw_of_ours(struct str value, struct str *ret)
{
    static const char TAIL[] = {0x1a, 0, 0x22, 0};
    const uint8_t *p = (const uint8_t *)value.data;
    size_t at = 6, n = 0;
    if (value.len < at || memcmp(p, API_ENVELOPE_MAGIC, 4) != 0 || p[4] != 0x0a || p[5] >= 0x80)
        return false;
    at += p[5];
    if (at >= value.len || p[at++] != 0x12)
        return false;
    for (unsigned shift = 0; shift < 35 && at < value.len; shift += 7) {
        n |= (size_t)(p[at] & 0x7f) << shift;
        if (p[at++] >= 0x80)
            continue;
        if (value.len - at != n + sizeof(TAIL) || memcmp(p + at + n, TAIL, sizeof(TAIL)) != 0)
            return false;
        *ret = str_n(value.data + at, n);
        return true;
    }
    return false;
}

int stored_raw(struct str value, struct str *ret_raw, struct error *err)
{
    struct str api_version, kind;
    if (raw_of_ours(value, ret_raw))
        return 0;
    if (encryption_check(value, err) != 0)
        return E_INTERNAL;
    return api_envelope_open(value, &api_version, &kind, ret_raw, err);
}

int stored_decode(struct arena *a, const struct resource *r, struct str value, int64_t rev,
                  void **ret, struct error *err)
{
    struct str raw;
    if (r->custom != NULL)
        return custom_stored_decode(a, r, value, rev, ret, err);
    int code = stored_raw(value, &raw, err);
    if (code != 0)
        return code;
    void *msg = api_msg_new(a, r->storage->msg);
    code = api_pb_decode(a, r->storage->msg, raw, msg, err);
    if (code != 0)
        return code;
    struct meta_v1_object_meta *m = api_meta_of(r->storage, msg);
    if (m != NULL && rev > 0)
        m->resource_version = arena_printf(a, "%" PRId64, rev);
    *ret = msg;
    return 0;
}

void stored_encode(const struct resource *r, const void *msg, struct buf *out)
{
    if (r->custom != NULL)
        custom_stored_encode(r, msg, out);
    else
        api_envelope_encode(r->storage->msg, msg, str_of(r->storage->api_version),
                            str_of(r->storage->kind), out);
}

int encode_reformat(struct arena *a, const struct accepted *f, struct str json, struct buf *out,
                    struct error *err)
{
    struct json *tree;
    int code = json_parse(a, json, &tree, err);
    if (code != 0)
        return code;
    if (f->media == MEDIA_YAML)
        api_yaml_write(tree, out);
    else
        json_write_indent(tree, false, 2, out);
    return 0;
}

void encode_object(struct arena *a, const struct accepted *f, const struct api_kind *kind,
                   const void *msg, struct buf *out)
{
    struct str api_version = str_of(kind->api_version), name = str_of(kind->kind);
    if (f->media == MEDIA_PROTOBUF) {
        api_envelope_encode(kind->msg, msg, api_version, name, out);
        return;
    }
    if (f->media == MEDIA_JSON && !f->pretty) {
        api_json_encode(kind->msg, msg, api_version, name, out);
        buf_putc(out, '\n');
        return;
    }
    AUTO_BUF json = BUF_INIT;
    api_json_encode(kind->msg, msg, api_version, name, &json);
    if (encode_reformat(a, f, buf_str(&json), out, NULL) != 0)
        buf_append_str(out, buf_str(&json));
    if (f->media == MEDIA_JSON)
        buf_putc(out, '\n');
}

void encode_partial_json(const struct accepted *f, const struct meta_v1_object_meta *m,
                         struct buf *out)
{
    struct meta_v1_partial_object_metadata p = {.metadata = *m};
    api_json_encode(&meta_v1_partial_object_metadata_msg, &p,
                    strcmp(f->version, "v1beta1") == 0 ? STR("meta.k8s.io/v1beta1")
                                                       : STR("meta.k8s.io/v1"),
                    STR("PartialObjectMetadata"), out);
}

void encode_partial_meta(const struct accepted *f, const struct meta_v1_object_meta *m,
                         struct buf *out)
{
    if (f->media != MEDIA_PROTOBUF) {
        encode_partial_json(f, m, out);
        return;
    }
    struct meta_v1_partial_object_metadata p = {.metadata = *m};
    api_envelope_encode(&meta_v1_partial_object_metadata_msg, &p,
                        strcmp(f->version, "v1beta1") == 0 ? STR("meta.k8s.io/v1beta1")
                                                           : STR("meta.k8s.io/v1"),
                        STR("PartialObjectMetadata"), out);
}

/* Stored bytes with the version spliced in behind them. */
static void splice(struct str raw, int64_t rev, struct buf *out)
{
    buf_append_str(out, raw);
    wire_append_rev(out, rev);
}

static int encode_partial(const struct accepted *f, struct str raw, int64_t rev, bool item,
                          struct buf *out, struct error *err)
{
    AUTO_BUF wire = BUF_INIT;
    struct str meta = wire_bytes(raw, WIRE_OBJECT_META);
    struct str version =
        strcmp(f->version, "v1beta1") == 0 ? STR("meta.k8s.io/v1beta1") : STR("meta.k8s.io/v1");
    buf_putc(&wire, (WIRE_OBJECT_META << 3) | 2);
    buf_put_varint(&wire, meta.len);
    buf_append_str(&wire, meta);
    wire_append_rev(&wire, rev);
    if (f->media == MEDIA_PROTOBUF) {
        if (item)
            buf_append_str(out, buf_str(&wire));
        else
            api_envelope_write(version, STR("PartialObjectMetadata"), buf_str(&wire), out);
        return 0;
    }
    /* Items of a metadata list carry their TypeMeta, as upstream's do. */
    return api_json_from_pb(&meta_v1_partial_object_metadata_msg, buf_str(&wire), version,
                            STR("PartialObjectMetadata"), out, err);
}

/* Served in another version than stored, or defaulted when read. */
static int encode_converted(struct arena *a, const struct accepted *f, const struct resource *r,
                            struct str value, int64_t rev, bool item, struct buf *out,
                            struct error *err)
{
    void *msg;
    int code = stored_decode(a, r, value, rev, &msg, err);
    if (code != 0)
        return code;
    msg = registry_from_storage(a, r, msg);
    struct str api_version = item ? STR_NULL : str_of(r->kind->api_version);
    struct str kind = item ? STR_NULL : str_of(r->kind->kind);
    if (f->media != MEDIA_PROTOBUF)
        api_json_encode(r->kind->msg, msg, api_version, kind, out);
    else if (item)
        api_pb_encode(r->kind->msg, msg, out);
    else
        api_envelope_encode(r->kind->msg, msg, api_version, kind, out);
    return 0;
}

int encode_stored(struct arena *a, const struct accepted *f, const struct resource *r,
                  struct str value, int64_t rev, bool item, struct buf *out, struct error *err)
{
    struct str raw;
    if (r->custom != NULL)
        return custom_encode_stored(a, f, r, value, rev, out, err);
    int code = stored_raw(value, &raw, err);
    if (code != 0)
        return code;
    if (f->transform == AS_PARTIAL || f->transform == AS_PARTIAL_LIST)
        return encode_partial(f, raw, rev, item, out, err);
    if (r->kind != r->storage)
        return encode_converted(a, f, r, value, rev, item, out, err);
    if (f->media == MEDIA_PROTOBUF && item) {
        splice(raw, rev, out);
        return 0;
    }
    AUTO_BUF wire = BUF_INIT;
    buf_reserve(&wire, raw.len + 32);
    splice(raw, rev, &wire);
    struct str api_version = str_of(r->kind->api_version), kind = str_of(r->kind->kind);
    if (f->media == MEDIA_PROTOBUF) {
        api_envelope_write(api_version, kind, buf_str(&wire), out);
        return 0;
    }
    return api_json_from_pb(r->kind->msg, buf_str(&wire), item ? STR_NULL : api_version,
                            item ? STR_NULL : kind, out, err);
}

static const struct api_kind *kind_status(void)
{
    static _Atomic(const struct api_kind *) cached;
    const struct api_kind *k = atomic_load(&cached);
    if (k == NULL) {
        k = api_kind_by_gvk(STR(""), STR("v1"), STR("Status"));
        ASSERT(k != NULL);
        atomic_store(&cached, k);
    }
    return k;
}

void encode_status(struct arena *a, const struct accepted *f, struct meta_v1_status *s,
                   struct buf *out)
{
    encode_object(a, f, kind_status(), s, out);
}
