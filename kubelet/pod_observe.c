/* pod_observe.c - reads what the runtime holds of one pod, and waits for ends.
 *
 *   list sandboxes -> list containers -> sandbox status -> status of each
 *   container that may have changed -> termination messages -> swap the view
 *
 * A container's end is noticed through a pidfd on its first process, which
 * costs nothing while it runs. Where the runtime tells no pid, or the kernel
 * gives no pidfd, pleg.c polls instead. */
#include "kubelet/job.h"
#include "kubelet/pod_worker_internal.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"

#include "api/core_v1.h"
#include "kubelet/cri_log.h"
#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TERMINATION_BYTES_MAX 4096
#define TERMINATION_LOG_LINES 80
#define OBSERVE_RETRY_MS 1000

/* --- exits ------------------------------------------------------------------------ */

static void on_watch_closed(uv_handle_t *h)
{
    struct exit_watch *x = CONTAINER_OF((uv_poll_t *)h, struct exit_watch, poll);
    close(x->fd);
    free(x->container_id);
    free(x);
}

static void watch_close(struct exit_watch *x)
{
    list_remove(&x->link);
    uv_close((uv_handle_t *)&x->poll, on_watch_closed);
}

static void on_exit_seen(uv_poll_t *poll, int status, int events)
{
    struct exit_watch *x = CONTAINER_OF(poll, struct exit_watch, poll);
    struct pod_worker *w = x->worker;
    UNUSED(status);
    UNUSED(events);
    watch_close(x);
    pod_worker_observe(w);
}

static bool is_watched(const struct pod_worker *w, const char *id)
{
    LIST_FOREACH (it, &w->exit_watches) {
        if (strcmp(LIST_ENTRY(it, struct exit_watch, link)->container_id, id) == 0)
            return true;
    }
    return false;
}

/* The process is gone but the runtime has not noticed: it will in a moment. */
static void look_again_soon(struct pod_worker *w)
{
    uint64_t wait = 10u << MIN_OF(w->settle_looks, 7u);
    w->settle_looks++;
    worker_observe_in(w, wait);
}

static bool watch_exit(struct pod_worker *w, const struct rt_container *c)
{
    if (c->pid <= 0)
        return false;
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)c->pid, 0);
    if (fd < 0 && errno == ESRCH) {
        look_again_soon(w);
        return false;
    }
    if (fd < 0)
        return false;
    struct exit_watch *x = xzalloc(sizeof(*x));
    if (uv_poll_init(w->k->loop, &x->poll, fd) != 0) {
        close(fd);
        free(x);
        return false;
    }
    x->fd = fd;
    x->worker = w;
    x->container_id = xstrdup(c->id);
    list_push_back(&w->exit_watches, &x->link);
    uv_poll_start(&x->poll, UV_READABLE, on_exit_seen);
    return true;
}

void worker_watch_exits(struct pod_worker *w)
{
    w->needs_polling = false;
    unsigned looks = w->settle_looks;
    LIST_FOREACH_SAFE (it, &w->exit_watches) {
        struct exit_watch *x = LIST_ENTRY(it, struct exit_watch, link);
        const struct rt_container *c = rt_pod_find_id(w->rt, x->container_id);
        if (c == NULL || c->state != RT_RUNNING)
            watch_close(x);
    }
    for (size_t i = 0; i < w->rt->container_count; i++) {
        const struct rt_container *c = &w->rt->containers[i];
        if (c->state == RT_RUNNING && !is_watched(w, c->id) && !watch_exit(w, c))
            w->needs_polling = true;
    }
    if (looks == w->settle_looks)
        w->settle_looks = 0;
}

void worker_unwatch_all(struct pod_worker *w)
{
    LIST_FOREACH_SAFE (it, &w->exit_watches) {
        watch_close(LIST_ENTRY(it, struct exit_watch, link));
    }
}

/* --- termination messages ----------------------------------------------------------- */

struct observation {
    struct pod_worker *w;
    struct rt_pod *fresh;
    size_t next; /* Container to ask about. */
    struct arena *arena;
};

static void read_tail(const char *path, size_t max, struct buf *b)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        size_t want = MIN_OF((size_t)st.st_size, max);
        uint8_t *p = buf_reserve(b, want);
        ssize_t n = pread(fd, p, want, st.st_size - (off_t)want);
        buf_commit(b, n > 0 ? (size_t)n : 0);
    }
    close(fd);
}

/* The last lines of a log, without the runtime's framing. */
static void log_message(const char *path, struct buf *out)
{
    AUTO_BUF raw = BUF_INIT;
    read_tail(path, 64 * 1024, &raw);
    uint64_t found = 0;
    ptrdiff_t at = cri_log_tail(buf_str(&raw), TERMINATION_LOG_LINES, &found);
    struct str rest = str_sub(buf_str(&raw), at > 0 ? (size_t)at : 0, raw.len), line;
    for (bool more = rest.len > 0; more;) {
        struct cri_log_line l;
        more = str_cut(rest, '\n', &line, &rest);
        if (!cri_log_parse(line, &l))
            continue;
        buf_append_str(out, l.text);
        if (!l.partial)
            buf_putc(out, '\n');
    }
    if (out->len > 2048)
        buf_consume(out, out->len - 2048);
}

static void run_messages(void *arg)
{
    struct observation *o = arg;
    for (size_t i = 0; i < o->fresh->container_count; i++) {
        struct rt_container *c = &o->fresh->containers[i];
        const struct rt_container *old = rt_pod_find_id(o->w->rt, c->id);
        if (c->state != RT_EXITED || !c->has_status || (old != NULL && old->state == RT_EXITED))
            continue;
        AUTO_BUF b = BUF_INIT;
        if (c->term_path[0] != '\0')
            read_tail(c->term_path, TERMINATION_BYTES_MAX, &b);
        if (b.len == 0 && c->exit_code != 0 && strcmp(c->term_policy, "FallbackToLogsOnError") == 0)
            log_message(c->log_path, &b);
        if (b.len > 0 && str_is_utf8(buf_str(&b)))
            c->message = str_c(arena_str(o->fresh->arena, buf_str(&b)));
    }
}

static bool has_messages_to_read(const struct observation *o)
{
    for (size_t i = 0; i < o->fresh->container_count; i++) {
        const struct rt_container *c = &o->fresh->containers[i];
        const struct rt_container *old = rt_pod_find_id(o->w->rt, c->id);
        if (c->state == RT_EXITED && c->has_status && (old == NULL || old->state != RT_EXITED))
            return true;
    }
    return false;
}

/* --- the observation ------------------------------------------------------------------ */

static void observation_free(struct observation *o)
{
    arena_free(o->arena);
    free(o);
}

static void observe_failed(struct observation *o, const struct cri_reply *reply)
{
    struct pod_worker *w = o->w;
    if (reply->code != E_UNAVAILABLE && reply->code != E_CANCELED)
        log_warning("pod %s/%s: %s", w->namespace_name, w->name, reply->message);
    rt_pod_free(o->fresh);
    observation_free(o);
    /* The runtime is away: whatever runs, runs on. */
    w->busy = false;
    w->rt_stale = true;
    worker_wake_in(w, OBSERVE_RETRY_MS);
}

static void finish_observation(void *arg)
{
    struct observation *o = arg;
    struct pod_worker *w = o->w;
    struct rt_pod *old = w->rt;
    w->rt = o->fresh;
    worker_trace_op(w, START_LOOK);
    observation_free(o);
    rt_pod_free(old);
    for (size_t i = 0; i < w->rt->sandbox_count; i++)
        w->sandbox_attempts = MAX_OF(w->sandbox_attempts, w->rt->sandboxes[i].attempt + 1);
    w->rt_read_ms = kubelet_now_ms(w->k);
    worker_watch_exits(w);
    worker_op_done_same(w);
}

static void next_status(struct observation *o);

static void on_container_status(const struct cri_reply *reply, void *arg)
{
    struct observation *o = arg;
    struct rt_container *c = &o->fresh->containers[o->next];
    if (reply->code != 0 && reply->status != GRPC_NOT_FOUND) {
        observe_failed(o, reply);
        return;
    }
    if (reply->code == 0)
        rt_container_set_status(o->fresh, c, reply->msg);
    o->next++;
    next_status(o);
}

/* Asks about the next container that may have changed since the last view. */
static void next_status(struct observation *o)
{
    for (; o->next < o->fresh->container_count; o->next++) {
        struct rt_container *c = &o->fresh->containers[o->next];
        const struct rt_container *old = rt_pod_find_id(o->w->rt, c->id);
        bool settled =
            old != NULL && old->has_status && old->state == c->state &&
            (c->state == RT_EXITED || (c->state == RT_RUNNING && is_watched(o->w, c->id)));
        if (!settled)
            break;
        rt_container_copy_status(o->fresh, c, old);
    }
    if (o->next < o->fresh->container_count) {
        CRI(ContainerStatusRequest) r;
        runtime__v1__container_status_request__init(&r);
        r.container_id = (char *)(uintptr_t)o->fresh->containers[o->next].id;
        r.verbose = true;
        cri_call(o->w->k->cri, CRI_CONTAINER_STATUS, &r, CRI_TIMEOUT_MS, on_container_status, o);
        return;
    }
    if (has_messages_to_read(o))
        job_start(o->w->k->loop, run_messages, finish_observation, o);
    else
        finish_observation(o);
}

static void on_sandbox_status(const struct cri_reply *reply, void *arg)
{
    struct observation *o = arg;
    if (reply->code != 0 && reply->status != GRPC_NOT_FOUND) {
        observe_failed(o, reply);
        return;
    }
    const CRI(PodSandboxStatusResponse) *r = reply->msg;
    if (reply->code == 0 && r->status != NULL) {
        const struct kubelet *k = o->w->k;
        rt_sandbox_set_status(o->fresh, &o->fresh->sandboxes[0], r->status);
        rt_sandbox_order_ips(o->fresh, &o->fresh->sandboxes[0],
                             k->host_ip_count > 0 && strchr(k->host_ips[0], ':') != NULL);
    }
    next_status(o);
}

static void on_containers(const struct cri_reply *reply, void *arg)
{
    struct observation *o = arg;
    if (reply->code != 0) {
        observe_failed(o, reply);
        return;
    }
    rt_pod_set_containers(o->fresh, reply->msg);
    if (o->fresh->sandbox_count == 0 || !o->fresh->sandboxes[0].ready) {
        next_status(o);
        return;
    }
    CRI(PodSandboxStatusRequest) r;
    runtime__v1__pod_sandbox_status_request__init(&r);
    r.pod_sandbox_id = (char *)(uintptr_t)o->fresh->sandboxes[0].id;
    cri_call(o->w->k->cri, CRI_POD_SANDBOX_STATUS, &r, CRI_TIMEOUT_MS, on_sandbox_status, o);
}

static void on_sandboxes(const struct cri_reply *reply, void *arg)
{
    struct observation *o = arg;
    if (reply->code != 0) {
        observe_failed(o, reply);
        return;
    }
    rt_pod_set_sandboxes(o->fresh, reply->msg);
    CRI(ListContainersRequest) *r =
        CRI_NEW(o->arena, ListContainersRequest, list_containers_request);
    r->filter = CRI_NEW(o->arena, ContainerFilter, container_filter);
    cri_map_add(o->arena, &runtime__v1__container_filter__label_selector_entry__descriptor,
                &r->filter->label_selector, &r->filter->n_label_selector, STR(LABEL_POD_UID),
                str_of(o->w->uid));
    cri_call(o->w->k->cri, CRI_LIST_CONTAINERS, r, CRI_TIMEOUT_MS, on_containers, o);
}

void worker_observe_start(struct pod_worker *w)
{
    struct observation *o = xzalloc(sizeof(*o));
    o->w = w;
    o->arena = arena_new(0);
    o->fresh = rt_pod_new(w->uid);
    w->rt_stale = false;
    w->op_begin_ns = uv_hrtime();
    CRI(ListPodSandboxRequest) *r =
        CRI_NEW(o->arena, ListPodSandboxRequest, list_pod_sandbox_request);
    r->filter = CRI_NEW(o->arena, PodSandboxFilter, pod_sandbox_filter);
    cri_map_add(o->arena, &runtime__v1__pod_sandbox_filter__label_selector_entry__descriptor,
                &r->filter->label_selector, &r->filter->n_label_selector, STR(LABEL_POD_UID),
                str_of(w->uid));
    cri_call(w->k->cri, CRI_LIST_POD_SANDBOX, r, CRI_TIMEOUT_MS, on_sandboxes, o);
}
