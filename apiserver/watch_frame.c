/* watch_frame.c - see watch_frame.h.
 *
 * JSON: {"type":"ADDED","object":{...}} and a newline. Protobuf: four bytes of
 * length, then a WatchEvent whose object holds an enveloped object. */
#include "apiserver/watch_frame.h"

#include "apiserver/encode.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/bytes.h"

#include <inttypes.h>

void frame_cache_clear(struct frame_cache *c)
{
    for (size_t i = 0; i < c->count; i++)
        net_bytes_unref(c->items[i].bytes);
    c->count = 0;
}

static bool same_form(const struct watch_form *x, const struct watch_form *y)
{
    return x->res == y->res && x->accept.media == y->accept.media &&
           x->accept.transform == y->accept.transform && x->include == y->include &&
           strcmp(x->accept.version, y->accept.version) == 0;
}

/* object is the encoded object: JSON text, or an enveloped protobuf. */
static struct net_bytes *wrap(enum media media, const char *type, struct str object)
{
    struct buf out = BUF_INIT;
    if (media != MEDIA_PROTOBUF) {
        buf_reserve(&out, object.len + 48);
        buf_printf(&out, "{\"type\":\"%s\",\"object\":", type);
        buf_append_str(&out, object);
        buf_puts(&out, "}\n");
        return net_bytes_steal(&out);
    }
    AUTO_BUF raw = BUF_INIT; /* RawExtension{raw=1} */
    buf_putc(&raw, (1 << 3) | 2);
    buf_put_varint(&raw, object.len);
    AUTO_BUF event = BUF_INIT; /* WatchEvent{type=1, object=2} */
    size_t n = strlen(type);
    buf_putc(&event, (1 << 3) | 2);
    buf_put_varint(&event, n);
    buf_append(&event, type, n);
    buf_putc(&event, (2 << 3) | 2);
    buf_put_varint(&event, raw.len + object.len);
    buf_append_str(&event, buf_str(&raw));
    buf_reserve(&out, FRAME_LENGTH_BYTES + event.len + object.len);
    buf_put_be32(&out, (uint32_t)(event.len + object.len));
    buf_append_str(&out, buf_str(&event));
    buf_append_str(&out, object);
    return net_bytes_steal(&out);
}

static void table_frame_open(const struct watch_form *f, int64_t rev, bool columns, struct buf *out)
{
    table_open(&f->accept, out);
    buf_printf(out, ",\"metadata\":{\"resourceVersion\":\"%" PRId64 "\"},", rev);
    if (columns)
        table_columns(f->res, out);
    else
        buf_puts(out, "\"columnDefinitions\":null");
    buf_puts(out, ",\"rows\":[");
}

static int encode_event(const struct watch_form *f, struct str value, int64_t rev, bool columns,
                        int64_t now_ns, struct buf *out, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    if (f->accept.transform != AS_TABLE) {
        struct accepted form = f->accept;
        if (form.transform == AS_PARTIAL_LIST)
            form.transform = AS_PARTIAL;
        return encode_stored(a, &form, f->res, value, rev, false, out, err);
    }
    void *msg;
    int code = stored_decode(a, f->res, value, rev, &msg, err);
    if (code != 0)
        return code;
    table_frame_open(f, rev, columns, out);
    table_row_write(a, &f->accept, f->res, msg, f->include, now_ns, out);
    buf_puts(out, "]}");
    return 0;
}

struct net_bytes *frame_object(struct frame_cache *c, const struct watch_form *f, const char *type,
                               struct str value, int64_t rev, bool columns, int64_t now_ns)
{
    for (size_t i = 0; c != NULL && i < c->count; i++)
        if (c->items[i].type == type && c->items[i].columns == columns &&
            same_form(&c->items[i].form, f))
            return net_bytes_ref(c->items[i].bytes);
    AUTO_BUF object = BUF_INIT;
    struct error err = {0};
    if (encode_event(f, value, rev, columns, now_ns, &object, &err) != 0) {
        log_error("watch of %s: %s", f->res->kind->resource, error_message(&err));
        return NULL;
    }
    struct net_bytes *b = wrap(f->accept.media, type, buf_str(&object));
    if (c != NULL && c->count < FRAMES_MAX) {
        c->items[c->count].form = *f;
        c->items[c->count].type = type;
        c->items[c->count].columns = columns;
        c->items[c->count++].bytes = net_bytes_ref(b);
    }
    return b;
}

struct net_bytes *frame_bookmark(const struct watch_form *f, int64_t rev, bool initial_end,
                                 bool columns)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF object = BUF_INIT;
    struct api_str_entry end = {STR("k8s.io/initial-events-end"), STR("true")};
    struct meta_v1_object_meta meta = {.resource_version = arena_printf(a, "%" PRId64, rev)};
    if (initial_end) {
        meta.annotations = &end;
        meta.annotations_count = 1;
    }
    if (f->accept.transform == AS_TABLE) {
        table_frame_open(f, rev, columns, &object);
        buf_puts(&object, "{\"cells\":[],\"object\":");
        encode_partial_json(&f->accept, &meta, &object);
        buf_puts(&object, "}]}");
    } else if (f->accept.transform != AS_OBJECT) {
        encode_partial_meta(&f->accept, &meta, &object);
    } else {
        const struct api_kind *k = f->res->kind;
        void *msg = api_msg_new(a, k->msg);
        *api_meta_of(k, msg) = meta;
        if (f->accept.media == MEDIA_PROTOBUF)
            api_envelope_encode(k->msg, msg, str_of(k->api_version), str_of(k->kind), &object);
        else
            api_json_encode(k->msg, msg, str_of(k->api_version), str_of(k->kind), &object);
    }
    return wrap(f->accept.media, "BOOKMARK", buf_str(&object));
}

struct net_bytes *frame_error(const struct watch_form *f, const struct meta_v1_status *s)
{
    AUTO_BUF object = BUF_INIT;
    if (f->accept.media == MEDIA_PROTOBUF)
        api_envelope_encode(&meta_v1_status_msg, s, STR("v1"), STR("Status"), &object);
    else
        api_json_encode(&meta_v1_status_msg, s, STR("v1"), STR("Status"), &object);
    return wrap(f->accept.media, "ERROR", buf_str(&object));
}
