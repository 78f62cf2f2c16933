/* server_udp_uv.c - datagrams, in batches: one system call reads up to
 * BATCH queries and one sends their answers. */
#include "kubelet/dns/server_internal.h"

#include "lib/base/error.h"
#include "lib/base/loop.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 32u
#define ROUNDS_MAX 4      /* Before other work gets its turn. */
#define QUERY_BYTES 1024u /* Longer ones are no queries. */
/* What may wait while the loop is busy elsewhere: some 10,000 queries. */
#define RECEIVE_BYTES (8 << 20)

struct udp_socket {
    struct dns_server *server;
    uv_poll_t poll;
    int fd;
    bool v6;
};

/* Of one batch; the loop has one at a time. */
struct batch {
    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_iov[BATCH], out_iov[BATCH];
    struct sockaddr_storage from[BATCH];
    uint8_t query[BATCH][QUERY_BYTES], answer[BATCH][DNS_UDP_BYTES_MAX];
};

struct udp_request {
    struct dns_request r; /* First. */
    const struct udp_socket *socket;
    struct sockaddr_storage to;
    socklen_t to_len;
};

static void udp_reply(struct dns_request *r, const uint8_t *msg, size_t len)
{
    struct udp_request *u = (struct udp_request *)r;
    /* A full buffer drops it: the client asks again. */
    (void)!sendto(u->socket->fd, msg, len, MSG_DONTWAIT, (struct sockaddr *)&u->to, u->to_len);
    free(u);
}

static void ask(const struct udp_socket *k, const struct dns_query *q, const struct msghdr *from)
{
    struct udp_request *u = xzalloc(sizeof(*u));
    u->socket = k;
    memcpy(&u->to, from->msg_name, from->msg_namelen);
    u->to_len = from->msg_namelen;
    u->r.query = *q;
    u->r.cap = !q->edns || q->payload < DNS_UDP_BYTES ? DNS_UDP_BYTES
                                                      : MIN_OF(q->payload, DNS_UDP_BYTES_MAX);
    u->r.reply = udp_reply;
    dns_server_ask(k->server, &u->r);
}

static void prepare(struct batch *b)
{
    for (size_t i = 0; i < BATCH; i++) {
        b->in_iov[i] = (struct iovec){b->query[i], QUERY_BYTES};
        b->in[i].msg_hdr = (struct msghdr){.msg_name = &b->from[i],
                                           .msg_namelen = sizeof(b->from[i]),
                                           .msg_iov = &b->in_iov[i],
                                           .msg_iovlen = 1};
    }
}

static void send_all(const struct udp_socket *k, struct batch *b, unsigned count)
{
    for (unsigned sent = 0; sent < count;) {
        int n = sendmmsg(k->fd, b->out + sent, count - sent, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;                      /* The clients ask again. */
        sent += n > 0 ? (unsigned)n : 1; /* One that cannot be reached stops no other. */
    }
}

/* How many were read. */
static unsigned round_trip(const struct udp_socket *k, struct batch *b)
{
    unsigned out = 0;
    prepare(b);
    int n = recvmmsg(k->fd, b->in, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        struct dns_query q;
        const struct msghdr *from = &b->in[i].msg_hdr;
        if ((from->msg_flags & MSG_TRUNC) != 0)
            continue;
        ptrdiff_t len = dns_server_answer(k->server, DNS_UDP, k->v6, b->query[i], b->in[i].msg_len,
                                          b->answer[out], &q);
        if (len < 0)
            ask(k, &q, from);
        if (len <= 0)
            continue;
        b->out_iov[out] = (struct iovec){b->answer[out], (size_t)len};
        b->out[out].msg_hdr = (struct msghdr){.msg_name = from->msg_name,
                                              .msg_namelen = from->msg_namelen,
                                              .msg_iov = &b->out_iov[out],
                                              .msg_iovlen = 1};
        out++;
    }
    send_all(k, b, out);
    return n > 0 ? (unsigned)n : 0;
}

static void on_readable(uv_poll_t *p, int status, int events)
{
    static struct batch batch;
    LOOP_CALLBACK("answer DNS");
    UNUSED(status);
    UNUSED(events);
    for (int i = 0; i < ROUNDS_MAX && round_trip(p->data, &batch) == BATCH; i++)
        continue;
}

static int bind_socket(int fd, const struct sockaddr *address)
{
    int bytes = RECEIVE_BYTES, one = 1;
    bool v6 = address->sa_family == AF_INET6;
    if (v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    return bind(fd, address, v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
}

int dns_udp_open(const struct sockaddr *address, struct error *err)
{
    int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind_socket(fd, address) == 0)
        return fd;
    int rc = error_set_errno(err, E_IO, errno, "UDP port 53");
    if (fd >= 0)
        close(fd);
    return rc;
}

void dns_udp_serve(struct dns_server *s, int fd, bool v6)
{
    struct udp_socket *k = xzalloc(sizeof(*k));
    k->server = s;
    k->fd = fd;
    k->v6 = v6;
    k->poll.data = k;
    uv_poll_init(s->loop, &k->poll, fd);
    uv_poll_start(&k->poll, UV_READABLE, on_readable);
}
