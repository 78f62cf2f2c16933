/* fuzz_bolt.c - arbitrary bytes as an etcd's snapshot, and as a configuration file.
 *
 * Seeds are small databases as the writer makes them. Meta pages are summed again
 * before reading, so that page numbers and sizes in them are believed. */
#include "raftstore/etcd/bolt_format.h"
#include "raftstore/etcd/bolt_import.h"
#include "raftstore/etcd/bolt_write.h"
#include "raftstore/mvcc.h"
#include "raftstore/mvcc_internal.h"
#include "raftstore/options.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

static void put_le64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void sum_meta(struct buf *b, size_t page)
{
    size_t at = page + BOLT_PAGE_HEAD;
    if (b->len >= at + BOLT_META_BYTES)
        put_le64(b->data + at + 56, bolt_fnv1a(b->data + at, BOLT_META_BYTES - 8));
}

static void read_database(struct str db)
{
    struct bolt_status status;
    struct bolt_import im = {0};
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    struct error err = {0};
    bolt_status(db, &status, &err);
    if (bolt_import(&im, db, m, &err) == 0 && tree_check(m->s.tree, &err) != 0)
        PANIC("%s", error_message(&err));
    while (mvcc_work(m, 1000))
        continue;
    mvcc_free(m);
}

static void read_configuration(struct str text)
{
    struct options o;
    struct error err = {0};
    char *argv[] = {"x", NULL};
    if (options_parse(&o, 1, argv, NULL, &err) == 0 && options_file_parse(o.flags, text, &err) == 0)
        options_check(&o, &err);
    options_done(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_BUF b = BUF_INIT;
    buf_append(&b, data, size);
    if (size > 0 && data[0] >= 32) {
        log_setup("fuzz", LOG_ERROR);
        read_configuration(buf_str(&b));
        return 0;
    }
    sum_meta(&b, 0);
    sum_meta(&b, BOLT_PAGE_BYTES);
    read_database(buf_str(&b));
    return 0;
}

/* --- seeds --- */

struct item {
    struct str key, value;
};
struct items {
    const struct item *all;
};

static void item_measure(void *arg, uint64_t i, size_t *ret_key, size_t *ret_value)
{
    const struct items *it = arg;
    *ret_key = it->all[i].key.len;
    *ret_value = it->all[i].value.len;
}
static void item_key(void *arg, uint64_t i, struct buf *out)
{
    buf_append_str(out, ((const struct items *)arg)->all[i].key);
}
static void item_value(void *arg, uint64_t i, struct buf *out)
{
    buf_append_str(out, ((const struct items *)arg)->all[i].value);
}

#define REV(n) "\0\0\0\0\0\0\0" n "_\0\0\0\0\0\0\0\0"

static size_t database(uint8_t *p, size_t cap)
{
    static const struct item keys[] = {
        {STR(REV("\2")), STR("\x0a\1a\x10\2\x18\2\x20\1\x2a\1x\x30\7")},
        {STR(REV("\3")), STR("\x0a\1b\x10\3\x18\3\x20\1\x2a\1y")},
        {STR(REV("\4")), STR("\x0a\1a\x10\2\x18\4\x20\2\x2a\1z")},
        {STR(REV("\5") "t"), STR("\x0a\1b")},
    };
    static const struct item leases[] = {{STR("\0\0\0\0\0\0\0\7"), STR("\x08\7\x10\x3c")}};
    static const struct item roles[] = {{STR("r"), STR("\x0a\1r\x12\6\x08\2\x12\2ab")},
                                        {STR("root"), STR("\x0a\4root")}};
    static const struct item users[] = {{STR("root"), STR("\x0a\4root\x12\1h\x1a\4root\x22\0")},
                                        {STR("u"), STR("\x0a\1u\x1a\1r\x22\2\x08\1")}};
    static const struct item auth[] = {{STR("authEnabled"), STR("\1")},
                                       {STR("authRevision"), STR("\0\0\0\0\0\0\0\x09")}};
    static const struct item meta[] = {{STR("finishedCompactRev"), STR(REV("\3"))}};
    struct items k = {keys}, l = {leases}, r = {roles}, u = {users}, a = {auth}, m = {meta};
    const struct bolt_source sources[] = {
        {"auth", 2, item_measure, item_key, item_value, &a},
        {"authRoles", 2, item_measure, item_key, item_value, &r},
        {"authUsers", 2, item_measure, item_key, item_value, &u},
        {"key", 4, item_measure, item_key, item_value, &k},
        {"lease", 1, item_measure, item_key, item_value, &l},
        {"meta", 1, item_measure, item_key, item_value, &m},
    };
    struct bolt_writer *w = bolt_writer_new(sources, ARRAY_SIZE(sources));
    while (bolt_writer_layout(w, 1000))
        continue;
    size_t n = bolt_writer_read(w, p, cap);
    bolt_writer_free(w);
    return n;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char text[] = "name: a\ninitial-cluster: [a=http://localhost:2380]\n"
                               "client-transport-security: {cert-file: x, key-file: y}\n";
    if (i == 0)
        return database(p, cap);
    if (i > 1 || cap < sizeof(text))
        return 0;
    memcpy(p, text, sizeof(text) - 1);
    return sizeof(text) - 1;
}
