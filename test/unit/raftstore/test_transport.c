/* test_transport.c - frames, the greeting, and who may talk to whom. */
#include "raftstore/transport.h"

#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "test/unit/raftstore/certs.h"
#include "test/unit/unit.h"

#include <unistd.h>
#include <uv.h>

#define MESSAGE_MAX (1u << 20)

struct node {
    struct transport *t;
    uv_loop_t *loop;
    uint64_t got_from[64];
    char got[64][64];
    size_t got_len[64];
    uint32_t count;
    enum transport_status hello_status, welcome_status;
    uint32_t hellos;
    uint64_t adopt_cluster, adopt_id;
    bool cut;
};

static bool on_message(void *arg, uint64_t from, struct str bytes)
{
    struct node *n = arg;
    ck_assert_uint_lt(n->count, 64);
    n->got_from[n->count] = from;
    n->got_len[n->count] = bytes.len;
    snprintf(n->got[n->count++], 64, STR_FMT, (int)MIN_OF(bytes.len, (size_t)63), bytes.data);
    return !n->cut;
}

static enum transport_status on_hello(void *arg, const struct transport_hello *h)
{
    struct node *n = arg;
    n->hellos++;
    n->adopt_cluster = h->cluster_id;
    n->adopt_id = h->to;
    return n->hello_status;
}

static enum transport_status on_welcome(void *arg, const struct transport_welcome *w)
{
    UNUSED(w);
    struct node *n = arg;
    return n->welcome_status;
}

static bool is_bulk(void *arg, struct str message)
{
    UNUSED(arg);
    return message.len > 0 && message.data[0] == 'B';
}

static const struct transport_ops ops = {on_message, on_hello, on_welcome, is_bulk};

static char dir[64];
static struct transport_config base_config(uv_loop_t *loop, struct node *n, uint64_t id)
{
    return (struct transport_config){.loop = loop,
                                     .env = env_system(),
                                     .cluster_id = 0xc,
                                     .id = id,
                                     .instance = id * 100,
                                     .name = "node",
                                     .listen_address = "127.0.0.1:0",
                                     .message_max = MESSAGE_MAX,
                                     .ops = &ops,
                                     .arg = n};
}

static void node_start(uv_loop_t *loop, struct node *n, const struct transport_config *config)
{
    struct error err = {0};
    memset(n, 0, sizeof(*n));
    n->loop = loop;
    ck_assert_msg(transport_new(config, &n->t, &err) == 0, "%s", error_message(&err));
}

static void say(struct node *n, uint64_t to, const char *text)
{
    struct buf b = BUF_INIT;
    buf_puts(&b, text);
    transport_send(n->t, to, &b);
}

static void on_guard(uv_timer_t *t)
{
    *(bool *)t->data = true;
}

/* Runs the loop until the condition holds or ms have passed. */
static bool run_until(uv_loop_t *loop, bool (*cond)(void *arg), void *arg, uint64_t ms)
{
    bool over = false;
    uv_timer_t guard;
    uv_timer_init(loop, &guard);
    guard.data = &over;
    uv_timer_start(&guard, on_guard, ms, 0);
    bool ok;
    while (!(ok = cond(arg)) && !over)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&guard, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    return ok;
}

static bool never(void *arg)
{
    UNUSED(arg);
    return false;
}

static bool got_one(void *arg)
{
    return ((struct node *)arg)->count >= 1;
}

static bool was_greeted(void *arg)
{
    return ((struct node *)arg)->hellos >= 2;
}

struct pair {
    struct node *n;
    uint64_t id;
};
static bool is_up(void *arg)
{
    struct pair *p = arg;
    return transport_is_up(p->n->t, p->id);
}
static bool is_down(void *arg)
{
    return !is_up(arg);
}

static void close_all(uv_loop_t *loop, struct node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (nodes[i].t != NULL)
            transport_close(nodes[i].t, NULL, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(loop), 0);
}

static void know(struct node *n, uint64_t id, struct node *other)
{
    transport_set_peers(n->t, &(struct transport_peer){id, transport_address(other->t)}, 1);
}

/* Messages arrive in order with their sender's name, also those sent before the
 * connection was there; long ones whole. */
START_TEST(messages)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct node n[2];
    for (uint64_t i = 0; i < 2; i++) {
        struct transport_config c = base_config(&loop, &n[i], i + 1);
        node_start(&loop, &n[i], &c);
    }
    know(&n[0], 2, &n[1]);
    know(&n[1], 1, &n[0]);
    say(&n[0], 2, "early");
    struct buf big = BUF_INIT;
    memset(buf_reserve(&big, MESSAGE_MAX - 64), 'x', MESSAGE_MAX - 64);
    buf_commit(&big, MESSAGE_MAX - 64);
    transport_send(n[0].t, 2, &big);
    say(&n[0], 2, "after");
    ck_assert(run_until(&loop, got_one, &n[1], 5000));
    struct pair p = {&n[0], 2};
    ck_assert(run_until(&loop, is_up, &p, 5000));
    run_until(&loop, never, NULL, 50);
    ck_assert_uint_eq(n[1].count, 3);
    ck_assert_str_eq(n[1].got[0], "early");
    ck_assert_uint_eq(n[1].got_len[1], MESSAGE_MAX - 64);
    ck_assert_str_eq(n[1].got[2], "after");
    ck_assert_uint_eq(n[1].got_from[0], 1);
    /* To somebody unknown, and too long: dropped. */
    say(&n[0], 77, "nobody");
    memset(buf_reserve(&big, MESSAGE_MAX + 1), 'x', MESSAGE_MAX + 1);
    buf_commit(&big, MESSAGE_MAX + 1);
    transport_send(n[0].t, 2, &big);
    say(&n[0], 2, "last");
    n[1].count = 0;
    ck_assert(run_until(&loop, got_one, &n[1], 5000));
    ck_assert_str_eq(n[1].got[0], "last");
    close_all(&loop, n, 2);
}
END_TEST

/* The one dialed can answer before it knows the list of members. */
START_TEST(answer_to_stranger)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct node n[2];
    for (uint64_t i = 0; i < 2; i++) {
        struct transport_config c = base_config(&loop, &n[i], i + 1);
        node_start(&loop, &n[i], &c);
    }
    know(&n[0], 2, &n[1]);
    say(&n[0], 2, "hello");
    ck_assert(run_until(&loop, got_one, &n[1], 5000));
    say(&n[1], 1, "hello yourself");
    ck_assert(run_until(&loop, got_one, &n[0], 5000));
    ck_assert_str_eq(n[0].got[0], "hello yourself");
    close_all(&loop, n, 2);
}
END_TEST

/* Snapshot pieces go over a connection of their own. */
START_TEST(bulk)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct node n[2];
    for (uint64_t i = 0; i < 2; i++) {
        struct transport_config c = base_config(&loop, &n[i], i + 1);
        node_start(&loop, &n[i], &c);
    }
    know(&n[0], 2, &n[1]);
    struct pair p = {&n[0], 2};
    ck_assert(run_until(&loop, is_up, &p, 5000));
    ck_assert_uint_eq(n[1].hellos, 1);
    say(&n[0], 2, "Bulk");
    ck_assert(run_until(&loop, got_one, &n[1], 5000));
    ck_assert_uint_eq(n[1].hellos, 2);
    close_all(&loop, n, 2);
}
END_TEST

/* A member that goes away and comes back on the same address is found again. */
START_TEST(reconnect)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct node n[2];
    AUTO_FREE char *path = xasprintf("unix:%s/peer.sock", dir);
    struct transport_config c = base_config(&loop, &n[0], 1), c2 = base_config(&loop, &n[1], 2);
    c2.listen_address = path;
    node_start(&loop, &n[0], &c);
    node_start(&loop, &n[1], &c2);
    know(&n[0], 2, &n[1]);
    struct pair p = {&n[0], 2};
    ck_assert(run_until(&loop, is_up, &p, 5000));
    transport_close(n[1].t, NULL, NULL);
    ck_assert(run_until(&loop, is_down, &p, 5000));
    say(&n[0], 2, "lost");
    run_until(&loop, never, NULL, 100);
    node_start(&loop, &n[1], &c2);
    ck_assert(run_until(&loop, is_up, &p, 10000));
    say(&n[0], 2, "back");
    ck_assert(run_until(&loop, got_one, &n[1], 5000));
    ck_assert_str_eq(n[1].got[n[1].count - 1], "back");
    close_all(&loop, n, 2);
}
END_TEST

/* Other clusters, other ids and members that lost their data stay outside. */
START_TEST(refusals)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct node n[3];
    struct transport_config c = base_config(&loop, &n[0], 1), c2 = base_config(&loop, &n[1], 2),
                            c3 = base_config(&loop, &n[2], 3);
    c2.cluster_id = 0xd;
    node_start(&loop, &n[0], &c);
    node_start(&loop, &n[1], &c2);
    node_start(&loop, &n[2], &c3);
    n[0].hello_status = TRANSPORT_LOST_DATA;
    know(&n[1], 1, &n[0]); /* Another cluster dials. */
    know(&n[2], 1, &n[0]); /* One that is refused by our judgement. */
    say(&n[1], 1, "wrong cluster");
    say(&n[2], 1, "lost data");
    run_until(&loop, never, NULL, 200);
    ck_assert_uint_eq(n[0].count, 0);
    ck_assert_uint_ge(n[0].hellos, 1);
    ck_assert(!transport_is_up(n[1].t, 1));
    ck_assert(!transport_is_up(n[2].t, 1));
    /* Dialing an address where another id lives. */
    know(&n[0], 9, &n[2]);
    run_until(&loop, never, NULL, 100);
    ck_assert(!transport_is_up(n[0].t, 9));
    close_all(&loop, n, 3);
}
END_TEST

/* A member that waits to be added learns who it is from who dials it. */
START_TEST(adoption)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct node n[2];
    struct transport_config c = base_config(&loop, &n[0], 1), c2 = base_config(&loop, &n[1], 0);
    c2.cluster_id = 0;
    node_start(&loop, &n[0], &c);
    node_start(&loop, &n[1], &c2);
    n[1].hello_status = TRANSPORT_RETRY;
    know(&n[0], 42, &n[1]);
    ck_assert(run_until(&loop, was_greeted, &n[1], 5000));
    ck_assert_uint_eq(n[1].adopt_cluster, 0xc);
    ck_assert_uint_eq(n[1].adopt_id, 42);
    transport_adopt(n[1].t, 0xc, 42, 1);
    n[1].hello_status = TRANSPORT_OK;
    struct pair p = {&n[0], 42};
    ck_assert(run_until(&loop, is_up, &p, 5000));
    close_all(&loop, n, 2);
}
END_TEST

/* Nonsense cuts the connection; a partition drops both ways. */
START_TEST(cut_and_block)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct node n[2];
    for (uint64_t i = 0; i < 2; i++) {
        struct transport_config c = base_config(&loop, &n[i], i + 1);
        node_start(&loop, &n[i], &c);
    }
    know(&n[0], 2, &n[1]);
    struct pair p = {&n[0], 2};
    ck_assert(run_until(&loop, is_up, &p, 5000));
    n[1].cut = true;
    say(&n[0], 2, "nonsense");
    ck_assert(run_until(&loop, is_down, &p, 5000));
    n[1].cut = false;
    ck_assert(run_until(&loop, is_up, &p, 5000));
    n[1].count = 0;
    transport_block(n[0].t, 2, true);
    say(&n[0], 2, "dropped");
    run_until(&loop, never, NULL, 50);
    transport_block(n[0].t, 2, false);
    transport_block(n[1].t, 0, true);
    say(&n[0], 2, "dropped too");
    run_until(&loop, never, NULL, 50);
    transport_block(n[1].t, 0, false);
    say(&n[0], 2, "heard");
    ck_assert(run_until(&loop, got_one, &n[1], 5000));
    ck_assert_str_eq(n[1].got[0], "heard");
    close_all(&loop, n, 2);
}
END_TEST

/* --- TLS --- */

/* Members with the role's certificate talk; the role missing, another CA, or no
 * TLS at all do not. */
START_TEST(tls_roles)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    AUTO_FREE char *ca = NULL, *other_ca = NULL;
    struct certs trusted = make_ca(dir, "ca.crt", &ca),
                 stranger = make_ca(dir, "other.crt", &other_ca);
    struct {
        const struct certs *ca;
        const char *organization;
    } who[] = {
        {&trusted, TRANSPORT_ORGANIZATION},
        {&trusted, TRANSPORT_ORGANIZATION},
        {&trusted, "system:masters"},
        {&stranger, TRANSPORT_ORGANIZATION},
    };
    struct node n[5];
    for (uint64_t i = 0; i < 4; i++) {
        AUTO_FREE char *cert = NULL, *key = NULL;
        AUTO_FREE char *name = xasprintf("m%d", (int)i);
        make_leaf(dir, who[i].ca, who[i].organization, name, &cert, &key);
        struct transport_config c = base_config(&loop, &n[i], i + 1);
        c.cert_file = cert;
        c.key_file = key;
        c.ca_file = ca;
        node_start(&loop, &n[i], &c);
    }
    struct transport_config plain = base_config(&loop, &n[4], 5);
    node_start(&loop, &n[4], &plain);
    struct pair p[4];
    for (uint64_t i = 1; i < 5; i++) {
        know(&n[i], 1, &n[0]);
        say(&n[i], 1, "hello");
        p[i - 1] = (struct pair){&n[i], 1};
    }
    ck_assert(run_until(&loop, is_up, &p[0], 5000));
    run_until(&loop, never, NULL, 200);
    ck_assert_uint_eq(n[0].count, 1);
    ck_assert_uint_eq(n[0].got_from[0], 2);
    ck_assert(is_down(&p[1]));
    ck_assert(is_down(&p[2]));
    ck_assert(is_down(&p[3]));
    /* And the role is asked of the one dialed, too. */
    know(&n[0], 3, &n[2]);
    struct pair back = {&n[0], 3};
    run_until(&loop, never, NULL, 100);
    ck_assert(is_down(&back));
    close_all(&loop, n, 5);
    certs_done(&trusted);
    certs_done(&stranger);
}
END_TEST

/* Without TLS nothing but loopback is listened on; half a TLS setting is none. */
START_TEST(plain_only_local)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct node n = {0};
    struct error err = {0};
    struct transport_config c = base_config(&loop, &n, 1);
    c.listen_address = "0.0.0.0:0";
    ck_assert_int_eq(transport_new(&c, &n.t, &err), E_INVALID);
    c.listen_address = "127.0.0.1:0";
    c.cert_file = "x";
    ck_assert_int_eq(transport_new(&c, &n.t, &err), E_INVALID);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* --- frames, without a network --- */

struct frames {
    uint32_t count;
    size_t bytes;
};

static bool count_frame(void *arg, struct str frame)
{
    struct frames *f = arg;
    f->count++;
    f->bytes += frame.len;
    return frame.data[0] != '!';
}

/* However a stream is cut, the frames are the same; too long ones end it. */
START_TEST(framing)
{
    uint8_t stream[400];
    size_t len = 0;
    for (size_t i = 1; i <= 20; i++) {
        frame_header(stream + len, i);
        memset(stream + len + 4, 'a', i);
        len += 4 + i;
    }
    for (size_t step = 1; step <= len; step++) {
        struct framer f;
        struct frames got = {0};
        framer_init(&f, 20);
        for (size_t at = 0; at < len; at += step)
            ck_assert(framer_feed(&f, stream + at, MIN_OF(step, len - at), count_frame, &got));
        ck_assert_uint_eq(got.count, 20);
        ck_assert_uint_eq(got.bytes, 210);
        framer_done(&f);
        framer_init(&f, 19);
        bool ok = true;
        for (size_t at = 0; ok && at < len; at += step)
            ok = framer_feed(&f, stream + at, MIN_OF(step, len - at), count_frame, &got);
        ck_assert(!ok);
        framer_done(&f);
    }
}
END_TEST

/* Greetings survive their encoding; cut short they are refused, but where the first
 * version's ended. */
START_TEST(greetings)
{
    struct transport_hello h = {1,
                                3,
                                1,
                                2,
                                3,
                                4,
                                5,
                                STR("name"),
                                STR("10.0.0.1:6444"),
                                2,
                                STR("http://10.0.0.1:2379")},
                           h2;
    struct transport_welcome w = {1, 2, 3, 4, 5, STR("name"), 7, STR("http://10.0.0.1:2379")}, w2;
    size_t more = 2 + 1 + h.client_urls.len;
    AUTO_BUF b = BUF_INIT;
    transport_hello_encode(&h, &b);
    ck_assert_int_eq(transport_hello_decode(buf_str(&b), &h2, NULL), 0);
    ck_assert(str_eq(h.name, h2.name) && str_eq(h.address, h2.address) && h2.instance == 5 &&
              h2.to == 4);
    ck_assert(h2.format == 2 && str_eq(h2.client_urls, h.client_urls));
    for (size_t n = 0; n < b.len; n++)
        ck_assert_int_eq(transport_hello_decode(str_n((char *)b.data, n), &h2, NULL),
                         n == b.len - more ? 0 : E_INVALID);
    transport_hello_decode(str_n((char *)b.data, b.len - more), &h2, NULL);
    ck_assert(h2.format == 1 && str_empty(h2.client_urls));
    buf_clear(&b);
    transport_welcome_encode(&w, &b);
    ck_assert_int_eq(transport_welcome_decode(buf_str(&b), &w2, NULL), 0);
    ck_assert(w2.status == 2 && w2.id == 4 && str_eq(w2.name, w.name));
    ck_assert(w2.format == 7 && str_eq(w2.client_urls, w.client_urls));
    for (size_t n = 0; n < b.len; n++)
        ck_assert_int_eq(transport_welcome_decode(str_n((char *)b.data, n), &w2, NULL),
                         n == b.len - more ? 0 : E_INVALID);
}
END_TEST

static pid_t owner;

/* Also runs when a test's own process exits. */
static void remove_dir(void)
{
    if (getpid() == owner)
        file_remove_tree(dir, NULL);
}

static void setup_dir(void)
{
    snprintf(dir, sizeof(dir), "/tmp/test_transport_XXXXXX");
    owner = getpid();
    if (mkdtemp(dir) == NULL)
        abort();
    atexit(remove_dir);
}

UNIT_MAIN("transport", {
    setup_dir();
    UNIT_TEST(framing);
    UNIT_TEST(greetings);
    UNIT_TEST(messages);
    UNIT_TEST(answer_to_stranger);
    UNIT_TEST(bulk);
    UNIT_TEST(reconnect);
    UNIT_TEST(refusals);
    UNIT_TEST(adoption);
    UNIT_TEST(cut_and_block);
    UNIT_TEST(tls_roles);
    UNIT_TEST(plain_only_local);
})
