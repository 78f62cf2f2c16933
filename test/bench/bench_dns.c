/* bench_dns.c - the DNS server under load: one process answers on one core, another asks
 * over UDP on loopback with a window of queries under way.
 *
 * usage: bench_dns [SERVICES [SECONDS]]     (10000, 5)
 *
 * Each query asks for another Service; a share of one in ten for a name that is not there. Answers
 * are counted, lost ones too; the server's processor time tells what a core of its own could do. */
#include "kubelet/dns/forward.h"
#include "kubelet/dns/server.h"
#include "kubelet/dns/server_internal.h"
#include "kubelet/dns/zone.h"

#include "lib/base/env.h"
#include "lib/base/error.h"

#include "api/core_v1.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH 32
#define WINDOW 512
#define SLOTS 65536

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    (void)!sched_setaffinity(0, sizeof(set), &set); /* One core only: they share it. */
}

static void fill(struct zone *z, int count)
{
    char name[32], ip[32];
    for (int i = 0; i < count; i++) {
        struct core_v1_service s = {0};
        snprintf(name, sizeof(name), "service-%d", i);
        snprintf(ip, sizeof(ip), "10.96.%d.%d", i / 250 % 250, i % 250 + 1);
        s.metadata.name = str_of(name);
        s.metadata.namespace = STR("default");
        s.spec.cluster_ip = str_of(ip);
        zone_set(z, &s, NULL, 0);
    }
    z->ready = true;
}

/* Never returns. */
static void serve(int fd, int services)
{
    static struct zone z;
    struct env *env = env_system();
    pin(0);
    zone_init(&z, STR("cluster.local"), NULL, 0);
    fill(&z, services);
    uv_loop_t *loop = uv_default_loop();
    struct dns_server *s = dns_server_new(loop, &z, dns_forward_new(loop, env));
    dns_udp_serve(s, fd, false);
    uv_run(loop, UV_RUN_DEFAULT);
    _exit(0);
}

static size_t make_query(uint8_t *b, size_t cap, uint32_t n, int services)
{
    char text[80];
    struct dns_query q = {.type = DNS_A, .class = DNS_CLASS_IN};
    snprintf(text, sizeof(text), "%s-%u.default.svc.cluster.local",
             n % 10 == 9 ? "none" : "service", n * 2654435761u % (uint32_t)services);
    dns_name_of(str_of(text), &q.name);
    return dns_query_write(b, cap, (uint16_t)n, &q);
}

struct load {
    int fd, services;
    uint32_t sent;
    uint64_t asked, answered, wrong;
    uint32_t under_way;
    uint8_t query[SLOTS][96]; /* Made before: the generator shall not be what is measured. */
    size_t len[SLOTS];
};

static void send_some(struct load *l)
{
    struct mmsghdr m[BATCH] = {0};
    struct iovec iov[BATCH];
    unsigned n = 0;
    while (n < BATCH && l->under_way + n < WINDOW) {
        uint32_t i = (l->sent + n) % SLOTS;
        iov[n] = (struct iovec){l->query[i], l->len[i]};
        m[n].msg_hdr.msg_iov = &iov[n];
        m[n].msg_hdr.msg_iovlen = 1;
        n++;
    }
    int sent = n > 0 ? sendmmsg(l->fd, m, n, 0) : 0;
    if (sent > 0) {
        l->sent += (uint32_t)sent;
        l->under_way += (uint32_t)sent;
        l->asked += (uint64_t)sent;
    }
}

static void read_some(struct load *l)
{
    static uint8_t bytes[BATCH][1500];
    struct mmsghdr m[BATCH] = {0};
    struct iovec iov[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){bytes[i], sizeof(bytes[i])};
        m[i].msg_hdr.msg_iov = &iov[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    int n = recvmmsg(l->fd, m, BATCH, MSG_WAITFORONE, NULL);
    if (n < 0) { /* A second of silence: they are lost. */
        l->under_way = 0;
        return;
    }
    for (int i = 0; i < n; i++) {
        uint16_t id = (uint16_t)(bytes[i][0] << 8 | bytes[i][1]);
        int want = id % 10 == 9 ? DNS_NXDOMAIN : DNS_NOERROR;
        l->wrong += m[i].msg_len < DNS_HEADER_BYTES || (bytes[i][3] & 15) != want ? 1 : 0;
    }
    l->answered += (uint64_t)n;
    l->under_way -= MIN_OF(l->under_way, (uint32_t)n);
}

static double cpu_s(const struct rusage *u)
{
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static int ask(int port, int services, int seconds, pid_t server)
{
    static struct load l;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = (in_port_t)port};
    struct timeval silence = {.tv_sec = 1};
    struct rusage u = {0};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    pin(1);
    l.services = services;
    for (uint32_t i = 0; i < SLOTS; i++)
        l.len[i] = make_query(l.query[i], sizeof(l.query[i]), i, services);
    l.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int bytes = 4 << 20;
    (void)!setsockopt(l.fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    setsockopt(l.fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
    if (connect(l.fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        fprintf(stderr, "connect: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    uint64_t start = uv_hrtime(), end = start + (uint64_t)seconds * 1000000000u;
    while (uv_hrtime() < end) {
        send_some(&l);
        read_some(&l);
    }
    while (l.under_way > 0)
        read_some(&l);
    double took = (double)(uv_hrtime() - start) / 1e9;
    kill(server, SIGKILL);
    wait4(server, NULL, 0, &u);
    printf("%d Services, %d s: %.0f answers/s, %llu lost, %llu wrong; server %.2f us of processor "
           "time each (%.0f/s on a core of its own), %ld KB\n",
           services, seconds, (double)l.answered / took, (unsigned long long)(l.asked - l.answered),
           (unsigned long long)l.wrong, cpu_s(&u) * 1e6 / (double)l.answered,
           (double)l.answered / cpu_s(&u), u.ru_maxrss);
    return l.wrong == 0 && l.answered > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    int services = argc > 1 ? atoi(argv[1]) : 10000, seconds = argc > 2 ? atoi(argv[2]) : 5;
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);
    struct error err = {0};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = dns_udp_open((struct sockaddr *)&a, &err);
    if (fd < 0 || services < 1 || getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        fprintf(stderr, "bench_dns: %s\n", error_message(&err));
        return EXIT_FAILURE;
    }
    pid_t server = fork();
    if (server == 0)
        serve(fd, services);
    close(fd);
    return ask(a.sin_port, services, seconds, server);
}
