/* bolt_read.c - see bolt_read.h. Pure. */
#include "raftstore/etcd/bolt_read.h"

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "raftstore/etcd/bolt_format.h"

#include <inttypes.h>

static uint64_t le(struct str s, size_t at, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)(uint8_t)s.data[at + i] << (8 * i);
    return v;
}

/* --- the file --------------------------------------------------------------------------------- */

struct meta {
    uint32_t page_bytes;
    uint64_t root, pages, txid;
};

static bool read_meta(struct str bytes, uint64_t offset, struct meta *ret)
{
    if (offset + BOLT_PAGE_HEAD + BOLT_META_BYTES > bytes.len)
        return false;
    struct str page = str_sub(bytes, (size_t)offset, BOLT_PAGE_HEAD + BOLT_META_BYTES);
    struct str m = str_sub(page, BOLT_PAGE_HEAD, BOLT_META_BYTES);
    if ((le(page, 8, 2) & BOLT_PAGE_META) == 0 || le(m, 0, 4) != BOLT_MAGIC ||
        le(m, 4, 4) != BOLT_VERSION ||
        le(m, 56, 8) != bolt_fnv1a((const uint8_t *)m.data, BOLT_META_BYTES - 8))
        return false;
    *ret = (struct meta){(uint32_t)le(m, 8, 4), le(m, 16, 8), le(m, 40, 8), le(m, 48, 8)};
    uint32_t size = ret->page_bytes;
    return size >= 512 && size <= 65536 && (size & (size - 1)) == 0;
}

int bolt_open(struct bolt_file *f, struct str bytes, struct error *err)
{
    struct meta best = {0}, m;
    bool found = read_meta(bytes, 0, &best);
    /* The second one stands a page further, whatever a page's size is. */
    for (uint32_t size = 512; size <= 65536; size *= 2)
        if (read_meta(bytes, size, &m) && m.page_bytes == size && (!found || m.txid > best.txid)) {
            best = m;
            found = true;
        }
    if (!found)
        return error_set(err, E_CORRUPT, "not a database file of etcd's: no sound meta page");
    if (best.pages < 4 || best.pages > bytes.len / best.page_bytes)
        return error_set(err, E_CORRUPT,
                         "the file is cut short: %zu bytes, %" PRIu64 " pages of %u", bytes.len,
                         best.pages, best.page_bytes);
    *f = (struct bolt_file){bytes, best.page_bytes, best.pages, best.root};
    return 0;
}

/* --- pages ------------------------------------------------------------------------------------ */

static int corrupt_page(uint64_t id, struct error *err, const char *what)
{
    return error_set(err, E_CORRUPT, "page %" PRIu64 ": %s", id, what);
}

/* Checks the head and that the elements fit; the content of elements is checked
 * when they are read. */
static int check_page(struct str page, uint64_t id, struct error *err)
{
    uint64_t flags = le(page, 8, 2), count = le(page, 10, 2);
    if (flags != BOLT_PAGE_LEAF && flags != BOLT_PAGE_BRANCH)
        return corrupt_page(id, err, "neither leaf nor branch");
    if (BOLT_PAGE_HEAD + count * BOLT_LEAF_ELEMENT > page.len)
        return corrupt_page(id, err, "more elements than fit");
    if (flags == BOLT_PAGE_BRANCH && count == 0)
        return corrupt_page(id, err, "branch without children");
    return 0;
}

static int push(struct bolt_cursor *c, struct str page, uint64_t id, struct error *err)
{
    int rc = check_page(page, id, err);
    if (rc < 0)
        return rc;
    if (c->depth == BOLT_DEPTH_MAX)
        return corrupt_page(id, err, "the tree is too deep");
    c->path[c->depth].page = page;
    c->path[c->depth++].at = 0;
    return 0;
}

static int push_page(struct bolt_cursor *c, uint64_t id, struct error *err)
{
    const struct bolt_file *f = c->file;
    if (id < 2 || id >= f->pages)
        return corrupt_page(id, err, "out of the file");
    if (++c->visits > f->pages)
        return corrupt_page(id, err, "is reached in several ways");
    struct str rest = str_sub(f->bytes, (size_t)id * f->page_bytes, f->bytes.len);
    uint64_t pages = 1 + le(rest, 12, 4);
    if (le(rest, 0, 8) != id || pages > f->pages - id)
        return corrupt_page(id, err, "its head is damaged");
    return push(c, str_sub(rest, 0, (size_t)pages * f->page_bytes), id, err);
}

/* --- walking ---------------------------------------------------------------------------------- */

static bool slice(struct str page, uint64_t from, uint64_t len, struct str *ret)
{
    if (from > page.len || len > page.len - from)
        return false;
    *ret = str_n(page.data + from, (size_t)len);
    return true;
}

static int enter_child(struct bolt_cursor *c, struct str page, uint32_t i, struct error *err)
{
    size_t at = BOLT_PAGE_HEAD + (size_t)i * BOLT_BRANCH_ELEMENT;
    return push_page(c, le(page, at + 8, 8), err);
}

static int read_leaf(struct bolt_cursor *c, struct str page, uint32_t i, struct bolt_entry *ret,
                     struct error *err)
{
    size_t at = BOLT_PAGE_HEAD + (size_t)i * BOLT_LEAF_ELEMENT;
    uint64_t key = at + le(page, at + 4, 4), key_len = le(page, at + 8, 4);
    struct bolt_entry e = {.is_bucket = (le(page, at, 4) & BOLT_ELEMENT_BUCKET) != 0};
    if (!slice(page, key, key_len, &e.key) ||
        !slice(page, key + key_len, le(page, at + 12, 4), &e.value))
        return error_set(err, E_CORRUPT, "an item reaches out of its page %" PRIu64,
                         le(page, 0, 8));
    if (c->last.data != NULL && str_cmp(c->last, e.key) >= 0)
        return error_set(err, E_CORRUPT, "page %" PRIu64 ": keys out of order", le(page, 0, 8));
    c->last = e.key;
    *ret = e;
    return 1;
}

int bolt_next(struct bolt_cursor *c, struct bolt_entry *ret, struct error *err)
{
    while (c->depth > 0) {
        struct str page = c->path[c->depth - 1].page;
        if (c->path[c->depth - 1].at == le(page, 10, 2)) {
            c->depth--;
            continue;
        }
        uint32_t i = c->path[c->depth - 1].at++;
        if (le(page, 8, 2) == BOLT_PAGE_LEAF)
            return read_leaf(c, page, i, ret, err);
        int rc = enter_child(c, page, i, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int bolt_root(struct bolt_cursor *c, const struct bolt_file *f, struct error *err)
{
    *c = (struct bolt_cursor){.file = f};
    return push_page(c, f->root, err);
}

/* value: a bucket's head, with its only page behind it when that is inline. */
static int enter_bucket(struct bolt_cursor *c, const struct bolt_file *f, struct str value,
                        struct error *err)
{
    *c = (struct bolt_cursor){.file = f};
    if (value.len < BOLT_BUCKET_BYTES)
        return error_set(err, E_CORRUPT, "a bucket without a head");
    uint64_t root = le(value, 0, 8);
    if (root != 0)
        return push_page(c, root, err);
    struct str page = str_sub(value, BOLT_BUCKET_BYTES, value.len);
    if (page.len < BOLT_PAGE_HEAD || le(page, 8, 2) != BOLT_PAGE_LEAF)
        return error_set(err, E_CORRUPT, "an inline bucket without a leaf");
    return push(c, page, 0, err);
}

int bolt_bucket(struct bolt_cursor *c, const struct bolt_file *f, const char *name,
                struct error *err)
{
    struct bolt_cursor all;
    struct bolt_entry e = {0};
    int rc = bolt_root(&all, f, err);
    while (rc == 0 && (rc = bolt_next(&all, &e, err)) > 0) {
        if (e.is_bucket && str_eqc(e.key, name))
            return enter_bucket(c, f, e.value, err);
        rc = 0;
    }
    return rc < 0 ? rc : error_set(err, E_NOT_FOUND, "the file has no bucket \"%s\"", name);
}
