/* bench_grpc.c - lib/net's gRPC server path with nothing behind it: puts of the
 * load generator are answered at once, or by way of a second thread and a
 * mailbox as the store's answers come.
 *
 *   bench_grpc PORT [THREADS] [later]     then: load_store --endpoints 127.0.0.1:PORT put */
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mailbox.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

struct bench_thread {
    uv_loop_t loop;
    struct http_server *http;
    struct grpc_server *grpc;
    struct mailbox mailbox;
    int64_t rev;
};

struct later {
    struct mail mail;
    struct grpc_stream *stream;
    struct bench_thread *thread;
};

static bool answer_later;
static struct bench_thread behind; /* Stands for the store's thread. */
static atomic_int_fast64_t last_rev;

static void answer(struct grpc_stream *s)
{
    struct buf b = BUF_INIT, header = BUF_INIT;
    int64_t rev = atomic_fetch_add(&last_rev, 1) + 1;
    buf_putc(&header, 1 << 3);
    buf_put_varint(&header, 0xcdf818194e3a8c32);
    buf_putc(&header, 3 << 3);
    buf_put_varint(&header, (uint64_t)rev);
    buf_putc(&b, 1 << 3 | 2);
    buf_put_varint(&b, header.len);
    buf_append_str(&b, buf_str(&header));
    buf_done(&header);
    struct net_bytes *bytes = net_bytes_steal(&b);
    grpc_stream_reply(s, bytes);
    net_bytes_unref(bytes);
}

static void come_back(struct mail *m)
{
    struct later *l = CONTAINER_OF(m, struct later, mail);
    answer(l->stream);
    free(l);
}

static void go_there(struct mail *m)
{
    struct later *l = CONTAINER_OF(m, struct later, mail);
    l->mail.run = come_back;
    mailbox_post(&l->thread->mailbox, m);
}

static void on_put(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message);
    if (!answer_later) {
        answer(s);
        return;
    }
    struct later *l = xzalloc(sizeof(*l));
    l->mail.run = go_there;
    l->stream = s;
    l->thread = arg;
    mailbox_post(&behind.mailbox, &l->mail);
}

static void on_headers(struct http_request *r, void *arg)
{
    struct bench_thread *t = arg;
    if (grpc_is_request(r))
        grpc_server_handle(t->grpc, r);
}

static void on_request(struct http_request *r, void *arg)
{
    UNUSED(arg);
    http_respond(r, 404, STR(""));
}

static void *thread_main(void *arg)
{
    struct bench_thread *t = arg;
    uv_run(&t->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void thread_start(struct bench_thread *t, const char *address)
{
    struct error err;
    pthread_t id;
    uv_loop_init(&t->loop);
    mailbox_init(&t->mailbox, &t->loop);
    if (address != NULL) {
        struct http_server_config config = {
            .name = "bench", .on_headers = on_headers, .on_request = on_request, .arg = t};
        struct net_listen_config listen = {.address = address, .reuse_port = true};
        struct grpc_method put = {.path = "/etcdserverpb.KV/Put", .on_unary = on_put, .arg = t};
        t->grpc = grpc_server_new();
        grpc_server_add(t->grpc, &put);
        if (http_server_new(&t->loop, &config, &t->http, &err) < 0 ||
            http_server_listen(t->http, &listen, &err) < 0) {
            fprintf(stderr, "bench_grpc: %s\n", err.message);
            exit(1);
        }
    }
    if (pthread_create(&id, NULL, thread_main, t) != 0)
        exit(1);
    pthread_detach(id);
}

int main(int argc, char **argv)
{
    static struct bench_thread threads[16];
    char address[64];
    int count = argc > 2 ? atoi(argv[2]) : 1;
    log_setup("bench", LOG_ERROR);
    answer_later = argc > 3 && strcmp(argv[3], "later") == 0;
    snprintf(address, sizeof(address), "127.0.0.1:%s", argc > 1 ? argv[1] : "0");
    if (answer_later)
        thread_start(&behind, NULL);
    for (int i = 0; i < count && i < 16; i++)
        thread_start(&threads[i], address);
    printf("listening on 127.0.0.1:%d\n", http_server_port(threads[0].http));
    fflush(stdout);
    pause();
    return 0;
}
