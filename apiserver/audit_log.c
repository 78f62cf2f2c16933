/* audit_log.c - see audit_log.h. Two buffers: requests fill one while the thread
 * writes the other. */
#include "apiserver/audit_log.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

void audit_lost(const char *plugin, size_t count)
{
    static const char *const labels[] = {"plugin", NULL};
    metric_add(METRIC_OF(metric_counter(metrics_default(), "apiserver_audit_error_total",
                                        "Audit events that were lost.", labels),
                         str_of(plugin)),
               (double)count);
}

#define WAITING_BYTES_MAX (64u << 20)
#define DAY_S 86400

struct audit_log {
    struct audit_log_config config;
    char *path;
    int fd;
    uint64_t bytes; /* In the current file. */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct buf waiting; /* Guarded by lock, as are the next ones. */
    int64_t waiting_count;
    struct list tickets;
    bool closing;
    _Atomic uint64_t dropped;
    bool failing; /* Told already. */
};

/* --- files ------------------------------------------------------------------------------------ */
static int open_file(struct audit_log *l, struct error *err)
{
    struct stat st;
    l->fd = open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (l->fd < 0)
        return error_set(err, E_IO, "open %s: %s", l->path, strerror(errno));
    l->bytes = fstat(l->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return 0;
}

/* dir/name.log becomes dir/name-TIME.log. */
static char *backup_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    size_t stem = dot != NULL && dot != base ? (size_t)(dot - path) : strlen(path);
    struct timespec now;
    struct tm tm;
    char when[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H-%M-%S", &tm);
    return xasprintf("%.*s-%s.%03ld%s", (int)stem, path, when, now.tv_nsec / 1000000, path + stem);
}

struct backup {
    char *path;
    time_t ended;
};

static int newest_first(const void *x, const void *y)
{
    return strcmp(((const struct backup *)y)->path, ((const struct backup *)x)->path);
}

/* Backups of path, by the time in their names. */
static size_t find_backups(const char *path, struct backup **ret)
{
    const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
    AUTO_FREE char *dir =
        slash != NULL ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup("./");
    const char *dot = strrchr(base, '.');
    size_t stem = dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base), n = 0;
    DIR *d = opendir(dir);
    *ret = NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        struct stat st;
        struct tm tm;
        if (strncmp(e->d_name, base, stem) != 0 || e->d_name[stem] != '-' ||
            strptime(e->d_name + stem + 1, "%Y-%m-%dT%H-%M-%S", &tm) == NULL)
            continue;
        char *full = xasprintf("%s%s", dir, e->d_name);
        *ret = xrealloc(*ret, (n + 1) * sizeof(**ret));
        (*ret)[n++] = (struct backup){full, stat(full, &st) == 0 ? st.st_mtime : 0};
    }
    if (d != NULL)
        closedir(d);
    if (n != 0)
        qsort(*ret, n, sizeof(**ret), newest_first);
    return n;
}

static void remove_old(const struct audit_log *l)
{
    struct backup *all;
    size_t n = find_backups(l->path, &all);
    time_t now = time(NULL);
    for (size_t i = 0; i < n; i++) {
        bool many = l->config.backups_max > 0 && i >= (size_t)l->config.backups_max;
        bool old = l->config.age_days_max > 0 &&
                   now - all[i].ended > (time_t)l->config.age_days_max * DAY_S;
        if (many || old)
            unlink(all[i].path);
        free(all[i].path);
    }
    free(all);
}

/* name becomes name.gz; when that fails, name stays. */
static void compress_file(const char *path)
{
    char bytes[65536];
    size_t n;
    AUTO_FREE char *to = xasprintf("%s.gz", path);
    FILE *in = fopen(path, "rbe");
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    gzFile out = fd >= 0 ? gzdopen(fd, "wb") : NULL;
    bool good = in != NULL && out != NULL;
    while (good && (n = fread(bytes, 1, sizeof(bytes), in)) > 0)
        good = gzwrite(out, bytes, (unsigned)n) == (int)n;
    good = good && ferror(in) == 0;
    if (in != NULL)
        fclose(in);
    if (out != NULL)
        good = gzclose(out) == Z_OK && good;
    else if (fd >= 0)
        close(fd);
    if (!good)
        log_warning("audit log: compress %s failed: it stays as it is", path);
    unlink(good ? path : to);
}

static void rotate(struct audit_log *l)
{
    struct error err = {0};
    AUTO_FREE char *to = backup_name(l->path);
    close(l->fd);
    if (rename(l->path, to) != 0)
        log_warning("audit log: rename %s: %s", l->path, strerror(errno));
    if (open_file(l, &err) != 0)
        log_error("audit log: %s", error_message(&err));
    if (l->config.compress)
        compress_file(to);
    remove_old(l);
}

/* --- writing -------------------------------------------------------------------------------------
 */
static bool write_all(struct audit_log *l, struct str text)
{
    while (text.len != 0) {
        ssize_t n = l->fd >= 0 ? write(l->fd, text.data, text.len) : -1;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            atomic_fetch_add(&l->dropped, 1);
            if (!l->failing)
                log_error("audit log: write %s: %s: events are lost", l->path, strerror(errno));
            l->failing = true;
            audit_lost("log", 1);
            return false;
        }
        l->failing = false;
        l->bytes += (uint64_t)n;
        text = str_sub(text, (size_t)n, text.len);
    }
    return true;
}

/* Whole lines, each file as full as it may get. */
static bool write_lines(struct audit_log *l, struct str text)
{
    bool stored = true;
    bool rotates = strcmp(l->path, "-") != 0 && l->config.bytes_max != 0;
    while (text.len != 0) {
        size_t take = text.len;
        if (rotates && l->bytes + take > l->config.bytes_max) {
            ptrdiff_t end = str_find(text, '\n', 0);
            take = end >= 0 ? (size_t)end + 1 : text.len;
            if (l->bytes != 0 && l->bytes + take > l->config.bytes_max)
                rotate(l);
        }
        stored &= write_all(l, str_sub(text, 0, take));
        text = str_sub(text, take, text.len);
    }
    return stored;
}

static void *writer(void *arg)
{
    struct audit_log *l = arg;
    struct buf mine = BUF_INIT;
    bool closing = false;
    struct list tickets;
    list_init(&tickets);
    while (!closing) {
        pthread_mutex_lock(&l->lock);
        while (l->waiting.len == 0 && !l->closing)
            pthread_cond_wait(&l->more, &l->lock);
        struct buf swap = mine;
        mine = l->waiting;
        l->waiting = swap;
        l->waiting_count = 0;
        list_splice(&tickets, &l->tickets);
        closing = l->closing;
        pthread_mutex_unlock(&l->lock);
        bool stored = write_lines(l, buf_str(&mine));
        buf_clear(&mine);
        for (struct list *t; (t = list_pop_front(&tickets)) != NULL;)
            LIST_ENTRY(t, struct audit_ticket, link)
                ->done(LIST_ENTRY(t, struct audit_ticket, link), stored);
    }
    buf_done(&mine);
    return NULL;
}

void audit_log_write(struct audit_log *l, struct str line, struct audit_ticket *ticket)
{
    pthread_mutex_lock(&l->lock);
    bool fits = l->waiting.len + line.len < WAITING_BYTES_MAX &&
                (ticket != NULL || l->waiting_count < l->config.buffer_count);
    if (fits) {
        l->waiting_count += ticket == NULL;
        if (ticket != NULL)
            list_push_back(&l->tickets, &ticket->link);
        bool idle = l->waiting.len == 0;
        buf_append_str(&l->waiting, line);
        buf_putc(&l->waiting, '\n');
        if (idle)
            pthread_cond_signal(&l->more);
    }
    pthread_mutex_unlock(&l->lock);
    if (fits)
        return;
    audit_lost("buffered", 1);
    if (atomic_fetch_add(&l->dropped, 1) == 0)
        log_error("audit log: %s takes events too slowly: some are lost", l->path);
    if (ticket != NULL)
        ticket->done(ticket, false);
}

uint64_t audit_log_dropped(const struct audit_log *l)
{
    return atomic_load(&l->dropped);
}

/* --- life
 * ------------------------------------------------------------------------------------------ */
int audit_log_open(const struct audit_log_config *config, struct audit_log **ret, struct error *err)
{
    struct audit_log *l = xzalloc(sizeof(*l));
    int code = 0;
    l->config = *config;
    l->path = xstrdup(config->path);
    if (strcmp(l->path, "-") == 0)
        l->fd = dup(STDOUT_FILENO);
    else
        code = open_file(l, err);
    if (code != 0) {
        free(l->path);
        free(l);
        return code;
    }
    list_init(&l->tickets);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->more, NULL);
    if (pthread_create(&l->thread, NULL, writer, l) != 0)
        PANIC("audit log: no thread");
    *ret = l;
    return 0;
}

void audit_log_close(struct audit_log *l)
{
    if (l == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    if (l->fd >= 0)
        close(l->fd);
    buf_done(&l->waiting);
    pthread_cond_destroy(&l->more);
    pthread_mutex_destroy(&l->lock);
    free(l->path);
    free(l);
}
