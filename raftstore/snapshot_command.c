/* snapshot_command.c - `trireme-raftstore snapshot save|status|restore`, as etcdctl's.
 *
 * Restore takes both forms of backups: etcd's snapshots (what etcdctl and
 * `snapshot save` write) and the store's own. An etcd's is read into memory, written
 * out in our form, and from there on it is the same. */
#include "raftstore/program.h"

#include "lib/base/arena.h"
#include "lib/base/file.h"
#include "lib/net/etcd_client.h"
#include "raftstore/etcd/bolt_import.h"
#include "raftstore/mvcc.h"
#include "raftstore/mvcc_snapshot.h"
#include "raftstore/mvcc_snapshot_internal.h"
#include "raftstore/options.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES (1u << 20)

/* --- files ------------------------------------------------------------------------------------ */

static int map_file(const char *path, struct str *ret, struct error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        return error_set_errno(err, E_NOT_FOUND, saved, "cannot open %s", path);
    }
    void *p = st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (p == NULL || p == MAP_FAILED)
        return error_set(err, E_INVALID, "%s cannot be read, or is empty", path);
    *ret = str_n(p, (size_t)st.st_size);
    return 0;
}

static void unmap_file(struct str s)
{
    if (s.data != NULL)
        munmap((void *)(uintptr_t)s.data, s.len);
}

static bool is_own(struct str file)
{
    static const uint8_t head[4] = {SNAPSHOT_HEADER & 0xff, SNAPSHOT_HEADER >> 8 & 0xff,
                                    SNAPSHOT_HEADER >> 16 & 0xff, SNAPSHOT_HEADER >> 24};
    return file.len >= sizeof(head) && memcmp(file.data, head, sizeof(head)) == 0;
}

static struct mvcc *new_state(void)
{
    return mvcc_new(&(struct mvcc_config){.quota_bytes = INT64_MAX / 16});
}

static void free_state(struct mvcc *m)
{
    while (mvcc_work(m, 100000))
        continue;
    mvcc_free(m);
}

/* Our own form, into m. */
static int load_own(struct str file, struct mvcc *m, struct error *err)
{
    struct mvcc_restore *r = mvcc_restore_new();
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < file.len; at += PIECE_BYTES)
        rc = mvcc_restore_feed(r, str_sub(file, at, PIECE_BYTES), err);
    if (rc == 0)
        rc = mvcc_restore_finish(r, err);
    if (rc == 0)
        mvcc_restore_commit(r, m, 0);
    else
        mvcc_restore_free(r);
    return rc;
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* m as a backup of our own form. */
static int write_own(struct mvcc *m, const char *path, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "cannot write %s", path);
    AUTO_FREE uint8_t *piece = xmalloc(PIECE_BYTES);
    struct mvcc_snapshot *s = mvcc_snapshot_new(m, 0);
    int rc = 0;
    for (size_t n; rc == 0 && (n = mvcc_snapshot_read(s, piece, PIECE_BYTES)) > 0;)
        if (write_all(fd, piece, n) != 0)
            rc = error_set_errno(err, E_IO, errno, "cannot write %s", path);
    mvcc_snapshot_free(s);
    if (close(fd) != 0 && rc == 0)
        rc = error_set_errno(err, E_IO, errno, "cannot write %s", path);
    return rc;
}

/* --- status ----------------------------------------------------------------------------------- */

/* As etcdctl prints sizes: "234 kB", "2.1 MB". */
static void print_bytes(uint64_t n, char *ret, size_t cap)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1000 && u + 1 < ARRAY_SIZE(units)) {
        v /= 1000;
        u++;
    }
    if (u == 0 || v >= 9.95)
        snprintf(ret, cap, "%.0f %s", v, units[u]);
    else
        snprintf(ret, cap, "%.1f %s", v, units[u]);
}

static int own_status(struct str file, struct bolt_status *ret, struct error *err)
{
    struct mvcc *m = new_state();
    int rc = load_own(file, m, err);
    if (rc == 0) {
        struct mvcc_stats stats;
        struct mvcc_hash h;
        struct mvcc_view *v = mvcc_view(m);
        mvcc_stats(m, &stats);
        rc = mvcc_hash_init(&h, v, 0);
        while (rc == 0 && mvcc_hash_step(&h, 100000))
            continue;
        *ret = (struct bolt_status){(uint32_t)h.value, mvcc_rev(m), stats.versions};
        mvcc_view_unref(v);
    }
    free_state(m);
    return rc;
}

static int print_status(const char *form, const struct bolt_status *s, uint64_t bytes,
                        struct error *err)
{
    char size[32];
    print_bytes(bytes, size, sizeof(size));
    if (strcmp(form, "simple") == 0)
        printf("%08x, %" PRId64 ", %" PRIu64 ", %s\n", s->hash, s->rev, s->keys, size);
    else if (strcmp(form, "json") == 0)
        printf("{\"hash\":%" PRIu32 ",\"revision\":%" PRId64 ",\"totalKey\":%" PRIu64
               ",\"totalSize\":%" PRIu64 "}\n",
               s->hash, s->rev, s->keys, bytes);
    else if (strcmp(form, "fields") == 0)
        printf("\"Hash\" : %" PRIu32 "\n\"Revision\" : %" PRId64 "\n\"Keys\" : %" PRIu64
               "\n\"Size\" : %" PRIu64 "\n",
               s->hash, s->rev, s->keys, bytes);
    else if (strcmp(form, "table") == 0)
        printf("%-8s  %-12s  %-12s  %s\n%08x  %-12" PRId64 "  %-12" PRIu64 "  %s\n", "HASH",
               "REVISION", "TOTAL KEYS", "TOTAL SIZE", s->hash, s->rev, s->keys, size);
    else
        return error_set(err, E_INVALID, "-w %s: simple, table, json or fields is wanted", form);
    return 0;
}

static int status(const char *path, const char *form, struct error *err)
{
    struct str file = STR_NULL, db = STR_NULL;
    struct bolt_status s = {0};
    struct error why = {0};
    int rc = map_file(path, &file, err);
    if (rc < 0)
        return rc;
    uint64_t bytes = file.len;
    if (is_own(file)) {
        rc = own_status(file, &s, err);
    } else {
        rc = bolt_checked(file, &db, &why);
        if (rc == E_NOT_FOUND)
            db = file; /* A database without a checksum: etcdctl shows it too. */
        rc = rc == E_CORRUPT ? error_set(err, rc, "%s", error_message(&why))
                             : bolt_status(db, &s, err);
        /* etcdctl counts whole pages. */
        bytes = file.len - file.len % 512;
    }
    unmap_file(file);
    if (rc < 0)
        return error_prefix(err, "%s", path);
    return print_status(form, &s, bytes, err);
}

/* --- restore ---------------------------------------------------------------------------------- */

struct restore_options {
    struct options o; /* name, members, data_dir */
    const char *advertise_peer_urls;
    bool skip_hash_check;
    int64_t bump_revision;
    bool mark_compacted;
};

static int check_members(struct restore_options *ro, struct error *err)
{
    struct options *o = &ro->o;
    struct options_url *listen = ARENA_NEW(o->arena, struct options_url);
    int rc = options_url_parse(o->arena, "initial-advertise-peer-urls", ro->advertise_peer_urls,
                               false, &o->advertise_peer, err);
    if (rc < 0)
        return rc;
    o->initial_cluster_state = "new";
    listen->tls = o->advertise_peer.tls;
    o->listen_peers = (struct options_urls){listen, 1};
    rc = options_members(o, err);
    if (rc == 0)
        rc = options_names_self(o, err);
    if (o->data_dir == NULL)
        o->data_dir = arena_printf(o->arena, "%s.etcd", o->name).data;
    return rc;
}

static int import(struct restore_options *ro, struct str file, const char *into, struct error *err)
{
    struct bolt_import im = {.bump_revision = (uint64_t)ro->bump_revision,
                             .mark_compacted = ro->mark_compacted};
    struct str db = STR_NULL;
    int rc = bolt_checked(file, &db, err);
    if (rc == E_NOT_FOUND && ro->skip_hash_check) {
        error_clear(err);
        db = file;
        rc = 0;
    } else if (rc == E_NOT_FOUND) {
        return error_set(err, E_INVALID,
                         "there is no checksum behind the database: a file copied out of a data "
                         "directory wants --skip-hash-check");
    } else if (rc == E_CORRUPT && ro->skip_hash_check) {
        error_clear(err);
        db = str_sub(file, 0, file.len - file.len % 512);
        rc = 0;
    }
    struct mvcc *m = new_state();
    if (rc == 0)
        rc = bolt_import(&im, db, m, err);
    if (rc == 0)
        rc = write_own(m, into, err);
    if (rc == 0) {
        log_info("read revision %" PRId64 ": %" PRIu64 " keys in %" PRIu64 " versions, %" PRIu64
                 " leases, %" PRIu64 " users, %" PRIu64 " roles",
                 im.rev, im.keys, im.versions, im.leases, im.users, im.roles);
        if (im.loose > 0)
            log_warning("%" PRIu64 " keys had a lease that is not in the snapshot: they stay for "
                        "good",
                        im.loose);
    }
    free_state(m);
    return rc;
}

static int restore_into(struct restore_options *ro, const char *path, struct error *err)
{
    const struct options *o = &ro->o;
    struct store_config config = {
        .data_dir = o->data_dir,
        .name = o->name,
        .advertise_address = o->advertise_peer.address,
        .initial_members = o->members,
        .initial_member_count = o->member_count,
    };
    struct str file = STR_NULL;
    int rc = map_file(path, &file, err);
    if (rc < 0)
        return rc;
    if (is_own(file)) {
        rc = ro->bump_revision != 0 || ro->mark_compacted
                 ? error_set(err, E_INVALID,
                             "--bump-revision and --mark-compacted want an etcd's snapshot")
                 : store_restore(&config, path, err);
    } else {
        AUTO_FREE char *aside = xasprintf("%s/restoring.tmp", o->data_dir);
        rc = import(ro, file, aside, err);
        if (rc < 0)
            error_prefix(err, "%s", path);
        else
            rc = store_restore(&config, aside, err);
        unlink(aside);
    }
    unmap_file(file);
    return rc;
}

/* Or absent. */
static bool is_empty(const char *dir)
{
    bool empty = true;
    DIR *d = opendir(dir);
    if (d == NULL)
        return errno == ENOENT;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        empty &= strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(d);
    return empty;
}

static int restore(struct restore_options *ro, const char *path, struct error *err)
{
    int rc = check_members(ro, err);
    if (rc < 0)
        return rc;
    if (ro->bump_revision < 0)
        return error_set(err, E_INVALID, "--bump-revision must not be negative");
    if (!is_empty(ro->o.data_dir))
        return error_set(err, E_EXISTS, "data-dir \"%s\" exists and is not empty", ro->o.data_dir);
    rc = file_mkdir_p(ro->o.data_dir, 0700, err);
    if (rc < 0)
        return rc;
    rc = restore_into(ro, path, err);
    if (rc < 0)
        file_remove_tree(ro->o.data_dir, NULL); /* Made just now; so that it can be repeated. */
    else
        log_info("restored %s into %s as member %s of %" PRIu32, path, ro->o.data_dir, ro->o.name,
                 ro->o.member_count);
    return rc;
}

/* --- the command line ---------------------------------------------------------------------------
 */

struct command_line {
    struct restore_options restore;
    struct etcd_client_config client;
    const char *form;
};

static void add_flags(struct flag_set *f, struct command_line *c)
{
    struct options *o = &c->restore.o;
    flag_string(f, &c->form, "write-out,w", "status: simple, table, json or fields.");
    flag_string(f, &o->data_dir, "data-dir", "restore: the `directory` to make.");
    flag_string(f, &o->name, "name", "restore: name of this member.");
    flag_strings(f, &o->initial_cluster, "initial-cluster", "restore: members, `name=URL`,...");
    flag_string(f, &o->initial_cluster_token, "initial-cluster-token",
                "restore: token of the cluster.");
    flag_string(f, &c->restore.advertise_peer_urls, "initial-advertise-peer-urls",
                "restore: this member's `URL` for the others.");
    flag_bool(f, &c->restore.skip_hash_check, "skip-hash-check",
              "restore: take a database without, or against, its checksum.");
    flag_int(f, &c->restore.bump_revision, "bump-revision",
             "restore: go on at a revision this much higher.");
    flag_bool(f, &c->restore.mark_compacted, "mark-compacted",
              "restore: let nobody read or watch older revisions.");
    flag_ignored(f, "wal-dir", true, "the log lies in the data directory");
    etcd_client_flags(&c->client, f);
}

static int run(struct command_line *c, const char *const *args, size_t count, struct error *err)
{
    if (count == 2 && strcmp(args[0], "save") == 0)
        return etcd_client_save(&c->client, args[1], err);
    if (count == 2 && strcmp(args[0], "status") == 0)
        return status(args[1], c->form, err);
    if (count == 2 && strcmp(args[0], "restore") == 0)
        return restore(&c->restore, args[1], err);
    return error_set(err, E_INVALID, "want save FILE, status FILE or restore FILE");
}

int program_snapshot(int argc, char **argv)
{
    struct command_line c = {.form = "simple"};
    struct error err = {0};
    size_t count = 0;
    int exit_code = 0;
    c.restore.o.arena = arena_new(0);
    c.restore.o.name = "default";
    c.restore.o.initial_cluster_token = "etcd-cluster";
    c.restore.advertise_peer_urls = "http://localhost:2380";
    struct flag_set *f =
        flag_set_new("trireme-raftstore snapshot save FILE | status FILE | restore FILE [flags]");
    add_flags(f, &c);
    int rc = flag_set_parse(f, argc, argv, &err);
    if (rc == E_EOF) {
        flag_set_print_help(f);
    } else {
        const char *const *args = flag_set_args(f, &count);
        if (rc == 0)
            rc = run(&c, args, count, &err);
        if (rc < 0) {
            fprintf(stderr, "Error: %s\n", error_message(&err));
            exit_code = 1;
        }
    }
    arena_free(c.restore.o.arena);
    flag_set_free(f);
    return exit_code;
}
