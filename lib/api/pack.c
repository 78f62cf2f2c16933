/* pack.c - see pack.h. The compressor is LZ4 with the sample as its dictionary. */
#include "lib/api/pack.h"

#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/owner.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/map.h"

#include <lz4.h>

#define SAMPLE_MAX 65536u /* What LZ4 looks back. */
#define MISSES_MAX 8u     /* Packed to more than half before another sample is taken. */
#define OBJECT_MAX (1u << 30)
#define STACK_BYTES 8192u

struct sample {
    uint32_t refs; /* The packer's, and one of each packed object. */
    uint32_t misses;
    int len;
    char bytes[];
};

struct compressed {
    struct api_pack pack;
    struct sample *sample; /* NULL: compressed alone. */
    uint32_t arena_bytes;  /* What the struct takes. */
    int raw_len, len;
    char bytes[];
};

struct compressor {
    struct api_packer packer;
    struct map samples;  /* uid of the controller, or namespace -> struct sample */
    size_t samples_kept; /* At the last sweep. */
    bool by_namespace;
    LZ4_stream_t *stream;
    struct buf raw, packed;
};

static void sample_unref(struct sample *s)
{
    if (s != NULL && --s->refs == 0)
        free(s);
}

static void close_compressor(struct api_packer *packer)
{
    struct compressor *p = (struct compressor *)packer;
    size_t pos = 0;
    void *s;
    while (map_next(&p->samples, &pos, NULL, &s))
        sample_unref(s);
    map_done(&p->samples);
    LZ4_freeStream(p->stream);
    buf_done(&p->raw);
    buf_done(&p->packed);
    free(p);
}

static void free_compressed(struct api_pack *pack)
{
    struct compressed *k = (struct compressed *)pack;
    sample_unref(k->sample);
    free(k);
}

static size_t bytes_of(const struct api_pack *pack)
{
    return sizeof(struct compressed) + (size_t)((const struct compressed *)pack)->len;
}

/* --- samples ------------------------------------------------------------------------------ */

static struct str family_of(const struct compressor *p, const struct meta_v1_object_meta *m)
{
    const struct meta_v1_owner_reference *r = p->by_namespace ? NULL : owner_controller(m);
    return r != NULL ? r->uid : m->namespace;
}

/* Those of controllers that have no objects any more. */
static void sweep(struct compressor *p)
{
    size_t pos = 0;
    struct str key;
    void *v;
    while (map_next(&p->samples, &pos, &key, &v)) {
        struct sample *s = v;
        if (s->refs != 1)
            continue;
        map_remove(&p->samples, key);
        sample_unref(s);
    }
    p->samples_kept = p->samples.count;
}

static struct sample *new_sample(struct compressor *p, struct str family, struct str raw)
{
    if (p->samples.count > 2 * p->samples_kept + 64)
        sweep(p);
    struct sample *s = xmalloc(sizeof(*s) + raw.len);
    s->refs = 1;
    s->misses = 0;
    s->len = (int)raw.len;
    memcpy(s->bytes, raw.data, raw.len);
    sample_unref(map_set(&p->samples, family, s));
    return s;
}

/* The sample to pack with. */
static struct sample *sample_for(struct compressor *p, struct str family, struct str raw)
{
    struct sample *s = map_get(&p->samples, family);
    bool fits = raw.len != 0 && raw.len <= SAMPLE_MAX;
    if (fits && (s == NULL || s->misses >= MISSES_MAX))
        s = new_sample(p, family, raw);
    return s;
}

/* --- packing ------------------------------------------------------------------------------- */

static int compress(struct compressor *p, const struct sample *s, struct str raw)
{
    int bound = LZ4_compressBound((int)raw.len);
    buf_clear(&p->packed);
    char *out = (char *)buf_reserve(&p->packed, (size_t)bound);
    LZ4_resetStream_fast(p->stream);
    if (s != NULL)
        LZ4_loadDict(p->stream, s->bytes, s->len);
    int len = LZ4_compress_fast_continue(p->stream, raw.data, out, (int)raw.len, bound, 1);
    ASSERT(len > 0 || raw.len == 0);
    return len;
}

static struct api_pack *pack_of(struct api_packer *packer, const struct api_object *o)
{
    struct compressor *p = (struct compressor *)packer;
    buf_clear(&p->raw);
    api_pb_encode(o->kind->msg, o->msg, &p->raw);
    struct str raw = buf_str(&p->raw);
    if (raw.len > OBJECT_MAX)
        PANIC("an object of %zu bytes", raw.len);
    struct sample *s = sample_for(p, family_of(p, api_object_meta(o)), raw);
    int len = compress(p, s, raw);
    if (s != NULL && (size_t)len > raw.len / 2)
        s->misses++;
    struct compressed *pack = xmalloc(sizeof(*pack) + (size_t)len);
    pack->pack.how = packer->how;
    pack->sample = s;
    if (s != NULL)
        s->refs++;
    pack->raw_len = (int)raw.len;
    pack->len = len;
    pack->arena_bytes = (uint32_t)MIN_OF(arena_used(o->arena), (size_t)UINT32_MAX);
    memcpy(pack->bytes, p->packed.data, (size_t)len);
    return &pack->pack;
}

static void decode(struct api_object *o, const struct compressed *k, char *raw)
{
    const struct sample *s = k->sample;
    int n = LZ4_decompress_safe_usingDict(k->bytes, raw, k->len, k->raw_len,
                                          s != NULL ? s->bytes : NULL, s != NULL ? s->len : 0);
    ASSERT_CMP(n, ==, k->raw_len);
    struct error err = {0};
    o->arena = arena_new(k->arena_bytes);
    o->msg = api_msg_new(o->arena, o->kind->msg);
    if (api_pb_decode(o->arena, o->kind->msg, str_n(raw, (size_t)n), o->msg, &err) != 0)
        PANIC("a packed %s: %s", o->kind->kind, error_message(&err));
}

static void unpack(struct api_pack *pack, struct api_object *o)
{
    struct compressed *k = (struct compressed *)pack;
    char small[STACK_BYTES];
    if ((size_t)k->raw_len <= sizeof(small)) {
        decode(o, k, small);
    } else {
        char *raw = xmalloc((size_t)k->raw_len);
        decode(o, k, raw);
        free(raw);
    }
    /* What it took before may have held what was dropped since. */
    k->arena_bytes = (uint32_t)MIN_OF(arena_used(o->arena), (size_t)UINT32_MAX);
}

struct api_packer *api_packer_new(void)
{
    static const struct api_packing how = {.pack = pack_of,
                                           .unpack = unpack,
                                           .free = free_compressed,
                                           .bytes = bytes_of,
                                           .close = close_compressor};
    struct compressor *p = xzalloc(sizeof(*p));
    p->packer.how = &how;
    map_init(&p->samples);
    p->stream = LZ4_createStream();
    if (p->stream == NULL)
        PANIC("no memory for a compressor");
    return &p->packer;
}

struct api_packer *api_packer_new_by_namespace(void)
{
    struct api_packer *p = api_packer_new();
    ((struct compressor *)p)->by_namespace = true;
    return p;
}

/* --- any way of packing ---------------------------------------------------------------------- */

void api_packer_free(struct api_packer *p)
{
    if (p != NULL)
        p->how->close(p);
}

void api_pack_free(struct api_pack *pack)
{
    if (pack != NULL)
        pack->how->free(pack);
}

bool api_kind_packs(const struct api_kind *kind)
{
    return kind->msg->special == API_PLAIN && kind->meta_offset != UINT32_MAX;
}

size_t api_object_packed_bytes(const struct api_object *o)
{
    return o->pack != NULL ? o->pack->how->bytes(o->pack) : 0;
}

void api_object_pack(struct api_packer *p, struct api_object *o)
{
    if (o->msg == NULL)
        return;
    if (o->pack == NULL)
        o->pack = p->how->pack(p, o);
    arena_free(o->arena);
    o->arena = NULL;
    o->msg = NULL;
}

void api_object_unpack(struct api_object *o)
{
    if (o->msg != NULL)
        return;
    ASSERT(o->pack != NULL);
    o->pack->how->unpack(o->pack, o);
}
