/* program.c - a member as a process: the store, the etcd API, signals.
 *
 *   store_open -> etcd_server_start -> (leader known: ready) -> (SIGTERM) ->
 *   etcd_server_stop -> store_close (hands leadership over)
 *
 * The loop here is the program's own: signals, a look at the store now and then,
 * automatic compaction. Serving happens on the server's threads. */
#include "raftstore/program.h"

#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/loop.h"
#include "lib/base/mailbox.h"
#include "lib/base/metrics.h"
#include "raftstore/compactor.h"
#include "raftstore/etcd/server.h"
#include "raftstore/notify.h"
#include "raftstore/options.h"

#include <inttypes.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define READY_LOOK_MS 50u
#define LOOK_MS 5000u
/* Who waits for a majority when the end is asked for: less than the server's patience
 * with its connections, so that the answer still arrives. */
#define STOP_WAIT_MS 1500u

struct program {
    const struct options *options;
    struct store *store;
    struct etcd_server *server;
    uv_loop_t loop;
    struct mailbox mailbox;
    uv_signal_t signals[2];
    uv_timer_t timer;
    struct compactor compactor;
    bool compacting;
    bool ready;
    bool stopping;
    int code; /* Why it ends. */
};

static void on_mailbox_closed(struct mailbox *mb)
{
    UNUSED(mb);
}

/* Ends the loop once no answer is owed to it. */
static void stop(struct program *p)
{
    p->stopping = true;
    notify_systemd("STOPPING=1");
    store_limit_waits(p->store, STOP_WAIT_MS);
    for (size_t i = 0; i < ARRAY_SIZE(p->signals); i++)
        uv_close((uv_handle_t *)&p->signals[i], NULL);
    uv_close((uv_handle_t *)&p->timer, NULL);
    if (!p->compacting)
        mailbox_close(&p->mailbox, on_mailbox_closed);
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct program *p = h->data;
    log_info("signal %d: shutting down", signum);
    stop(p);
}

static void on_compacted(int code, int64_t rev, void *arg)
{
    struct program *p = arg;
    UNUSED(rev);
    p->compacting = false;
    if (code < 0 && code != E_EXPIRED) {
        log_warning("automatic compaction failed: %s", error_text(code));
        compactor_failed(&p->compactor);
    }
    if (p->stopping)
        mailbox_close(&p->mailbox, on_mailbox_closed);
}

static void compact(struct program *p, const struct store_status *status)
{
    if (p->options->compaction == COMPACTION_OFF || p->compacting)
        return;
    int64_t rev = compactor_look(&p->compactor, uv_now(&p->loop), status->rev, status->is_leader);
    if (rev <= status->compacted_rev)
        return;
    log_info("automatic compaction to revision %" PRId64, rev);
    p->compacting = true;
    store_compact(p->store, rev, &p->mailbox, on_compacted, p);
}

static void on_timer(uv_timer_t *t);

static void arm(struct program *p)
{
    uint64_t wait = p->ready ? LOOK_MS : READY_LOOK_MS, now = uv_now(&p->loop);
    if (p->options->compaction != COMPACTION_OFF)
        wait = MIN_OF(wait, p->compactor.due_ms > now ? p->compactor.due_ms - now : 1);
    uv_timer_start(&p->timer, on_timer, wait, 0);
}

static void on_timer(uv_timer_t *t)
{
    struct program *p = t->data;
    struct store_status status;
    store_status(p->store, &status);
    if (status.failed) {
        log_error("the store cannot go on (see above): ending, to be started again");
        p->code = E_IO;
        stop(p);
        return;
    }
    if (status.removed) {
        log_error("this member was removed from its cluster: ending. To use the machine again, "
                  "remove %s, add it as a new member and start it with "
                  "--initial-cluster-state existing",
                  p->options->data_dir);
        stop(p);
        return;
    }
    if (!p->ready && status.has_leader) {
        p->ready = true;
        log_info("ready: member %" PRIx64 " of cluster %" PRIx64 ", leader %" PRIx64, status.id,
                 status.cluster_id, status.leader_id);
        notify_systemd("READY=1");
    }
    compact(p, &status);
    arm(p);
}

/* --- the server ------------------------------------------------------------------------------ */

static int start_server(struct program *p, struct error *err)
{
    const struct options *o = p->options;
    struct etcd_server_config config = {
        .store = p->store,
        .listen_urls = o->listen_client_urls.items,
        .listen_url_count = o->listen_client_urls.count,
        .metrics_urls = o->listen_metrics_urls.items,
        .metrics_url_count = o->listen_metrics_urls.count,
        .cert_file = o->client.cert_file,
        .key_file = o->client.key_file,
        .trusted_ca_file = o->client.ca_file,
        .client_cert_auth = o->client.client_auth,
        .cipher_suites = o->cipher_suites,
        .tls_version_min = o->tls_min_version != NULL && strcmp(o->tls_min_version, "TLS1.3") == 0
                               ? TLS1_3_VERSION
                               : 0,
        .auth_token = o->auth_token,
        .auth_token_ttl_s = (uint32_t)o->auth_token_ttl_s,
        .bcrypt_cost = (unsigned)o->bcrypt_cost,
        .threads = (unsigned)o->threads,
        .request_bytes_max = (uint32_t)o->max_request_bytes,
        .txn_ops_max = (uint32_t)o->max_txn_ops,
        .streams_max =
            o->max_concurrent_streams == UINT32_MAX ? 0 : (uint32_t)o->max_concurrent_streams,
        .watch_progress_ms = (uint64_t)(o->watch_progress_ns / 1000000),
        /* As etcd: half as long again as an election takes. */
        .lease_ttl_min_s = (3 * o->election_ms / 2 + 999) / 1000,
        .extensive_metrics = strcmp(o->metrics, "extensive") == 0,
        .listen_peer_urls = o->listen_peers.items[0].url,
    };
    return etcd_server_start(&config, &p->server, err);
}

static int open_all(struct program *p, struct error *err)
{
    struct store_config config;
    options_store_config(p->options, &config);
    int rc = store_open(&config, &p->store, err);
    if (rc == E_CORRUPT)
        log_error(
            "%s cannot be used. In a cluster: `trireme member remove %s` on a healthy member, "
            "move the directory away, `trireme member add %s --peer-urls %s`, and start this "
            "again with --initial-cluster-state existing. Alone: `trireme snapshot restore`",
            config.data_dir, p->options->name, p->options->name, p->options->advertise_peer.url);
    if (rc == 0)
        rc = start_server(p, err);
    return rc;
}

static void watch(struct program *p)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = p;
        uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(&p->loop, &p->timer);
    p->timer.data = p;
    if (p->options->compaction != COMPACTION_OFF)
        compactor_init(&p->compactor, p->options->compaction == COMPACTION_PERIODIC,
                       p->options->compaction_retention, uv_now(&p->loop));
    arm(p);
}

static void on_last_signal(int signum)
{
    UNUSED(signum);
    _exit(1);
}

int program_serve(const struct options *o, struct error *err)
{
    struct program *p = xzalloc(sizeof(*p));
    p->options = o;
    metrics_add_process(metrics_default());
    uv_loop_init(&p->loop);
    int rc = mailbox_init(&p->mailbox, &p->loop);
    if (rc == 0)
        rc = open_all(p, err);
    if (rc == 0) {
        for (size_t i = 0; i < o->listen_clients.count; i++)
            log_info("serving clients on %s", o->listen_clients.items[i].url);
        watch(p);
    } else {
        mailbox_close(&p->mailbox, on_mailbox_closed);
    }
    uv_run(&p->loop, UV_RUN_DEFAULT);
    /* A second signal does not wait for anybody. */
    signal(SIGTERM, on_last_signal);
    signal(SIGINT, on_last_signal);
    etcd_server_stop(p->server);
    store_close(p->store);
    uv_loop_close(&p->loop);
    if (rc == 0 && p->code == 0)
        log_info("stopped");
    if (rc == 0 && p->code != 0)
        rc = error_set(err, p->code, "the store cannot go on");
    free(p);
    return rc;
}
