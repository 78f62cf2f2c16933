/* netlink.c - see netlink.h. */
#include "kubelet/netlink.h"

#include "kubelet/nft_batch.h"

#include "lib/base/base.h"
#include "lib/base/buf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_BYTES 65536u
#define TIMEOUT_S 30
#define DUMP_TRIES 10
#define IDLE_MAX 4u

static int fail(struct error *err, int number, const char *what)
{
    int code = number == ENOENT ? E_NOT_FOUND : E_IO;
    return error_set(err, code, "%s: %s", what, strerror(number));
}

/* --- sockets ---------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    int fds[IDLE_MAX];
    unsigned count;
} idle = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* -1: there is none. */
static int take_idle(void)
{
    char rest[64];
    pthread_mutex_lock(&idle.lock);
    int fd = idle.count != 0 ? idle.fds[--idle.count] : -1;
    pthread_mutex_unlock(&idle.lock);
    /* What an earlier question may have left. */
    while (fd >= 0 && (recv(fd, rest, sizeof(rest), MSG_DONTWAIT) >= 0 || errno != EAGAIN))
        ;
    return fd;
}

static void keep_idle(int fd)
{
    pthread_mutex_lock(&idle.lock);
    bool room = idle.count < IDLE_MAX;
    if (room)
        idle.fds[idle.count++] = fd;
    pthread_mutex_unlock(&idle.lock);
    if (!room)
        close(fd);
}

static int new_socket(int protocol, int *ret, struct error *err)
{
    struct sockaddr_nl me = {.nl_family = AF_NETLINK};
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return fail(err, errno, "netlink socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (bind(fd, (struct sockaddr *)&me, sizeof(me)) != 0) {
        int rc = fail(err, errno, "netlink socket");
        close(fd);
        return rc;
    }
    *ret = fd;
    return 0;
}

static int open_socket(int protocol, size_t send_bytes, int *ret, struct error *err)
{
    /* The kernel takes a message whole or not at all. */
    int room = (int)MIN_OF(send_bytes * 2 + ANSWER_BYTES, (size_t)1 << 30), rc = 0;
    int fd = protocol == NETLINK_NETFILTER ? take_idle() : -1;
    if (fd < 0)
        rc = new_socket(protocol, &fd, err);
    if (rc == 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) != 0) {
        rc = fail(err, errno, "netlink socket");
        close(fd);
    }
    *ret = fd;
    return rc;
}

/* --- messages -----------------------------------------------------------------------------------
 */

static int send_all(int fd, struct str bytes, struct error *err)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t n;
    do {
        n = sendto(fd, bytes.data, bytes.len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)bytes.len ? 0 : fail(err, n < 0 ? errno : EIO, "netlink request");
}

/* One datagram's messages. *ret_done: the answer is complete. */
static int take_messages(struct str bytes, bool *ret_done, bool *ret_torn,
                         void (*each)(uint16_t type, struct str payload, void *arg), void *arg,
                         struct error *err)
{
    while (bytes.len >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr h;
        memcpy(&h, bytes.data, sizeof(h));
        if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > bytes.len)
            return fail(err, EBADMSG, "netlink answer");
        struct str payload = str_n(bytes.data + NLMSG_HDRLEN, h.nlmsg_len - (size_t)NLMSG_HDRLEN);
        *ret_torn = *ret_torn || (h.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (h.nlmsg_type == NLMSG_ERROR || h.nlmsg_type == NLMSG_DONE) {
            int number = 0;
            memcpy(&number, payload.data, MIN_OF(payload.len, sizeof(number)));
            *ret_done = true;
            return number >= 0 ? 0 : fail(err, -number, "the kernel says");
        }
        if (each != NULL)
            each(h.nlmsg_type, payload, arg);
        if ((h.nlmsg_flags & NLM_F_MULTI) == 0)
            *ret_done = true;
        size_t step = MIN_OF((size_t)NLMSG_ALIGN(h.nlmsg_len), bytes.len);
        bytes = str_n(bytes.data + step, bytes.len - step);
    }
    return 0;
}

static int receive(int fd, bool *ret_torn,
                   void (*each)(uint16_t type, struct str payload, void *arg), void *arg,
                   struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    bool done = false;
    int rc = 0;
    while (rc == 0 && !done) {
        ssize_t n = recv(fd, buf_reserve(&b, ANSWER_BYTES), ANSWER_BYTES, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, errno, "netlink answer");
        rc = take_messages(str_n((const char *)b.data, (size_t)n), &done, ret_torn, each, arg, err);
    }
    return rc;
}

static int ask(int protocol, struct str request, bool *ret_torn,
               void (*each)(uint16_t type, struct str payload, void *arg), void *arg,
               struct error *err)
{
    int fd;
    int rc = open_socket(protocol, request.len, &fd, err);
    if (rc != 0)
        return rc;
    rc = send_all(fd, request, err);
    if (rc == 0)
        rc = receive(fd, ret_torn, each, arg, err);
    if (rc == 0 && protocol == NETLINK_NETFILTER)
        keep_idle(fd);
    else
        close(fd);
    return rc;
}

int netlink_ask(int protocol, struct str request,
                void (*each)(uint16_t type, struct str payload, void *arg), void *arg,
                struct error *err)
{
    bool torn = false;
    return ask(protocol, request, &torn, each, arg, err);
}

/* --- nftables ----------------------------------------------------------------------------- */

int netlink_nft_commit(struct str batch, struct error *err)
{
    return netlink_ask(NETLINK_NETFILTER, batch, NULL, NULL, err);
}

struct dump {
    void (*each)(const struct nft_element *e, void *arg);
    void *arg;
};

static void on_elements(uint16_t type, struct str payload, void *arg)
{
    const struct dump *d = arg;
    if (type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM))
        nft_batch_read(payload, d->each, d->arg);
}

/* Somebody changes rules meanwhile: what came may lack something, so it is asked for again. What
 * came twice does no harm. */
int netlink_nft_dump(const struct nft_set_name *set,
                     void (*each)(const struct nft_element *e, void *arg), void *arg,
                     struct error *err)
{
    AUTO_BUF request = BUF_INIT;
    struct dump d = {each, arg};
    nft_batch_dump(&request, set);
    for (int i = 0; i < DUMP_TRIES; i++) {
        bool torn = false;
        int rc = ask(NETLINK_NETFILTER, buf_str(&request), &torn, on_elements, &d, err);
        if (rc != 0 || !torn)
            return rc;
    }
    return error_set(err, E_IO, "nftables' rules change too often to be read");
}

struct attr_request {
    struct nlmsghdr header;
    struct nfgenmsg family;
};

struct str netlink_attr(struct str payload, size_t skip, uint16_t type)
{
    for (size_t at = skip; at + sizeof(struct nlattr) <= payload.len;) {
        struct nlattr a;
        memcpy(&a, payload.data + at, sizeof(a));
        if (a.nla_len < NETLINK_ATTR_HEADER || a.nla_len > payload.len - at)
            break;
        if (NETLINK_ATTR_TYPE(a.nla_type) == type)
            return str_n(payload.data + at + NETLINK_ATTR_HEADER, a.nla_len - NETLINK_ATTR_HEADER);
        at += NETLINK_ALIGN(a.nla_len);
    }
    return STR_NULL;
}

static struct str attr_of(struct str payload, uint16_t type)
{
    return netlink_attr(payload, sizeof(struct nfgenmsg), type);
}

static void on_generation(uint16_t type, struct str payload, void *arg)
{
    uint32_t be = 0;
    UNUSED(type);
    struct str id = attr_of(payload, NFTA_GEN_ID);
    memcpy(&be, id.data, MIN_OF(id.len, sizeof(be)));
    *(uint32_t *)arg = ntohl(be);
}

int netlink_nft_generation(uint32_t *ret, struct error *err)
{
    struct attr_request r = {.header = {.nlmsg_len = sizeof(r),
                                        .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
                                        .nlmsg_flags = NLM_F_REQUEST},
                             .family = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0}};
    return netlink_ask(NETLINK_NETFILTER, str_n((const char *)&r, sizeof(r)), on_generation, ret,
                       err);
}

struct table_answer {
    uint64_t handle;
    uint32_t use;
};

static void on_table(uint16_t type, struct str payload, void *arg)
{
    struct table_answer *t = arg;
    uint64_t handle = 0;
    uint32_t use = 0;
    UNUSED(type);
    struct str h = attr_of(payload, NFTA_TABLE_HANDLE), u = attr_of(payload, NFTA_TABLE_USE);
    memcpy(&handle, h.data, MIN_OF(h.len, sizeof(handle)));
    memcpy(&use, u.data, MIN_OF(u.len, sizeof(use)));
    *t = (struct table_answer){.handle = be64toh(handle), .use = ntohl(use)};
}

int netlink_nft_table(uint8_t family, const char *table, uint64_t *ret_handle, uint32_t *ret_use,
                      struct error *err)
{
    struct table_answer t = {0};
    AUTO_BUF b = BUF_INIT;
    size_t n = strlen(table) + 1;
    struct nlattr a = {.nla_len = (uint16_t)(NETLINK_ATTR_HEADER + n), .nla_type = NFTA_TABLE_NAME};
    struct attr_request r = {
        .header = {.nlmsg_len = (uint32_t)(sizeof(r) + NETLINK_ALIGN(a.nla_len)),
                   .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
                   .nlmsg_flags = NLM_F_REQUEST},
        .family = {.nfgen_family = family, .version = NFNETLINK_V0}};
    buf_append(&b, &r, sizeof(r));
    buf_append(&b, &a, sizeof(a));
    buf_append(&b, table, n);
    while (b.len < r.header.nlmsg_len)
        buf_putc(&b, '\0');
    int rc = netlink_ask(NETLINK_NETFILTER, buf_str(&b), on_table, &t, err);
    if (rc == 0) {
        *ret_handle = t.handle;
        *ret_use = t.use;
    }
    return rc;
}

struct counting {
    uint8_t family;
    const char *table;
    uint64_t rules;
};

static void on_chain(uint16_t type, struct str payload, void *arg)
{
    struct counting *c = arg;
    uint32_t use = 0;
    struct str table = attr_of(payload, NFTA_CHAIN_TABLE), u = attr_of(payload, NFTA_CHAIN_USE);
    if (type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN) || table.len == 0 ||
        (uint8_t)payload.data[0] != c->family ||
        !str_eqc(str_sub(table, 0, table.len - 1), c->table))
        return;
    memcpy(&use, u.data, MIN_OF(u.len, sizeof(use)));
    c->rules += ntohl(use);
}

/* Kernels do not select by table here. */
int netlink_nft_rules(uint8_t family, const char *table, uint64_t *ret, struct error *err)
{
    struct attr_request r = {.header = {.nlmsg_len = sizeof(r),
                                        .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN,
                                        .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
                             .family = {.nfgen_family = family, .version = NFNETLINK_V0}};
    for (int i = 0; i < DUMP_TRIES; i++) {
        struct counting c = {.family = family, .table = table};
        bool torn = false;
        int rc =
            ask(NETLINK_NETFILTER, str_n((const char *)&r, sizeof(r)), &torn, on_chain, &c, err);
        if (rc == 0 && !torn)
            *ret = c.rules;
        if (rc != 0 || !torn)
            return rc;
    }
    return error_set(err, E_IO, "nftables' rules change too often to be read");
}

struct tables {
    void (*each)(uint8_t family, const char *table, void *arg);
    void *arg;
};

static void on_listed(uint16_t type, struct str payload, void *arg)
{
    const struct tables *t = arg;
    struct str name = attr_of(payload, NFTA_TABLE_NAME);
    UNUSED(type);
    if (name.len > 0 && name.data[name.len - 1] == '\0')
        t->each((uint8_t)payload.data[0], name.data, t->arg);
}

int netlink_nft_tables(void (*each)(uint8_t family, const char *table, void *arg), void *arg,
                       struct error *err)
{
    struct tables t = {each, arg};
    struct attr_request r = {.header = {.nlmsg_len = sizeof(r),
                                        .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
                                        .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
                             .family = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0}};
    return netlink_ask(NETLINK_NETFILTER, str_n((const char *)&r, sizeof(r)), on_listed, &t, err);
}
