/* kms_wire.c - see kms_wire.h. */
#include "apiserver/kms_wire.h"

#include "apiserver/wire.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdlib.h>

#define ANNOTATIONS_BYTES_MAX (32u << 10)
#define KEY_ID_BYTES_MAX 1024u
#define SOURCE_BYTES_MAX 1024u

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct field {
    uint32_t number;
    uint64_t value;   /* Of a number, */
    struct str bytes; /* or of bytes. */
};

static bool read_varint(struct str *in, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < in->len && i < 10; i++) {
        uint8_t c = (uint8_t)in->data[i];
        v |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            *in = str_sub(*in, i + 1, in->len);
            *ret = v;
            return true;
        }
    }
    return false;
}

/* E_NOT_FOUND at the end, E_INVALID when it is no message. */
static int next_field(struct str *in, struct field *ret)
{
    uint64_t tag;
    *ret = (struct field){0};
    if (in->len == 0)
        return E_NOT_FOUND;
    if (!read_varint(in, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return E_INVALID;
    ret->number = (uint32_t)(tag >> 3);
    size_t len = (tag & 7) == FIXED64 ? 8 : 4;
    switch (tag & 7) {
    case VARINT:
        return read_varint(in, &ret->value) ? 0 : E_INVALID;
    case BYTES:
        if (!read_varint(in, &ret->value) || ret->value > in->len)
            return E_INVALID;
        len = (size_t)ret->value;
        break;
    case FIXED64:
    case FIXED32:
        break;
    default:
        return E_INVALID;
    }
    if (len > in->len)
        return E_INVALID;
    ret->bytes = str_sub(*in, 0, len);
    *in = str_sub(*in, len, in->len);
    return 0;
}

static int malformed(struct error *err)
{
    return error_set(err, E_INVALID, "proto: cannot parse invalid wire-format data");
}

/* --- bounds ---------------------------------------------------------------------------------- */
int kms_check_key_id(struct str key_id, struct error *err)
{
    if (key_id.len == 0)
        return error_set(err, E_INVALID, "keyID is empty");
    if (key_id.len > KEY_ID_BYTES_MAX)
        return error_set(err, E_INVALID, "keyID is %zu bytes, which exceeds the max size of %u",
                         key_id.len, KEY_ID_BYTES_MAX);
    return 0;
}

/* At least two labels of a name in DNS. */
static bool is_domain(struct str s)
{
    bool dot = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool inner = i != 0 && i + 1 < s.len && s.data[i - 1] != '.' && s.data[i + 1] != '.';
        dot |= c == '.';
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              ((c == '-' || c == '.') && inner)))
            return false;
    }
    return dot;
}

static int check(const struct kms_wrapped *w, struct error *err)
{
    struct error why = {0};
    size_t total = 0;
    if (w->source.len == 0)
        return error_set(err, E_INVALID,
                         "failed to validate encrypted DEK source: encrypted DEK source is empty");
    if (w->source.len > SOURCE_BYTES_MAX)
        return error_set(err, E_INVALID,
                         "failed to validate encrypted DEK source: encrypted DEK source is %zu "
                         "bytes, which exceeds the max size of %u",
                         w->source.len, SOURCE_BYTES_MAX);
    if (kms_check_key_id(w->key_id, &why) != 0)
        return error_set(err, E_INVALID, "failed to validate key id: %s", error_message(&why));
    for (size_t i = 0; i < w->annotation_count; i++) {
        struct str name = wire_bytes(w->annotations[i], 1);
        total += name.len + wire_bytes(w->annotations[i], 2).len;
        if (!is_domain(name))
            return error_set(err, E_INVALID,
                             "failed to validate annotations: annotations: Invalid value: "
                             "\"" STR_FMT "\": should be a domain with at least two segments "
                             "separated by dots",
                             STR_ARG(name));
    }
    if (total > ANNOTATIONS_BYTES_MAX)
        return error_set(err, E_INVALID,
                         "failed to validate annotations: total size of annotations is %zu, which "
                         "exceeds the max size of %u",
                         total, ANNOTATIONS_BYTES_MAX);
    return 0;
}

static void add_annotation(struct arena *a, struct kms_wrapped *w, size_t *cap, struct str entry)
{
    w->annotations =
        arena_grow(a, w->annotations, w->annotation_count, cap, sizeof(*w->annotations));
    w->annotations[w->annotation_count++] = entry;
}

/* --- EncryptedObject ------------------------------------------------------------------------- */
int kms_object_read(struct arena *a, struct str object, struct kms_wrapped *ret,
                    struct str *ret_data, struct error *err)
{
    struct field f;
    size_t cap = 0;
    uint64_t type = 0;
    int code;
    *ret = (struct kms_wrapped){0};
    *ret_data = STR_NULL;
    while ((code = next_field(&object, &f)) == 0) {
        if (f.number == 1)
            *ret_data = f.bytes;
        else if (f.number == 2)
            ret->key_id = f.bytes;
        else if (f.number == 3)
            ret->source = f.bytes;
        else if (f.number == 4)
            add_annotation(a, ret, &cap, f.bytes);
        else if (f.number == 5)
            type = f.value;
    }
    if (code != E_NOT_FOUND)
        return malformed(err);
    if (type > KMS_HKDF_SEED)
        return error_set(err, E_INVALID, "unknown encryptedDEKSourceType: %llu",
                         (unsigned long long)type);
    ret->type = (enum kms_source)type;
    if (ret_data->len == 0)
        return error_set(err, E_INVALID, "encrypted data is empty");
    return check(ret, err);
}

void kms_object_write(const struct kms_wrapped *w, struct str data, struct buf *out)
{
    wire_put_bytes(1, data, out);
    wire_put_bytes(2, w->key_id, out);
    wire_put_bytes(3, w->source, out);
    for (size_t i = 0; i < w->annotation_count; i++)
        wire_put_bytes(4, w->annotations[i], out);
    if (w->type == KMS_HKDF_SEED) {
        buf_put_varint(out, 5 << 3);
        buf_put_varint(out, KMS_HKDF_SEED);
    }
}

static int by_bytes(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

struct str kms_cache_key(struct arena *a, const struct kms_wrapped *w)
{
    AUTO_BUF b = BUF_INIT;
    struct kms_wrapped sorted = *w;
    sorted.annotations = ARENA_ARRAY(a, struct str, w->annotation_count + 1);
    for (size_t i = 0; i < w->annotation_count; i++)
        sorted.annotations[i] = w->annotations[i];
    qsort(sorted.annotations, w->annotation_count, sizeof(struct str), by_bytes);
    kms_object_write(&sorted, STR_NULL, &b);
    return arena_str(a, buf_str(&b));
}

/* --- the plugin's messages ------------------------------------------------------------------- */
int kms_status_read(struct str message, struct kms_status *ret, struct error *err)
{
    struct field f;
    int code;
    *ret = (struct kms_status){0};
    while ((code = next_field(&message, &f)) == 0) {
        if (f.number == 1)
            ret->version = f.bytes;
        else if (f.number == 2)
            ret->healthz = f.bytes;
        else if (f.number == 3)
            ret->key_id = f.bytes;
    }
    return code == E_NOT_FOUND ? 0 : malformed(err);
}

void kms_encrypt_write(struct str plain, struct str uid, struct buf *out)
{
    wire_put_bytes(1, plain, out);
    wire_put_bytes(2, uid, out);
}

int kms_encrypt_read(struct arena *a, struct str message, struct kms_wrapped *ret,
                     struct error *err)
{
    struct field f;
    size_t cap = 0;
    int code;
    *ret = (struct kms_wrapped){.type = KMS_HKDF_SEED};
    while ((code = next_field(&message, &f)) == 0) {
        if (f.number == 1)
            ret->source = f.bytes;
        else if (f.number == 2)
            ret->key_id = f.bytes;
        else if (f.number == 3)
            add_annotation(a, ret, &cap, f.bytes);
    }
    return code == E_NOT_FOUND ? check(ret, err) : malformed(err);
}

void kms_decrypt_write(const struct kms_wrapped *w, struct str uid, struct buf *out)
{
    wire_put_bytes(1, w->source, out);
    wire_put_bytes(2, uid, out);
    wire_put_bytes(3, w->key_id, out);
    for (size_t i = 0; i < w->annotation_count; i++)
        wire_put_bytes(4, w->annotations[i], out);
}

int kms_decrypt_read(struct str message, struct str *ret_plain, struct error *err)
{
    struct field f;
    int code;
    *ret_plain = STR_NULL;
    while ((code = next_field(&message, &f)) == 0)
        if (f.number == 1)
            *ret_plain = f.bytes;
    return code == E_NOT_FOUND ? 0 : malformed(err);
}
