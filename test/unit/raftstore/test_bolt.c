/* test_bolt.c - etcd's snapshot files: written, read again, and read when damaged. */
#include "raftstore/etcd/bolt_format.h"
#include "raftstore/etcd/bolt_import.h"
#include "raftstore/etcd/bolt_read.h"
#include "raftstore/etcd/bolt_snapshot.h"
#include "raftstore/etcd/bolt_write.h"

#include "raftstore/mvcc_snapshot.h"
#include "test/unit/raftstore/mvcc_driver.h"
#include "test/unit/unit.h"

/* --- the file format alone --- */

struct items {
    size_t count, value_bytes;
};

static void item_key(void *arg, uint64_t i, struct buf *out)
{
    UNUSED(arg);
    buf_printf(out, "key-%08u", (unsigned)i);
}

static void item_value(void *arg, uint64_t i, struct buf *out)
{
    const struct items *it = arg;
    size_t n = (it->value_bytes + i * 7) % (it->value_bytes + 1);
    memset(buf_reserve(out, n), 'a' + (int)(i % 26), n);
    buf_commit(out, n);
}

static void item_measure(void *arg, uint64_t i, size_t *ret_key, size_t *ret_value)
{
    const struct items *it = arg;
    *ret_key = 12;
    *ret_value = (it->value_bytes + i * 7) % (it->value_bytes + 1);
}

static void write_items(struct items *it, size_t piece, struct buf *out)
{
    struct bolt_source sources[] = {
        {.name = "empty"},
        {"items", it->count, item_measure, item_key, item_value, it},
    };
    struct bolt_writer *w = bolt_writer_new(sources, ARRAY_SIZE(sources));
    while (bolt_writer_layout(w, 100))
        continue;
    uint64_t size = bolt_writer_size(w);
    for (size_t n = 1; n > 0; buf_commit(out, n))
        n = bolt_writer_read(w, buf_reserve(out, piece), piece);
    ck_assert_uint_eq(out->len, size);
    bolt_writer_free(w);
}

/* Whatever the number and size of items, they come back in order. */
START_TEST(items_come_back)
{
    static const size_t counts[] = {0, 1, 2, 100, 5000, 70000}, sizes[] = {0, 1, 100, 5000};
    for (size_t a = 0; a < ARRAY_SIZE(counts); a++) {
        for (size_t b = 0; b < ARRAY_SIZE(sizes); b++) {
            if (counts[a] * sizes[b] > 30000000)
                continue;
            struct items it = {counts[a], sizes[b]};
            struct bolt_file f;
            struct bolt_cursor c;
            struct bolt_entry e;
            struct error err = {0};
            AUTO_BUF file = BUF_INIT, want = BUF_INIT;
            write_items(&it, 777, &file);
            ck_assert_int_eq(bolt_open(&f, buf_str(&file), &err), 0);
            ck_assert_int_eq(bolt_bucket(&c, &f, "items", &err), 0);
            for (uint64_t i = 0; i < it.count; i++) {
                ck_assert_int_eq(bolt_next(&c, &e, &err), 1);
                buf_clear(&want);
                item_key(&it, i, &want);
                ck_assert(str_eq(e.key, buf_str(&want)) && !e.is_bucket);
                buf_clear(&want);
                item_value(&it, i, &want);
                ck_assert(str_eq(e.value, buf_str(&want)));
            }
            ck_assert_int_eq(bolt_next(&c, &e, &err), 0);
            ck_assert_int_eq(bolt_bucket(&c, &f, "empty", &err), 0);
            ck_assert_int_eq(bolt_next(&c, &e, &err), 0);
            ck_assert_int_eq(bolt_bucket(&c, &f, "other", &err), E_NOT_FOUND);
        }
    }
}
END_TEST

/* A file that is cut short or no database at all is refused; the second meta page
 * stands in for a damaged first one. */
START_TEST(meta_pages)
{
    struct items it = {3000, 50};
    struct bolt_file f;
    AUTO_BUF file = BUF_INIT;
    write_items(&it, 1 << 20, &file);
    ck_assert_int_eq(bolt_open(&f, str_sub(buf_str(&file), 0, file.len - 1), NULL), E_CORRUPT);
    ck_assert_int_eq(bolt_open(&f, str_sub(buf_str(&file), 0, 100), NULL), E_CORRUPT);
    ck_assert_int_eq(bolt_open(&f, STR_NULL, NULL), E_CORRUPT);
    file.data[40] ^= 1;
    ck_assert_int_eq(bolt_open(&f, buf_str(&file), NULL), 0);
    file.data[BOLT_PAGE_BYTES + 40] ^= 1;
    ck_assert_int_eq(bolt_open(&f, buf_str(&file), NULL), E_CORRUPT);
}
END_TEST

/* --- states --- */

static struct mvcc *new_mvcc(void)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    mvcc_publish(m, 0);
    return m;
}

static void change_auth(struct mvcc *m, struct auth_change c)
{
    AUTO_BUF bytes = BUF_INIT;
    auth_change_encode(&c, &bytes);
    ck_assert_int_eq(
        drive_code(m, &(struct command){.type = COMMAND_AUTH, .config = buf_str(&bytes)}, 0), 0);
}

static void fill(struct mvcc *m)
{
    char key[32], value[64];
    ck_assert_int_eq(
        drive_code(m, &(struct command){.type = COMMAND_LEASE_GRANT, .id = 77, .ttl_s = 600}, 0),
        0);
    ck_assert_int_eq(
        drive_code(m, &(struct command){.type = COMMAND_LEASE_GRANT, .id = 5, .ttl_s = 60}, 0), 0);
    for (int64_t id = 1000; id > 900; id -= 7)
        ck_assert_int_eq(drive_code(m,
                                    &(struct command){.type = COMMAND_LEASE_GRANT,
                                                      .id = id % 2 ? id : -id,
                                                      .ttl_s = 60},
                                    0),
                         0);
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "key-%d", i * 7919 % 1000);
        snprintf(value, sizeof(value), "value-%d", i);
        ck_assert_int_eq(drive_put(m, key, value), 0);
        if (i % 11 == 0)
            ck_assert_int_eq(drive_delete(m, key), 0);
    }
    ck_assert_int_eq(drive_put_lease(m, "leased", 77), 0);
    struct txn_op ops[] = {
        {.type = OP_PUT, .key = STR("a"), .value = STR("1")},
        {.type = OP_DELETE, .key = STR("key-1"), .range_end = STR("key-2")},
        {.type = OP_PUT, .key = STR("b"), .value = STR("2")},
    };
    ck_assert_int_eq(drive_code(m,
                                &(struct command){.type = COMMAND_TXN,
                                                  .txn = {.success = ops, .success_count = 3}},
                                0),
                     0);
}

static void fill_auth(struct mvcc *m)
{
    change_auth(m, (struct auth_change){.type = AUTH_ROLE_ADD, .role = STR("root")});
    change_auth(m, (struct auth_change){.type = AUTH_ROLE_ADD, .role = STR("reader")});
    change_auth(m, (struct auth_change){.type = AUTH_ROLE_GRANT,
                                        .role = STR("reader"),
                                        .access = AUTH_READ,
                                        .key = STR("a"),
                                        .range_end = STR("c")});
    change_auth(m, (struct auth_change){.type = AUTH_USER_ADD,
                                        .user = STR("root"),
                                        .password_hash = STR("$2a$10$abc")});
    change_auth(
        m, (struct auth_change){.type = AUTH_USER_ADD, .user = STR("cert"), .no_password = true});
    change_auth(
        m, (struct auth_change){.type = AUTH_USER_GRANT, .user = STR("root"), .role = STR("root")});
    change_auth(m, (struct auth_change){
                       .type = AUTH_USER_GRANT, .user = STR("cert"), .role = STR("reader")});
    change_auth(m, (struct auth_change){.type = AUTH_ENABLE});
}

static void save(struct mvcc *m, size_t slice, struct buf *out)
{
    struct bolt_snapshot *s = bolt_snapshot_new((struct store_backup *)mvcc_snapshot_new(m, 0));
    while (bolt_snapshot_prepare(s, slice))
        continue;
    uint64_t size = bolt_snapshot_size(s);
    for (size_t n = 1; n > 0; buf_commit(out, n))
        n = bolt_snapshot_read(s, buf_reserve(out, 60000), 60000);
    ck_assert_uint_eq(out->len, size + BOLT_SUM_BYTES);
    ck_assert_int_eq(bolt_snapshot_rev(s), mvcc_rev(m));
    bolt_snapshot_free(s);
}

static struct mvcc *load(const struct buf *file, struct bolt_import *im)
{
    struct error err = {0};
    struct str db;
    struct mvcc *m = new_mvcc();
    ck_assert_int_eq(bolt_checked(buf_str(file), &db, &err), 0);
    ck_assert_msg(bolt_import(im, db, m, &err) == 0, "%s", error_message(&err));
    drive_check(m);
    return m;
}

static void done(struct mvcc *m)
{
    drive_work(m);
    mvcc_free(m);
}

/* A state that went through a file is the same one, history included; and gives
 * the same file, whatever the slices it was made in. */
START_TEST(states_come_back)
{
    struct mvcc *m = new_mvcc();
    fill(m);
    fill_auth(m);
    AUTO_BUF first = BUF_INIT, second = BUF_INIT;
    save(m, 10, &first);
    struct bolt_import im = {0};
    struct mvcc *copy = load(&first, &im);
    ck_assert_int_eq(mvcc_rev(copy), mvcc_rev(m));
    ck_assert_uint_eq(im.leases, 17);
    ck_assert_uint_eq(im.users, 2);
    ck_assert_uint_eq(im.loose, 0);
    for (int64_t rev = 2; rev <= mvcc_rev(m); rev += 97)
        ck_assert_uint_eq(drive_hash(copy, rev), drive_hash(m, rev));
    ck_assert_uint_eq(drive_hash(copy, 0), drive_hash(m, 0));
    struct mvcc_stats stats;
    mvcc_stats(copy, &stats);
    ck_assert_uint_eq(stats.keys, im.keys);
    struct mvcc_lease l;
    ck_assert(mvcc_lease_get(copy, 77, &l) && l.ttl_s == 600 && l.keys == 1);
    ck_assert(auth_enabled(copy->s.auth));
    ck_assert_uint_eq(auth_revision(copy->s.auth), auth_revision(m->s.auth));
    ck_assert(auth_may(copy->s.auth, STR("cert"), AUTH_READ, STR("b"), STR_NULL));
    ck_assert(!auth_may(copy->s.auth, STR("cert"), AUTH_WRITE, STR("b"), STR_NULL));
    save(copy, 100000, &second);
    ck_assert_uint_eq(first.len, second.len);
    ck_assert_mem_eq(first.data, second.data, first.len);
    done(m);
    done(copy);
}
END_TEST

START_TEST(compacted_states_come_back)
{
    struct mvcc *m = new_mvcc();
    fill(m);
    int64_t rev = mvcc_rev(m);
    ck_assert_int_eq(drive_compact(m, rev - 100), 0);
    AUTO_BUF before = BUF_INIT, after = BUF_INIT;
    save(m, 1000, &before); /* The old versions are still there. */
    drive_work(m);
    save(m, 1000, &after);
    ck_assert_uint_lt(after.len, before.len);
    const struct buf *files[] = {&before, &after};
    for (int i = 0; i < 2; i++) {
        struct bolt_import im = {0};
        struct mvcc *copy = load(files[i], &im);
        ck_assert_int_eq(im.compacted, rev - 100);
        ck_assert_uint_eq(drive_hash(copy, 0), drive_hash(m, 0));
        ck_assert_uint_eq(drive_hash(copy, rev - 50), drive_hash(m, rev - 50));
        done(copy);
    }
    done(m);
}
END_TEST

/* A bumped revision goes on higher, and nothing older can be read. */
START_TEST(revisions_are_bumped)
{
    struct mvcc *m = new_mvcc();
    fill(m);
    AUTO_BUF file = BUF_INIT;
    save(m, 1000, &file);
    struct bolt_import im = {.bump_revision = 1000000, .mark_compacted = true};
    struct mvcc *copy = load(&file, &im);
    ck_assert_int_eq(mvcc_rev(copy), mvcc_rev(m) + 1000000);
    ck_assert_int_eq(mvcc_compacted(copy), mvcc_rev(copy));
    ck_assert_int_eq(drive_put(copy, "a", "x"), 0);
    ck_assert_int_eq(mvcc_rev(copy), mvcc_rev(m) + 1000001);
    done(m);
    done(copy);
}
END_TEST

START_TEST(an_empty_state_comes_back)
{
    struct mvcc *m = new_mvcc();
    AUTO_BUF file = BUF_INIT;
    save(m, 1, &file);
    struct bolt_import im = {0};
    struct mvcc *copy = load(&file, &im);
    ck_assert_int_eq(mvcc_rev(copy), 1);
    done(m);
    done(copy);
}
END_TEST

/* The checksum finds every damaged byte; without it, damage never does worse
 * than an error. */
START_TEST(damage_is_found)
{
    struct mvcc *m = new_mvcc();
    fill(m);
    fill_auth(m);
    AUTO_BUF file = BUF_INIT;
    struct str db;
    save(m, 1000, &file);
    uint32_t x = 12345;
    for (int i = 0; i < 400; i++) {
        x = x * 1664525 + 1013904223;
        /* Half of it in the heads and the small buckets. */
        size_t at = (x >> 4) % (i % 2 == 0 ? file.len : 40000);
        uint8_t was = file.data[at];
        file.data[at] ^= (uint8_t)(1 + (x >> 9) % 255);
        if (i % 20 == 0)
            ck_assert_int_eq(bolt_checked(buf_str(&file), &db, NULL), E_CORRUPT);
        struct mvcc *copy = new_mvcc();
        struct bolt_import im = {0};
        int rc =
            bolt_import(&im, str_sub(buf_str(&file), 0, file.len - BOLT_SUM_BYTES), copy, NULL);
        ck_assert(rc == 0 || rc == E_CORRUPT || rc == E_TOO_LARGE || rc == E_NOT_FOUND);
        done(copy);
        file.data[at] = was;
    }
    ck_assert_int_eq(bolt_checked(str_sub(buf_str(&file), 0, 5000), &db, NULL), E_NOT_FOUND);
    done(m);
}
END_TEST

UNIT_MAIN("bolt", {
    UNIT_TEST(items_come_back);
    UNIT_TEST(meta_pages);
    UNIT_TEST(states_come_back);
    UNIT_TEST(compacted_states_come_back);
    UNIT_TEST(revisions_are_bumped);
    UNIT_TEST(an_empty_state_comes_back);
    UNIT_TEST(damage_is_found);
})
