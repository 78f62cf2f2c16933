/* server_logs.c - GET /containerLogs/{namespace}/{pod}/{container}.
 *
 *   open, find the start (job) -> read a piece (job) -> write -> ... -> end
 *
 * Follows a growing file by its folder's inotify events, over rotations, until
 * the container has ended. Reading stops while the client is slow. */
#include "kubelet/cri_log.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/server.h"

#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/net/http_server.h"

#include "api/core_v1.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES 65536u
#define LINE_BYTES_MAX (1u << 20) /* The runtime splits lines long before. */
#define PENDING_MAX (512u << 10)
#define PENDING_LOW (128u << 10)
#define IDLE_CHECK_MS 500u

struct log_options {
    bool follow, previous, timestamps;
    int64_t tail;     /* -1: all. */
    int64_t since_ns; /* Lines from then on; INT64_MIN: all. */
    int64_t limit;    /* Bytes; -1: no limit. */
    bool only_stdout, only_stderr;
};

struct log_reader {
    struct kubelet *k;
    struct http_request *r; /* NULL once the client has gone. */
    struct log_options o;
    char *path;
    char *uid, *container_id;
    int fd;
    off_t offset;
    struct buf line; /* An unfinished line of the file. */
    bool mid_line;   /* The last line written was a part of one. */
    bool busy;       /* A job is running. */
    bool started, done;
    bool final; /* The container has ended: one more look, then the end. */
    int code;
    struct error err;
    uint8_t *piece;
    ssize_t piece_len;
    bool rotated;
    uv_fs_event_t watch;
    uv_timer_t timer;
    int handles;
};

static void pump(struct log_reader *l);

/* --- end --------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *h)
{
    struct log_reader *l = h->data;
    if (--l->handles > 0)
        return;
    if (l->fd >= 0)
        close(l->fd);
    buf_done(&l->line);
    free(l->piece);
    free(l->path);
    free(l->uid);
    free(l->container_id);
    free(l);
}

/* Releases everything once no job runs; the response has been ended before. */
static void reader_close(struct log_reader *l)
{
    if (l->busy)
        return;
    uv_close((uv_handle_t *)&l->watch, on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
}

static void finish(struct log_reader *l)
{
    if (l->done)
        return;
    l->done = true;
    if (l->r != NULL && l->code != 0 && !l->started)
        server_text(l->r, l->code == E_NOT_FOUND ? 404 : 500, "%s", error_message(&l->err));
    else if (l->r != NULL) {
        if (!l->started)
            http_response_start(l->r, 200, -1);
        http_response_end(l->r);
    }
    l->r = NULL;
    reader_close(l);
}

static void on_abort(struct http_request *r, void *arg)
{
    struct log_reader *l = arg;
    http_response_abort(r);
    l->r = NULL;
    finish(l);
}

/* --- writing ------------------------------------------------------------------------------- */

static void write_limited(struct log_reader *l, struct str s)
{
    size_t n = s.len;
    if (l->o.limit >= 0) {
        n = MIN_OF(n, (size_t)l->o.limit);
        l->o.limit -= (int64_t)n;
    }
    if (n > 0)
        http_response_write_copy(l->r, s.data, n);
}

static void write_line(struct log_reader *l, struct str raw)
{
    struct cri_log_line line;
    if (!cri_log_parse(raw, &line))
        return;
    if ((l->o.since_ns != INT64_MIN && line.time_ns < l->o.since_ns) ||
        (l->o.only_stdout && line.is_stderr) || (l->o.only_stderr && !line.is_stderr))
        return;
    if (l->o.timestamps && !l->mid_line) {
        write_limited(l, line.stamp);
        write_limited(l, STR(" "));
    }
    write_limited(l, line.text);
    if (!line.partial)
        write_limited(l, STR("\n"));
    l->mid_line = line.partial;
}

static void write_piece(struct log_reader *l)
{
    buf_append(&l->line, l->piece, (size_t)l->piece_len);
    for (;;) {
        ptrdiff_t end = str_find(buf_str(&l->line), '\n', 0);
        if (end < 0)
            break;
        write_line(l, str_sub(buf_str(&l->line), 0, (size_t)end));
        buf_consume(&l->line, (size_t)end + 1);
    }
    if (l->line.len > LINE_BYTES_MAX)
        buf_clear(&l->line);
}

/* --- reading: on a worker thread ---------------------------------------------------------------
 */

/* Where the last n lines start: reads backwards, piece by piece. */
static off_t find_tail(int fd, off_t size, uint64_t n, uint8_t *piece)
{
    uint64_t found = 0;
    off_t end = size;
    char last;
    if (n == 0)
        return size;
    /* The file's last line may lack its end. */
    if (size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n')
        found = 1;
    while (end > 0) {
        off_t start = end > (off_t)PIECE_BYTES ? end - (off_t)PIECE_BYTES : 0;
        ssize_t got = pread(fd, piece, (size_t)(end - start), start);
        if (got != end - start)
            return 0;
        ptrdiff_t at = cri_log_tail(str_n((const char *)piece, (size_t)got), n, &found);
        if (at >= 0)
            return start + at;
        end = start;
    }
    return 0;
}

static void run_open(void *arg)
{
    struct log_reader *l = arg;
    struct stat st;
    l->fd = open(l->path, O_RDONLY | O_CLOEXEC);
    if (l->fd < 0 || fstat(l->fd, &st) != 0) {
        l->code = error_set_errno(&l->err, errno == ENOENT ? E_NOT_FOUND : E_IO, errno,
                                  "failed to try resolving symlinks in path \"%s\"", l->path);
        return;
    }
    if (l->o.tail >= 0)
        l->offset = find_tail(l->fd, st.st_size, (uint64_t)l->o.tail, l->piece);
}

static void run_read(void *arg)
{
    struct log_reader *l = arg;
    struct stat here, there;
    l->rotated = false;
    l->piece_len = pread(l->fd, l->piece, PIECE_BYTES, l->offset);
    if (l->piece_len > 0) {
        l->offset += l->piece_len;
        return;
    }
    /* At the end. Another file under our name: go on with that one. */
    if (fstat(l->fd, &here) != 0 || stat(l->path, &there) != 0 || here.st_ino == there.st_ino)
        return;
    int fd = open(l->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    close(l->fd);
    l->fd = fd;
    l->offset = 0;
    l->rotated = true;
}

/* --- the loop ------------------------------------------------------------------------------------
 */

static bool container_runs(const struct log_reader *l)
{
    const struct pod_worker *w = map_get(&l->k->workers, str_of(l->uid));
    const struct rt_container *c =
        w != NULL ? rt_pod_find_id(pod_worker_runtime(w), l->container_id) : NULL;
    return c != NULL && (c->state == RT_RUNNING || c->state == RT_CREATED);
}

static void finish_read(void *arg)
{
    struct log_reader *l = arg;
    l->busy = false;
    if (l->done) {
        reader_close(l);
        return;
    }
    if (l->piece_len > 0) {
        write_piece(l);
        if (l->o.limit == 0)
            finish(l);
        else
            pump(l);
        return;
    }
    if (l->rotated) {
        pump(l);
        return;
    }
    if (!l->o.follow || l->final) {
        /* A last line without its end is shown as it is. */
        if (l->line.len > 0)
            write_line(l, buf_str(&l->line));
        finish(l);
        return;
    }
    /* Nothing new: the events wake us, and the timer looks whether it has ended. */
    if (!container_runs(l)) {
        l->final = true;
        pump(l);
    }
}

static void pump(struct log_reader *l)
{
    if (l->busy || l->done || !l->started)
        return;
    if (http_response_pending(l->r) > PENDING_MAX)
        return; /* on_drain comes. */
    l->busy = true;
    job_start(l->k->loop, run_read, finish_read, l);
}

static void on_drain(struct http_request *r, void *arg)
{
    UNUSED(r);
    pump(arg);
}

static void on_file_event(uv_fs_event_t *e, const char *name, int events, int status)
{
    UNUSED(name);
    UNUSED(events);
    UNUSED(status);
    pump(e->data);
}

static void on_timer(uv_timer_t *t)
{
    struct log_reader *l = t->data;
    if (!l->busy && !l->done && l->started && !container_runs(l)) {
        l->final = true;
        pump(l);
    }
}

static void finish_open(void *arg)
{
    struct log_reader *l = arg;
    l->busy = false;
    if (l->done || l->code != 0) {
        if (l->done)
            reader_close(l);
        else
            finish(l);
        return;
    }
    l->started = true;
    http_response_header(l->r, "content-type", "text/plain");
    http_response_start(l->r, 200, -1);
    http_response_on_drain(l->r, PENDING_LOW, on_drain, l);
    if (l->o.follow) {
        AUTO_FREE char *dir = xstrdup(l->path);
        char *slash = strrchr(dir, '/');
        if (slash != NULL)
            *slash = '\0';
        uv_fs_event_start(&l->watch, on_file_event, dir, 0);
        uv_timer_start(&l->timer, on_timer, IDLE_CHECK_MS, IDLE_CHECK_MS);
    }
    pump(l);
}

static void reader_start(struct kubelet *k, struct http_request *r, const struct log_options *o,
                         const char *uid, const struct rt_container *c)
{
    struct log_reader *l = xzalloc(sizeof(*l));
    l->k = k;
    l->r = r;
    l->o = *o;
    l->fd = -1;
    l->path = xstrdup(c->log_path);
    l->uid = xstrdup(uid);
    l->container_id = xstrdup(c->id);
    l->piece = xmalloc(PIECE_BYTES);
    uv_fs_event_init(k->loop, &l->watch);
    uv_timer_init(k->loop, &l->timer);
    l->watch.data = l->timer.data = l;
    l->handles = 2;
    l->busy = true;
    http_request_on_abort(r, on_abort, l);
    job_start(k->loop, run_open, finish_open, l);
}

/* --- the request
 * ------------------------------------------------------------------------------------ */

static bool number(struct http_request *r, const char *name, int64_t *ret)
{
    struct str v = server_param(r, name);
    if (str_empty(v))
        return true;
    if (str_to_i64(v, ret) && *ret >= 0)
        return true;
    server_text(r, 422, "%s must be a non-negative number", name);
    return false;
}

static bool parse_options(struct kubelet *k, struct http_request *r, struct log_options *o)
{
    int64_t since_s = -1;
    *o = (struct log_options){
        .follow = server_flag(r, "follow"),
        .previous = server_flag(r, "previous"),
        .timestamps = server_flag(r, "timestamps"),
        .tail = -1,
        .since_ns = INT64_MIN,
        .limit = -1,
        .only_stdout = str_eqc(server_param(r, "stream"), "Stdout"),
        .only_stderr = str_eqc(server_param(r, "stream"), "Stderr"),
    };
    /* kubectl says -1 for all. */
    if (!str_eqc(server_param(r, "tailLines"), "-1") && !number(r, "tailLines", &o->tail))
        return false;
    if (!number(r, "limitBytes", &o->limit) || !number(r, "sinceSeconds", &since_s))
        return false;
    if (since_s >= 0)
        o->since_ns = env_wall_ns(k->env) - since_s * 1000000000;
    struct str since = server_param(r, "sinceTime");
    if (!str_empty(since) && !cri_log_parse_time(since, &o->since_ns)) {
        server_text(r, 422, "sinceTime is not an RFC 3339 time");
        return false;
    }
    return true;
}

static const struct core_v1_container_status *find_status(const struct core_v1_pod_status *s,
                                                          struct str name)
{
    const struct core_v1_container_status *lists[] = {
        s->container_statuses, s->init_container_statuses, s->ephemeral_container_statuses};
    size_t counts[] = {s->container_statuses_count, s->init_container_statuses_count,
                       s->ephemeral_container_statuses_count};
    for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
        for (size_t i = 0; i < counts[k]; i++) {
            if (str_eq(lists[k][i].name, name))
                return &lists[k][i];
        }
    }
    return NULL;
}

/* Why there is no log yet. */
static struct str waiting_text(struct arena *a, const struct core_v1_container_status *cs)
{
    if (cs->state.waiting == NULL)
        return STR(" - no logs yet");
    struct str reason = cs->state.waiting->reason;
    if (str_eqc(reason, "ErrImagePull"))
        return STR(": image can't be pulled");
    if (str_eqc(reason, "ImagePullBackOff"))
        return STR(": trying and failing to pull image");
    return arena_printf(a, ": " STR_FMT, STR_ARG(reason));
}

void server_logs(struct kubelet *k, struct http_request *r, const struct str *segments,
                 size_t count)
{
    struct log_options o;
    if (count < 3) {
        server_text(r, 400, "{\"message\": \"missing container name\"}");
        return;
    }
    struct pod_worker *w = server_find_pod(k, r, segments, count);
    if (w == NULL || !parse_options(k, r, &o))
        return;
    struct str name = segments[2];
    const struct core_v1_pod_status *status = pod_worker_status(w);
    const struct core_v1_container_status *cs = status != NULL ? find_status(status, name) : NULL;
    const struct rt_container *c = rt_pod_find(pod_worker_runtime(w), name);
    const struct core_v1_pod *pod = pod_worker_pod(w);
    if (pod != NULL && !pod_has_container(&pod->spec, name)) {
        server_text(r, 404, "container \"" STR_FMT "\" not found in pod \"" STR_FMT "\"",
                    STR_ARG(name), STR_ARG(segments[1]));
        return;
    }
    if (cs == NULL) {
        server_text(r, 400, "container \"" STR_FMT "\" in pod \"" STR_FMT "\" is not available",
                    STR_ARG(name), STR_ARG(segments[1]));
        return;
    }
    /* In a crash loop the newest instance is the previous one already. */
    if (o.previous && (cs->state.waiting == NULL || c == NULL || c->state != RT_EXITED))
        c = rt_pod_find_nth(pod_worker_runtime(w), name, 1);
    if (c == NULL && o.previous)
        server_text(r, 400,
                    "previous terminated container \"" STR_FMT "\" in pod \"" STR_FMT
                    "\" not found",
                    STR_ARG(name), STR_ARG(segments[1]));
    else if (c == NULL || c->log_path[0] == '\0')
        server_text(r, 400,
                    "container \"" STR_FMT "\" in pod \"" STR_FMT "\" is waiting to start" STR_FMT,
                    STR_ARG(name), STR_ARG(segments[1]), STR_ARG(waiting_text(r->arena, cs)));
    else
        reader_start(k, r, &o, pod_worker_uid(w), c);
}
