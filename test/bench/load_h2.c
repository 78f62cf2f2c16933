/* load_h2.c - see load_h2.h. RFC 9113 for the frames, RFC 7541 for the fields:
 * what we send is indexed by hand, what comes is inflated by nghttp2. */
#include "test/bench/load_h2.h"

#include "lib/base/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_HEAD 9
#define SLOTS 4096u /* Open calls of a connection; a power of two. */
#define PATHS_MAX 16
#define IN_BYTES ((size_t)256 << 10)
#define STREAM_WINDOW (16u << 20)
#define CONN_WINDOW (64u << 20)
#define WINDOW_DEFAULT 65535

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, HAS_PRIORITY = 32 };

/* A message that waits for the connection's window. */
struct waiting {
    struct waiting *next;
    struct load_call *call;
    size_t len;
    bool end;
    uint8_t data[];
};

struct load_conn {
    struct load_loop *loop;
    int fd;
    char authority[64];
    struct buf out;
    bool wants_out; /* EPOLLOUT is on. */
    uint8_t *in;
    size_t in_len;
    int64_t send_window;
    size_t unacked;
    uint32_t next_id;
    struct load_call *calls[SLOTS];
    struct waiting *first, **last;
    nghttp2_hd_inflater *inflater;
    /* What the server's table of fields holds of ours: the order of insertion
     * plus one, 0 for what it has not seen. */
    unsigned inserted;
    unsigned authority_at, type_at, te_at, agent_at;
    const char *paths[PATHS_MAX];
    unsigned path_at[PATHS_MAX];
};

struct load_loop {
    int epoll;
    struct load_conn *conns[1024];
    size_t conn_count;
};

uint64_t load_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

NO_RETURN static void load_die(const struct load_conn *c, const char *what)
{
    fprintf(stderr, "load: %s: %s\n", c->authority, what);
    _exit(3);
}

/* --- frames out --- */

static void put_frame(struct buf *b, size_t len, int type, int flags, uint32_t id)
{
    uint8_t *p = buf_reserve(b, FRAME_HEAD);
    p[0] = (uint8_t)(len >> 16);
    p[1] = (uint8_t)(len >> 8);
    p[2] = (uint8_t)len;
    p[3] = (uint8_t)type;
    p[4] = (uint8_t)flags;
    p[5] = (uint8_t)(id >> 24);
    p[6] = (uint8_t)(id >> 16);
    p[7] = (uint8_t)(id >> 8);
    p[8] = (uint8_t)id;
    buf_commit(b, FRAME_HEAD);
}

static void put_window(struct load_conn *c, uint32_t id, size_t n)
{
    put_frame(&c->out, 4, WINDOW_UPDATE, 0, id);
    buf_put_be32(&c->out, (uint32_t)n);
}

/* Texts here are shorter than the 127 that fit a length of one byte. */
static uint8_t *put_text(uint8_t *p, const char *s)
{
    size_t n = strlen(s);
    ASSERT(n < 127);
    *p++ = (uint8_t)n;
    memcpy(p, s, n);
    return p + n;
}

/* A field: by its place in the table once the server has it, else in full, to be
 * kept. name_index stands for the name, or name does (0). */
static uint8_t *put_field(struct load_conn *c, uint8_t *p, unsigned *at, uint8_t name_index,
                          const char *name, const char *value)
{
    if (*at != 0) {
        *p++ = (uint8_t)(0x80 | (62 + c->inserted - *at));
        return p;
    }
    *at = ++c->inserted;
    *p++ = (uint8_t)(0x40 | name_index);
    if (name_index == 0)
        p = put_text(p, name);
    return put_text(p, value);
}

static unsigned *path_slot(struct load_conn *c, const char *path)
{
    for (size_t i = 0; i < PATHS_MAX; i++) {
        if (c->paths[i] == NULL)
            c->paths[i] = path;
        if (c->paths[i] == path)
            return &c->path_at[i];
    }
    PANIC("more than %d methods", PATHS_MAX);
}

static void put_head(struct load_conn *c, uint32_t id, const char *path)
{
    uint8_t block[1024], *p = block;
    *p++ = 0x83; /* :method POST */
    *p++ = 0x86; /* :scheme http */
    p = put_field(c, p, path_slot(c, path), 4, NULL, path);
    p = put_field(c, p, &c->authority_at, 1, NULL, c->authority);
    p = put_field(c, p, &c->type_at, 31, NULL, "application/grpc");
    p = put_field(c, p, &c->agent_at, 58, NULL, "load-store/1");
    p = put_field(c, p, &c->te_at, 0, "te", "trailers");
    put_frame(&c->out, (size_t)(p - block), HEADERS, END_HEADERS, id);
    buf_append(&c->out, block, (size_t)(p - block));
}

static void put_message(struct load_conn *c, uint32_t id, const void *message, size_t len, bool end)
{
    put_frame(&c->out, len + 5, DATA, end ? END_STREAM : 0, id);
    buf_putc(&c->out, '\0');
    buf_put_be32(&c->out, (uint32_t)len);
    buf_append(&c->out, message, len);
    c->send_window -= (int64_t)len + 5;
}

void load_call_start(struct load_conn *c, struct load_call *call, const char *path,
                     const void *message, size_t len, bool end)
{
    /* Identities may be left out: that is cheaper than a real map beside calls that last. */
    while (c->calls[c->next_id / 2 & (SLOTS - 1)] != NULL)
        c->next_id += 2;
    call->conn = c;
    call->id = c->next_id;
    call->status = -1;
    call->text[0] = '\0';
    call->unacked = 0;
    c->calls[call->id / 2 & (SLOTS - 1)] = call;
    c->next_id += 2;
    put_head(c, call->id, path);
    ASSERT(len + 5 <= 16384); /* One frame, and inside a stream's first window. */
    if (c->first == NULL && c->send_window >= (int64_t)len + 5) {
        put_message(c, call->id, message, len, end);
        return;
    }
    struct waiting *w = xmalloc(sizeof(*w) + len);
    *w = (struct waiting){.call = call, .len = len, .end = end};
    memcpy(w->data, message, len);
    *c->last = w;
    c->last = &w->next;
}

void load_call_send(struct load_call *call, const void *message, size_t len)
{
    put_message(call->conn, call->id, message, len, false);
}

static void conn_send_waiting(struct load_conn *c)
{
    while (c->first != NULL && c->send_window >= (int64_t)c->first->len + 5) {
        struct waiting *w = c->first;
        c->first = w->next;
        if (c->first == NULL)
            c->last = &c->first;
        put_message(c, w->call->id, w->data, w->len, w->end);
        free(w);
    }
}

static void call_forget(struct load_call *call)
{
    call->conn->calls[call->id / 2 & (SLOTS - 1)] = NULL;
    buf_done(&call->partial);
}

void load_call_cancel(struct load_call *call)
{
    put_frame(&call->conn->out, 4, RST_STREAM, 0, call->id);
    buf_put_be32(&call->conn->out, 8); /* CANCEL */
    call_forget(call);
}

/* --- frames in --- */

static uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static struct load_call *find_call(struct load_conn *c, uint32_t id)
{
    struct load_call *call = c->calls[id / 2 & (SLOTS - 1)];
    return call != NULL && call->id == id ? call : NULL;
}

static void call_end(struct load_call *call, int status)
{
    call_forget(call);
    call->on_end(call, status, call->text);
}

/* Cuts off whole messages; what is left waits for more. */
static void call_messages(struct load_call *call, const uint8_t *data, size_t len)
{
    bool kept = call->partial.len > 0;
    if (kept) {
        buf_append(&call->partial, data, len);
        data = call->partial.data;
        len = call->partial.len;
    }
    size_t used = 0;
    while (len - used >= 5) {
        size_t n = get_be32(data + used + 1);
        if (len - used - 5 < n) {
            if (!kept)
                buf_reserve(&call->partial, n + 5);
            break;
        }
        if (call->on_message != NULL)
            call->on_message(call, data + used + 5, n);
        used += 5 + n;
    }
    if (kept)
        buf_consume(&call->partial, used);
    else
        buf_append(&call->partial, data + used, len - used);
}

static void on_data(struct load_conn *c, int flags, uint32_t id, const uint8_t *p, size_t len)
{
    struct load_call *call = find_call(c, id);
    c->unacked += len;
    if (c->unacked >= CONN_WINDOW / 4) {
        put_window(c, 0, c->unacked);
        c->unacked = 0;
    }
    if (call == NULL)
        return;
    call->unacked += len;
    if (call->unacked >= STREAM_WINDOW / 4 && (flags & END_STREAM) == 0) {
        put_window(c, id, call->unacked);
        call->unacked = 0;
    }
    if ((flags & PADDED) != 0)
        load_die(c, "padded frame");
    if (call->on_piece != NULL)
        call->on_piece(call, p, len);
    else
        call_messages(call, p, len);
    if ((flags & END_STREAM) != 0 && find_call(c, id) == call)
        call_end(call, call->status);
}

static void call_field(struct load_call *call, const nghttp2_nv *nv)
{
    if (nv->namelen == 11 && memcmp(nv->name, "grpc-status", 11) == 0)
        call->status = atoi((const char *)nv->value);
    else if (nv->namelen == 12 && memcmp(nv->name, "grpc-message", 12) == 0)
        snprintf(call->text, sizeof(call->text), "%.*s", (int)nv->valuelen, nv->value);
}

static void on_headers(struct load_conn *c, int flags, uint32_t id, const uint8_t *p, size_t len)
{
    struct load_call *call = find_call(c, id);
    if ((flags & END_HEADERS) == 0 || (flags & (PADDED | HAS_PRIORITY)) != 0)
        load_die(c, "header frame of an unexpected kind");
    for (;;) {
        nghttp2_nv nv;
        int what = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(c->inflater, &nv, &what, p, len, 1);
        if (n < 0)
            load_die(c, "header block cannot be read");
        p += n;
        len -= (size_t)n;
        if ((what & NGHTTP2_HD_INFLATE_EMIT) != 0 && call != NULL)
            call_field(call, &nv);
        if ((what & NGHTTP2_HD_INFLATE_FINAL) != 0)
            break;
    }
    nghttp2_hd_inflate_end_headers(c->inflater);
    if (call != NULL && (flags & END_STREAM) != 0)
        call_end(call, call->status);
}

static void on_frame(struct load_conn *c, int type, int flags, uint32_t id, const uint8_t *p,
                     size_t len)
{
    struct load_call *call;
    switch (type) {
    case DATA:
        on_data(c, flags, id, p, len);
        break;
    case HEADERS:
        on_headers(c, flags, id, p, len);
        break;
    case RST_STREAM:
        call = find_call(c, id);
        if (call != NULL) {
            snprintf(call->text, sizeof(call->text), "stream reset, code %u", get_be32(p));
            call_end(call, call->status >= 0 ? call->status : 14);
        }
        break;
    case SETTINGS:
        if ((flags & ACK) == 0)
            put_frame(&c->out, 0, SETTINGS, ACK, 0);
        break;
    case PING:
        if ((flags & ACK) == 0) {
            put_frame(&c->out, len, PING, ACK, 0);
            buf_append(&c->out, p, len);
        }
        break;
    case GOAWAY:
        load_die(c, "the server says goodbye");
    case WINDOW_UPDATE:
        if (id == 0)
            c->send_window += get_be32(p) & 0x7fffffff;
        break;
    default:
        break;
    }
}

static void conn_parse(struct load_conn *c)
{
    size_t at = 0;
    while (c->in_len - at >= FRAME_HEAD) {
        const uint8_t *h = c->in + at;
        size_t len = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
        if (len > IN_BYTES / 2)
            load_die(c, "frame too large");
        if (c->in_len - at < FRAME_HEAD + len)
            break;
        on_frame(c, h[3], h[4], get_be32(h + 5) & 0x7fffffff, h + FRAME_HEAD, len);
        at += FRAME_HEAD + len;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void conn_read(struct load_conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_BYTES - c->in_len, 0);
    if (n == 0)
        load_die(c, "closed by the server");
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            load_die(c, strerror(errno));
        return;
    }
    c->in_len += (size_t)n;
    conn_parse(c);
}

static void conn_write(struct load_conn *c)
{
    conn_send_waiting(c);
    if (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            load_die(c, strerror(errno));
        if (n > 0)
            buf_consume(&c->out, (size_t)n);
    }
    bool wants = c->out.len > 0;
    if (wants == c->wants_out)
        return;
    c->wants_out = wants;
    struct epoll_event e = {.events = wants ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(c->loop->epoll, EPOLL_CTL_MOD, c->fd, &e);
}

/* --- connections and loops --- */

static int load_connect(const char *endpoint)
{
    char host[64];
    snprintf(host, sizeof(host), "%s", endpoint);
    char *colon = strrchr(host, ':');
    if (colon == NULL)
        return -1;
    *colon = '\0';
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    if (inet_pton(AF_INET, host, &sa.sin_addr) != 1)
        return -1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool load_can_connect(const char *endpoint)
{
    int fd = load_connect(endpoint);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void conn_greet(struct load_conn *c)
{
    static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    buf_append(&c->out, PREFACE, sizeof(PREFACE) - 1);
    put_frame(&c->out, 12, SETTINGS, 0, 0);
    buf_append(&c->out, (const uint8_t[]){0, 2}, 2); /* ENABLE_PUSH */
    buf_put_be32(&c->out, 0);
    buf_append(&c->out, (const uint8_t[]){0, 4}, 2); /* INITIAL_WINDOW_SIZE */
    buf_put_be32(&c->out, STREAM_WINDOW);
    put_window(c, 0, CONN_WINDOW - WINDOW_DEFAULT);
    conn_write(c);
}

struct load_conn *load_conn_new(struct load_loop *l, const char *endpoint)
{
    ASSERT(l->conn_count < ARRAY_SIZE(l->conns));
    struct load_conn *c = xzalloc(sizeof(*c));
    c->loop = l;
    c->next_id = 1;
    c->send_window = WINDOW_DEFAULT;
    c->last = &c->first;
    c->in = xmalloc(IN_BYTES);
    snprintf(c->authority, sizeof(c->authority), "%s", endpoint);
    c->fd = load_connect(endpoint);
    if (c->fd < 0)
        load_die(c, "cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (nghttp2_hd_inflate_new(&c->inflater) != 0 ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
        load_die(c, "no memory");
    l->conns[l->conn_count++] = c;
    conn_greet(c);
    return c;
}

void load_conn_free(struct load_conn *c)
{
    struct load_loop *l = c->loop;
    for (size_t i = 0; i < l->conn_count; i++)
        if (l->conns[i] == c)
            l->conns[i] = l->conns[--l->conn_count];
    close(c->fd);
    nghttp2_hd_inflate_del(c->inflater);
    buf_done(&c->out);
    free(c->in);
    free(c);
}

struct load_loop *load_loop_new(void)
{
    struct load_loop *l = xzalloc(sizeof(*l));
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    ASSERT(l->epoll >= 0);
    return l;
}

void load_loop_free(struct load_loop *l)
{
    while (l->conn_count > 0)
        load_conn_free(l->conns[0]);
    close(l->epoll);
    free(l);
}

void load_loop_run(struct load_loop *l, const bool *stop, uint64_t (*on_turn)(void *arg), void *arg)
{
    struct epoll_event events[64];
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        uint64_t due = on_turn != NULL ? on_turn(arg) : 0;
        for (size_t i = 0; i < l->conn_count; i++)
            if ((l->conns[i]->out.len > 0 && !l->conns[i]->wants_out) || l->conns[i]->first != NULL)
                conn_write(l->conns[i]);
        if (__atomic_load_n(stop, __ATOMIC_RELAXED))
            return;
        uint64_t now = load_now_ns();
        uint64_t wait = due == 0 ? 100000000u : due > now ? MIN_OF(due - now, 100000000u) : 0;
        struct timespec ts = {.tv_sec = 0, .tv_nsec = (long)wait};
        int n = epoll_pwait2(l->epoll, events, ARRAY_SIZE(events), &ts, NULL);
        for (int i = 0; i < n; i++) {
            struct load_conn *c = events[i].data.ptr;
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
                conn_read(c);
            if ((events[i].events & EPOLLOUT) != 0)
                conn_write(c);
        }
    }
}
