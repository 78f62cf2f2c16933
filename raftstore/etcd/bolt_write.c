/* bolt_write.c - see bolt_write.h. Pure.
 *
 *   page 0, 1  meta            page 3  the root bucket: a leaf that names the others
 *   page 2     freelist, empty page 4- bucket by bucket: leaves in order of keys, then
 *                                      the branches over them, level by level, the root last
 *
 * A node is one page, or, when a single item is larger, as many as it takes. */
#include "raftstore/etcd/bolt_write.h"

#include "lib/base/buf.h"
#include "raftstore/etcd/bolt_format.h"

#define FREELIST_PAGE 2
#define ROOT_PAGE 3
#define FIRST_PAGE 4
#define LEVELS_MAX 16

/* A leaf or branch: where it stands, its first item or child, and the length of its first
 * key, which the branch above repeats: to ask for it again would cost a look at the item. */
struct node {
    uint64_t page;
    uint64_t first;
    size_t key_bytes;
};

struct level {
    struct node *nodes;
    uint64_t count, cap;
};

struct bucket {
    struct bolt_source source;
    struct level levels[LEVELS_MAX]; /* The leaves first. */
    uint32_t height;
    uint64_t root; /* Page; 0: empty, stands inline. */
};

struct bolt_writer {
    struct bucket buckets[BOLT_SOURCES_MAX];
    size_t count;
    uint64_t pages;

    /* The layout: at this bucket, level and item; the open node's bytes and items. */
    size_t at;
    uint64_t item;
    size_t fill;
    uint64_t held;
    bool ready;

    /* The reading. */
    struct buf out;
    size_t out_bucket;
    uint32_t out_level;
    uint64_t out_node;
    uint8_t stage;
};

struct bolt_writer *bolt_writer_new(const struct bolt_source *sources, size_t count)
{
    ASSERT(count <= BOLT_SOURCES_MAX);
    struct bolt_writer *w = xzalloc(sizeof(*w));
    w->count = count;
    w->pages = FIRST_PAGE;
    for (size_t i = 0; i < count; i++)
        w->buckets[i].source = sources[i];
    return w;
}

void bolt_writer_free(struct bolt_writer *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->count; i++)
        for (size_t j = 0; j < LEVELS_MAX; j++)
            free(w->buckets[i].levels[j].nodes);
    buf_done(&w->out);
    free(w);
}

/* --- layout --------------------------------------------------------------------------------- */

static void open_node(struct bolt_writer *w, struct level *l, uint64_t first, size_t key_bytes)
{
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? l->cap * 2 : 64;
        l->nodes = xrealloc(l->nodes, l->cap * sizeof(l->nodes[0]));
    }
    l->nodes[l->count++] = (struct node){w->pages, first, key_bytes};
    w->fill = BOLT_PAGE_HEAD;
    w->held = 0;
}

static uint64_t pages_of(size_t bytes)
{
    return (bytes + BOLT_PAGE_BYTES - 1) / BOLT_PAGE_BYTES;
}

static void close_node(struct bolt_writer *w)
{
    w->pages += pages_of(w->fill);
}

/* Puts the next item of a level into the open node, or into a new one. bytes: all it
 * takes, its key included. */
static void place(struct bolt_writer *w, struct level *l, uint64_t index, size_t bytes,
                  size_t key_bytes)
{
    bool fits = w->fill + bytes <= BOLT_PAGE_BYTES && w->held < BOLT_COUNT_MAX;
    if (l->count == 0) {
        open_node(w, l, index, key_bytes);
    } else if (!fits) {
        close_node(w);
        open_node(w, l, index, key_bytes);
    }
    w->fill += bytes;
    w->held++;
}

static uint64_t first_item(const struct bucket *b, uint32_t level, uint64_t index)
{
    for (uint32_t l = level; l > 0; l--)
        index = b->levels[l].nodes[index].first;
    return b->levels[0].nodes[index].first;
}

/* The branches over the leaves: few enough to be laid out in one go. */
static void lay_branches(struct bolt_writer *w, struct bucket *b)
{
    b->height = 1;
    while (b->levels[b->height - 1].count > 1) {
        ASSERT(b->height < LEVELS_MAX);
        struct level *l = &b->levels[b->height];
        const struct level *below = &b->levels[b->height - 1];
        for (uint64_t i = 0; i < below->count; i++) {
            size_t key = below->nodes[i].key_bytes;
            place(w, l, i, BOLT_BRANCH_ELEMENT + key, key);
        }
        close_node(w);
        b->height++;
    }
    b->root = b->levels[b->height - 1].nodes[0].page;
}

static void measure(const struct bolt_source *s, uint64_t item, size_t *ret_key, size_t *ret_value)
{
    if (s->measure != NULL) {
        s->measure(s->arg, item, ret_key, ret_value);
        return;
    }
    AUTO_BUF b = BUF_INIT;
    s->key(s->arg, item, &b);
    *ret_key = b.len;
    s->value(s->arg, item, &b);
    *ret_value = b.len - *ret_key;
}

bool bolt_writer_layout(struct bolt_writer *w, size_t budget)
{
    for (; budget > 0 && w->at < w->count; budget--) {
        struct bucket *b = &w->buckets[w->at];
        if (w->item < b->source.count) {
            size_t key, value;
            measure(&b->source, w->item, &key, &value);
            place(w, &b->levels[0], w->item++, BOLT_LEAF_ELEMENT + key + value, key);
            continue;
        }
        if (w->item > 0) {
            close_node(w);
            lay_branches(w, b);
        }
        w->item = 0;
        w->at++;
    }
    w->ready = w->at == w->count;
    return !w->ready;
}

uint64_t bolt_writer_size(const struct bolt_writer *w)
{
    ASSERT(w->ready);
    return w->pages * BOLT_PAGE_BYTES;
}

/* --- pages ---------------------------------------------------------------------------------- */

static void put_le16(uint8_t *p, uint64_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put_le32(uint8_t *p, uint64_t v)
{
    put_le16(p, v);
    put_le16(p + 2, v >> 16);
}

/* Starts a page with `bytes` of zeroes; elements are filled in, content is appended. */
static void begin_page(struct bolt_writer *w, uint64_t id, unsigned flags, uint64_t count,
                       size_t bytes)
{
    buf_put_le64(&w->out, id);
    buf_put_le16(&w->out, (uint16_t)flags);
    buf_put_le16(&w->out, (uint16_t)count);
    buf_put_le32(&w->out, 0);
    memset(buf_reserve(&w->out, bytes), 0, bytes);
    buf_commit(&w->out, bytes);
}

/* Fills the last page up; the head says how many there are. from: where the node begins. */
static void end_page(struct bolt_writer *w, size_t from)
{
    size_t bytes = w->out.len - from;
    uint64_t pages = pages_of(bytes);
    size_t rest = (size_t)pages * BOLT_PAGE_BYTES - bytes;
    memset(buf_reserve(&w->out, rest), 0, rest);
    buf_commit(&w->out, rest);
    put_le32(w->out.data + from + 12, pages - 1);
}

static void put_meta(struct bolt_writer *w, uint64_t page)
{
    size_t from = w->out.len;
    begin_page(w, page, BOLT_PAGE_META, 0, 0);
    size_t meta = w->out.len;
    buf_put_le32(&w->out, BOLT_MAGIC);
    buf_put_le32(&w->out, BOLT_VERSION);
    buf_put_le32(&w->out, BOLT_PAGE_BYTES);
    buf_put_le32(&w->out, 0);
    buf_put_le64(&w->out, ROOT_PAGE);
    buf_put_le64(&w->out, 0);
    buf_put_le64(&w->out, FREELIST_PAGE);
    buf_put_le64(&w->out, w->pages);
    buf_put_le64(&w->out, 2 + page); /* The transaction: page 0 takes the even ones. */
    buf_put_le64(&w->out, bolt_fnv1a(w->out.data + meta, BOLT_META_BYTES - 8));
    end_page(w, from);
}

static void put_leaf_element(struct bolt_writer *w, size_t page, uint64_t i, unsigned flags,
                             size_t key_at, size_t value_at)
{
    size_t at = page + BOLT_PAGE_HEAD + (size_t)i * BOLT_LEAF_ELEMENT;
    uint8_t *e = w->out.data + at;
    put_le32(e, flags);
    put_le32(e + 4, key_at - at);
    put_le32(e + 8, value_at - key_at);
    put_le32(e + 12, w->out.len - value_at);
}

static void put_root(struct bolt_writer *w)
{
    size_t from = w->out.len;
    begin_page(w, ROOT_PAGE, BOLT_PAGE_LEAF, w->count, w->count * BOLT_LEAF_ELEMENT);
    for (size_t i = 0; i < w->count; i++) {
        const struct bucket *b = &w->buckets[i];
        size_t key = w->out.len;
        buf_puts(&w->out, b->source.name);
        size_t value = w->out.len;
        buf_put_le64(&w->out, b->root);
        buf_put_le64(&w->out, 0);
        if (b->root == 0)
            begin_page(w, 0, BOLT_PAGE_LEAF, 0, 0);
        put_leaf_element(w, from, i, BOLT_ELEMENT_BUCKET, key, value);
    }
    end_page(w, from);
    ASSERT(w->out.len - from == BOLT_PAGE_BYTES);
}

static void put_leaf(struct bolt_writer *w, const struct bolt_source *s, uint64_t page,
                     uint64_t first, uint64_t end)
{
    size_t from = w->out.len;
    begin_page(w, page, BOLT_PAGE_LEAF, end - first, (size_t)(end - first) * BOLT_LEAF_ELEMENT);
    for (uint64_t i = first; i < end; i++) {
        size_t key = w->out.len;
        s->key(s->arg, i, &w->out);
        size_t value = w->out.len;
        s->value(s->arg, i, &w->out);
        put_leaf_element(w, from, i - first, 0, key, value);
    }
    end_page(w, from);
}

static void put_branch(struct bolt_writer *w, const struct bucket *b, uint32_t level, uint64_t page,
                       uint64_t first, uint64_t end)
{
    size_t from = w->out.len;
    begin_page(w, page, BOLT_PAGE_BRANCH, end - first, (size_t)(end - first) * BOLT_BRANCH_ELEMENT);
    for (uint64_t i = first; i < end; i++) {
        size_t key = w->out.len;
        b->source.key(b->source.arg, first_item(b, level - 1, i), &w->out);
        size_t at = from + BOLT_PAGE_HEAD + (size_t)(i - first) * BOLT_BRANCH_ELEMENT;
        uint64_t child = b->levels[level - 1].nodes[i].page;
        uint8_t *e = w->out.data + at;
        put_le32(e, key - at);
        put_le32(e + 4, w->out.len - key);
        put_le32(e + 8, child);
        put_le32(e + 12, child >> 32);
    }
    end_page(w, from);
}

/* The next node of the buckets. False: there is none left. */
static bool put_node(struct bolt_writer *w)
{
    while (w->out_bucket < w->count) {
        const struct bucket *b = &w->buckets[w->out_bucket];
        const struct level *l = &b->levels[w->out_level];
        if (w->out_level < b->height && w->out_node < l->count) {
            uint64_t i = w->out_node++, first = l->nodes[i].first;
            uint64_t below =
                w->out_level == 0 ? b->source.count : b->levels[w->out_level - 1].count;
            uint64_t end = i + 1 < l->count ? l->nodes[i + 1].first : below;
            if (w->out_level == 0)
                put_leaf(w, &b->source, l->nodes[i].page, first, end);
            else
                put_branch(w, b, w->out_level, l->nodes[i].page, first, end);
            return true;
        }
        w->out_node = 0;
        if (++w->out_level >= b->height) {
            w->out_level = 0;
            w->out_bucket++;
        }
    }
    return false;
}

static bool put_next(struct bolt_writer *w)
{
    if (w->stage++ == 0) {
        put_meta(w, 0);
        put_meta(w, 1);
        size_t from = w->out.len;
        begin_page(w, FREELIST_PAGE, BOLT_PAGE_FREELIST, 0, 0);
        end_page(w, from);
        put_root(w);
        return true;
    }
    w->stage = 1;
    return put_node(w);
}

size_t bolt_writer_read(struct bolt_writer *w, void *p, size_t cap)
{
    size_t done = 0;
    ASSERT(w->ready);
    while (done < cap) {
        if (w->out.len == 0) {
            buf_clear(&w->out);
            if (!put_next(w))
                break;
        }
        size_t n = MIN_OF(cap - done, w->out.len);
        memcpy((uint8_t *)p + done, w->out.data, n);
        buf_consume(&w->out, n);
        done += n;
    }
    return done;
}
