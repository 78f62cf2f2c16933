/* audit_webhook.c - see audit_webhook.h.
 *
 *   write -> queue -(full batch, or it waited long enough)-> batch, when the
 *   throttle has a token -> POST, again with backoff -> done, or lost and told */
#include "apiserver/audit_webhook.h"

#include "apiserver/ask.h"
#include "apiserver/audit_log.h"
#include "apiserver/hook.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/mailbox.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#define NS_PER_MS 1000000
#define TRIES 5u
#define TIMEOUT_MS 30000u
#define DRAIN_MS 5000u

struct event {
    struct list link;
    struct audit_ticket *ticket; /* NULL: nobody waits. */
    size_t len;
    char text[];
};

struct audit_webhook {
    struct audit_webhook_config config;
    struct hook *hook;
    pthread_t thread;
    pthread_mutex_t lock;
    struct list waiting; /* Guarded by lock, as are the next ones. */
    size_t waiting_count;
    bool mailed; /* A mail is on its way. */
    struct mail mail, close_mail, hurry_mail;
    bool hurried; /* hurry_mail is on its way, or was. */
    _Atomic uint64_t dropped;
    /* The thread's own. */
    uv_loop_t loop;
    struct mailbox mailbox;
    struct webhook_pool *pool;
    uv_timer_t timer;
    struct list batches; /* On their way. */
    unsigned running;
    uint64_t first_ms; /* When the oldest event came; 0: there is none. */
    double tokens;
    uint64_t tokens_ms;
    bool closing, closed, failing;
};

struct batch {
    struct audit_webhook *webhook;
    struct arena *arena;
    struct asks *asks;
    size_t count;
    struct list link; /* In the webhook's batches. */
    struct list tickets;
};

static void tell(struct list *tickets, bool stored)
{
    for (struct list *l; (l = list_pop_front(tickets)) != NULL;) {
        struct audit_ticket *t = LIST_ENTRY(l, struct audit_ticket, link);
        t->done(t, stored);
    }
}

static void pump(struct audit_webhook *w);

/* --- batches -------------------------------------------------------------------------------- */
static struct event *take_event(struct audit_webhook *w, size_t bytes, bool first)
{
    struct event *e = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->waiting_count != 0) {
        e = CONTAINER_OF(w->waiting.next, struct event, link);
        bool fits =
            w->config.batch_bytes == 0 || bytes + e->len <= (size_t)w->config.batch_bytes || first;
        if (fits) {
            list_remove(&e->link);
            w->waiting_count--;
        } else {
            e = NULL;
        }
    }
    pthread_mutex_unlock(&w->lock);
    return e;
}

static void lost(struct audit_webhook *w, size_t count, struct str why)
{
    audit_lost("webhook", count);
    atomic_fetch_add(&w->dropped, count);
    if (!w->failing)
        log_error("audit webhook: %zu events are lost: " STR_FMT, count, STR_ARG(why));
    w->failing = true;
}

static void close_if_done(struct audit_webhook *w);

static void on_sent(void *arg)
{
    struct batch *b = arg;
    struct audit_webhook *w = b->webhook;
    const struct webhook_answer *answer = asks_find(b->asks, w, STR("batch"));
    struct str problem = hook_problem(w->hook, b->arena, answer);
    if (problem.len != 0) {
        lost(w, b->count, problem);
    } else if (w->failing) {
        w->failing = false;
        log_info("audit webhook: events are taken again");
    }
    w->running--;
    list_remove(&b->link);
    tell(&b->tickets, problem.len == 0);
    arena_free(b->arena);
    pump(w);
    close_if_done(w);
}

static void send_batch(struct audit_webhook *w)
{
    struct arena *a = arena_new(0);
    struct batch *b = ARENA_NEW(a, struct batch);
    AUTO_BUF body = BUF_INIT;
    *b = (struct batch){.webhook = w, .arena = a, .asks = asks_new(a)};
    list_init(&b->tickets);
    list_push_back(&w->batches, &b->link);
    buf_puts(&body, "{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},"
                    "\"items\":[");
    while (b->count < (size_t)w->config.batch_count) {
        struct event *e = take_event(w, body.len, b->count == 0);
        if (e == NULL)
            break;
        if (b->count++ != 0)
            buf_putc(&body, ',');
        buf_append(&body, e->text, e->len);
        if (e->ticket != NULL)
            list_push_back(&b->tickets, &e->ticket->link);
        free(e);
    }
    buf_puts(&body, "]}");
    asks_note(b->asks,
              &(struct ask_config){.who = w,
                                   .key = STR("batch"),
                                   .target = *hook_target(w->hook),
                                   .method = "POST",
                                   .body = buf_str(&body),
                                   .timeout_ms = TIMEOUT_MS,
                                   .tries = TRIES,
                                   .any_failure = true,
                                   .backoff_ms = (uint64_t)(w->config.backoff_ns / NS_PER_MS)});
    w->running++;
    asks_run(b->asks, &w->loop, &w->pool, on_sent, b);
}

/* --- when ------------------------------------------------------------------------------------ */
static void on_timer(uv_timer_t *t)
{
    pump(t->data);
}

/* Milliseconds until a batch may go. */
static uint64_t throttled_ms(struct audit_webhook *w)
{
    const struct audit_webhook_config *c = &w->config;
    uint64_t now = uv_now(&w->loop);
    if (!c->throttle)
        return 0;
    w->tokens = MIN_OF(w->tokens + c->qps * (double)(now - w->tokens_ms) / 1000, (double)c->burst);
    w->tokens_ms = now;
    return w->tokens >= 1 ? 0 : (uint64_t)((1 - w->tokens) * 1000 / c->qps) + 1;
}

static void pump(struct audit_webhook *w)
{
    uint64_t wait_ms = (uint64_t)(w->config.wait_ns / NS_PER_MS);
    uv_update_time(&w->loop);
    while (w->pool != NULL && w->running < (unsigned)w->config.running_max) {
        pthread_mutex_lock(&w->lock);
        size_t count = w->waiting_count;
        pthread_mutex_unlock(&w->lock);
        uint64_t now = uv_now(&w->loop);
        if (count == 0) {
            w->first_ms = 0;
            return;
        }
        if (w->first_ms == 0)
            w->first_ms = now;
        bool due =
            count >= (size_t)w->config.batch_count || now - w->first_ms >= wait_ms || w->closing;
        uint64_t later = due ? throttled_ms(w) : w->first_ms + wait_ms - now;
        if (later != 0 && !w->closing) {
            uv_timer_start(&w->timer, on_timer, later, 0);
            return;
        }
        w->tokens -= 1;
        w->first_ms = 0;
        send_batch(w);
    }
}

static void on_mail(struct mail *m)
{
    struct audit_webhook *w = CONTAINER_OF(m, struct audit_webhook, mail);
    pthread_mutex_lock(&w->lock);
    w->mailed = false;
    pthread_mutex_unlock(&w->lock);
    pump(w);
}

/* --- life ---------------------------------------------------------------------------------------
 */
static void on_mailbox_closed(struct mailbox *mb)
{
    UNUSED(mb);
}

static void close_all(struct audit_webhook *w)
{
    if (w->closed)
        return;
    w->closed = true;
    struct webhook_pool *pool = w->pool;
    w->pool = NULL;
    webhook_pool_close(pool);
    uv_close((uv_handle_t *)&w->timer, NULL);
    mailbox_close(&w->mailbox, on_mailbox_closed);
}

static void close_if_done(struct audit_webhook *w)
{
    if (w->closing && w->running == 0)
        close_all(w);
}

static void on_drained(uv_timer_t *t)
{
    close_all(t->data);
}

static void on_close(struct mail *m)
{
    struct audit_webhook *w = CONTAINER_OF(m, struct audit_webhook, close_mail);
    w->closing = true;
    pump(w);
    uv_timer_start(&w->timer, on_drained, DRAIN_MS, 0);
    close_if_done(w);
}

/* Nobody waits any longer; what is on its way stays so. */
static void on_given_up(uv_timer_t *t)
{
    struct audit_webhook *w = t->data;
    struct list tickets;
    list_init(&tickets);
    LIST_FOREACH (it, &w->batches)
        list_splice(&tickets, &LIST_ENTRY(it, struct batch, link)->tickets);
    pthread_mutex_lock(&w->lock);
    LIST_FOREACH (it, &w->waiting) {
        struct event *e = LIST_ENTRY(it, struct event, link);
        if (e->ticket != NULL)
            list_push_back(&tickets, &e->ticket->link);
        e->ticket = NULL;
    }
    pthread_mutex_unlock(&w->lock);
    tell(&tickets, false);
    pump(w); /* The timer may have been set for it. */
}

static void on_hurry(struct mail *m)
{
    struct audit_webhook *w = CONTAINER_OF(m, struct audit_webhook, hurry_mail);
    if (!w->closing)
        uv_timer_start(&w->timer, on_given_up, DRAIN_MS, 0);
}

void audit_webhook_hurry(struct audit_webhook *w)
{
    pthread_mutex_lock(&w->lock);
    bool first = !w->hurried;
    w->hurried = true;
    pthread_mutex_unlock(&w->lock);
    if (first)
        mailbox_post(&w->mailbox, &w->hurry_mail);
}

static void *thread_main(void *arg)
{
    struct audit_webhook *w = arg;
    uv_run(&w->loop, UV_RUN_DEFAULT);
    return NULL;
}

int audit_webhook_open(const struct audit_webhook_config *config, struct audit_webhook **ret,
                       struct error *err)
{
    struct hook *hook;
    int code = hook_load("--audit-webhook-config-file", config->file, &hook, err);
    if (code != 0)
        return code;
    struct audit_webhook *w = xzalloc(sizeof(*w));
    w->config = *config;
    w->hook = hook;
    w->tokens = (double)config->burst;
    w->mail.run = on_mail;
    w->hurry_mail.run = on_hurry;
    w->close_mail.run = on_close;
    list_init(&w->waiting);
    list_init(&w->batches);
    pthread_mutex_init(&w->lock, NULL);
    uv_loop_init(&w->loop);
    code = mailbox_init(&w->mailbox, &w->loop);
    ASSERT(code == 0);
    w->pool = webhook_pool_new(&w->loop);
    uv_timer_init(&w->loop, &w->timer);
    w->timer.data = w;
    w->tokens_ms = uv_now(&w->loop);
    if (pthread_create(&w->thread, NULL, thread_main, w) != 0)
        PANIC("audit webhook: no thread");
    *ret = w;
    return 0;
}

void audit_webhook_close(struct audit_webhook *w)
{
    if (w == NULL)
        return;
    mailbox_post(&w->mailbox, &w->close_mail);
    pthread_join(w->thread, NULL);
    uv_loop_close(&w->loop);
    while (!list_empty(&w->waiting))
        free(CONTAINER_OF(list_pop_front(&w->waiting), struct event, link));
    pthread_mutex_destroy(&w->lock);
    hook_unref(w->hook);
    free(w);
}

void audit_webhook_write(struct audit_webhook *w, struct str text, struct audit_ticket *ticket)
{
    struct event *e = xmalloc(sizeof(*e) + text.len);
    e->len = text.len;
    e->ticket = ticket;
    memcpy(e->text, str_c(text), text.len);
    list_init(&e->link);
    pthread_mutex_lock(&w->lock);
    bool fits = ticket != NULL || w->waiting_count < (size_t)w->config.buffer_count;
    bool mail = fits && !w->mailed;
    if (fits) {
        list_push_back(&w->waiting, &e->link);
        w->waiting_count++;
        w->mailed = true;
    }
    pthread_mutex_unlock(&w->lock);
    if (mail)
        mailbox_post(&w->mailbox, &w->mail);
    if (fits)
        return;
    free(e);
    audit_lost("buffered", 1);
    if (atomic_fetch_add(&w->dropped, 1) == 0)
        log_error("audit webhook: its buffer of %" PRId64 " events is full: some are lost",
                  w->config.buffer_count);
}

uint64_t audit_webhook_dropped(const struct audit_webhook *w)
{
    return atomic_load(&w->dropped);
}
