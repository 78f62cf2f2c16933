/* listener.c - accepting streams; see stream.h. */
#include "lib/net/stream_internal.h"

#include "lib/base/log.h"
#include "lib/base/loop.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG_DEFAULT 1024
#define LISTEN_HANDSHAKE_DEFAULT_MS 10000
#define LISTEN_KEEPALIVE_S 15

struct net_listener {
    uv_loop_t *loop;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } io;
    struct net_listen_config config;
    char address[128];
    char *unix_path;
    int port;
    size_t stream_count;
    bool resting; /* A connection waits in libuv: connections_max is reached. */
    bool closing, closed;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void listener_free_if_done(struct net_listener *l)
{
    if (!l->closed || l->stream_count > 0)
        return;
    tls_context_unref(l->config.tls);
    free(l->unix_path);
    free(l);
}

/* --- accepting --- */

static bool listener_is_full(const struct net_listener *l)
{
    return l->config.connections_max > 0 && l->stream_count >= l->config.connections_max;
}

static void listener_accept(struct net_listener *l)
{
    struct net_stream *s = stream_new(l->loop, NULL, NULL);
    s->state = STREAM_HANDSHAKE;
    s->listener = l;
    l->stream_count++;
    int rc = l->unix_path != NULL ? uv_pipe_init(l->loop, &s->io.pipe, 0)
                                  : uv_tcp_init(l->loop, &s->io.tcp);
    s->io_open = rc == 0;
    if (rc == 0)
        rc = uv_accept(&l->io.stream, &s->io.stream);
    struct error err = {0};
    int code = rc < 0 ? loop_error_set(&err, rc, "accept") : 0;
    if (code == 0 && l->config.tls != NULL)
        code = stream_tls_start(s, l->config.tls, NULL, &err);
    if (code < 0) {
        log_error("%s: %s", l->address, err.message);
        stream_end(s, code, err.message);
        return;
    }
    if (l->unix_path == NULL) {
        uv_tcp_nodelay(&s->io.tcp, 1);
        uv_tcp_keepalive(&s->io.tcp, 1, LISTEN_KEEPALIVE_S);
    }
    uv_timer_start(&s->timer, stream_on_timer, l->config.handshake_timeout_ms, 0);
    l->config.on_accept(l, s, &s->handler, &s->arg, l->config.arg);
    stream_start(s);
}

static void listener_on_connection(uv_stream_t *handle, int status)
{
    struct net_listener *l = CONTAINER_OF((void *)handle, struct net_listener, io);
    if (status < 0) {
        log_error("%s: accept: %s", l->address, uv_strerror(status));
        return;
    }
    if (l->closing)
        return;
    /* libuv stops polling until the connection it holds is accepted. */
    if (listener_is_full(l))
        l->resting = true;
    else
        listener_accept(l);
}

void listener_stream_gone(struct net_listener *l)
{
    l->stream_count--;
    if (l->resting && !l->closing && !listener_is_full(l)) {
        l->resting = false;
        listener_accept(l);
    }
    listener_free_if_done(l);
}

/* --- binding --- */

/* A socket file nobody listens on is left over from a crash. */
static int listener_clear_stale(const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return 0;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "socket");
    int rc = connect(fd, (const struct sockaddr *)&un, sizeof(un));
    int why = errno;
    close(fd);
    if (rc == 0 || why == EAGAIN)
        return error_set(err, E_EXISTS, "%s: address already in use", path);
    if (why == ECONNREFUSED)
        unlink(path);
    return 0;
}

static int listener_bind_unix(struct net_listener *l, const char *path, struct error *err)
{
    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return error_set(err, E_INVALID, "path of unix socket is too long: %s", path);
    int code = listener_clear_stale(path, err);
    if (code < 0)
        return code;
    uv_pipe_init(l->loop, &l->io.pipe, 0);
    l->unix_path = xstrdup(path);
    snprintf(l->address, sizeof(l->address), "unix:%s", path);
    int rc = uv_pipe_bind(&l->io.pipe, path);
    if (rc < 0)
        return loop_error_set(err, rc, l->address);
    mode_t mode = l->config.unix_mode != 0 ? (mode_t)l->config.unix_mode : 0660;
    if (chmod(path, mode) < 0)
        return error_set_errno(err, E_IO, errno, "%s: set permissions", path);
    return 0;
}

/* A bound socket. host empty or 0.0.0.0: every address of both families, or of IPv4 where there is
 * no IPv6; so do upstream's programs understand their default. */
static int listener_open_socket(const struct net_listen_config *config, const char *host,
                                uint16_t port, struct error *err)
{
    struct sockaddr_storage ss = {0};
    bool any = host[0] == '\0' || strcmp(host, "0.0.0.0") == 0;
    if (uv_ip6_addr(any ? "::" : host, port, (struct sockaddr_in6 *)&ss) < 0 &&
        uv_ip4_addr(host, port, (struct sockaddr_in *)&ss) < 0)
        return error_set(err, E_INVALID, "\"%s\" is not an IP address to listen on", host);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 && any && errno == EAFNOSUPPORT) {
        uv_ip4_addr("0.0.0.0", port, (struct sockaddr_in *)&ss);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "socket");
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (config->reuse_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (ss.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, any || strcmp(host, "::") == 0 ? &off : &on,
                   sizeof(on));
    socklen_t len =
        ss.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (bind(fd, (const struct sockaddr *)&ss, len) < 0) {
        int code = errno == EADDRINUSE ? E_EXISTS : E_IO;
        error_set_errno(err, code, errno, "listen on %s", config->address);
        close(fd);
        return code;
    }
    return fd;
}

static int listener_split(const char *address, char **ret_host, uint16_t *ret_port,
                          struct error *err)
{
    struct str host;
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon[1] == '\0')
        return error_set(err, E_INVALID, "address \"%s\" needs a port", address);
    int code = url_split_host_port(str_of(address), 0, &host, ret_port, err);
    if (code == 0)
        *ret_host = xstrndup(str_c(host), host.len);
    return code;
}

static int listener_bind_tcp(struct net_listener *l, struct error *err)
{
    AUTO_FREE char *host_c = NULL;
    uint16_t port;
    const char *address = l->config.address;
    int code = listener_split(address, &host_c, &port, err);
    if (code < 0)
        return code;
    int fd = listener_open_socket(&l->config, host_c, port, err);
    if (fd < 0)
        return fd;
    uv_tcp_init(l->loop, &l->io.tcp);
    int rc = uv_tcp_open(&l->io.tcp, fd);
    if (rc < 0) {
        close(fd);
        return loop_error_set(err, rc, address);
    }
    struct sockaddr_storage ss;
    int len = sizeof(ss);
    rc = uv_tcp_getsockname(&l->io.tcp, (struct sockaddr *)&ss, &len);
    if (rc < 0)
        return loop_error_set(err, rc, address);
    l->port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
                                             : ((struct sockaddr_in *)&ss)->sin_port);
    bool brackets = strchr(host_c, ':') != NULL;
    snprintf(l->address, sizeof(l->address), "%s%s%s:%d", brackets ? "[" : "", host_c,
             brackets ? "]" : "", l->port);
    return 0;
}

static const char *listener_unix_path(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        return strncmp(address + 5, "//", 2) == 0 ? address + 7 : address + 5;
    return address[0] == '/' ? address : NULL;
}

static void listener_handle_closed(uv_handle_t *handle)
{
    struct net_listener *l = CONTAINER_OF((void *)handle, struct net_listener, io);
    l->closed = true;
    if (l->on_closed != NULL)
        l->on_closed(l->closed_arg);
    listener_free_if_done(l);
}

int net_listen_check_alone(const char *address, struct error *err)
{
    const struct net_listen_config config = {.address = address};
    AUTO_FREE char *host = NULL;
    uint16_t port;
    if (listener_unix_path(address) != NULL)
        return 0;
    int code = listener_split(address, &host, &port, err);
    if (code < 0)
        return code;
    int fd = listener_open_socket(&config, host, port, err);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

int net_listener_new(struct uv_loop_s *loop, const struct net_listen_config *config,
                     struct net_listener **ret, struct error *err)
{
    struct net_listener *l = xzalloc(sizeof(*l));
    l->loop = loop;
    l->config = *config;
    if (config->tls != NULL)
        tls_context_ref(config->tls);
    if (l->config.handshake_timeout_ms == 0)
        l->config.handshake_timeout_ms = LISTEN_HANDSHAKE_DEFAULT_MS;
    const char *path = listener_unix_path(config->address);
    int code = path != NULL ? listener_bind_unix(l, path, err) : listener_bind_tcp(l, err);
    if (code == 0) {
        int rc =
            uv_listen(&l->io.stream, config->backlog > 0 ? config->backlog : LISTEN_BACKLOG_DEFAULT,
                      listener_on_connection);
        if (rc < 0)
            code = loop_error_set(err, rc, l->address);
    }
    l->config.address = l->address;
    if (code == 0) {
        *ret = l;
        return 0;
    }
    l->closing = true;
    if (l->io.handle.type != UV_UNKNOWN_HANDLE) {
        uv_close(&l->io.handle, listener_handle_closed);
    } else {
        l->closed = true;
        listener_free_if_done(l);
    }
    return code;
}

int net_listener_port(const struct net_listener *l)
{
    return l->port;
}

const char *net_listener_address(const struct net_listener *l)
{
    return l->address;
}

size_t net_listener_stream_count(const struct net_listener *l)
{
    return l->stream_count;
}

void net_listener_close(struct net_listener *l, void (*on_closed)(void *arg), void *arg)
{
    if (l->closing)
        return;
    l->closing = true;
    l->on_closed = on_closed;
    l->closed_arg = arg;
    uv_close(&l->io.handle, listener_handle_closed);
}
