/* logind.c - see logind.h.
 *
 *   open -> match PrepareForShutdown -> Inhibit -> (lock held) -> signal -> on_prepare -> release
 */
#include "kubelet/logind.h"

#include "lib/base/log.h"

#if __has_include(<systemd/sd-bus.h>)

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>
#include <uv.h>

#define DESTINATION "org.freedesktop.login1"
#define PATH "/org/freedesktop/login1"
#define MANAGER "org.freedesktop.login1.Manager"
#define REOPEN_MS 5000u

struct logind {
    struct logind_config config;
    sd_bus *bus;
    uv_poll_t *poll; /* Of its own, since it is closed later than the bus. */
    uv_timer_t timer;
    int lock; /* -1: not held. */
    bool released;
};

static void pump(struct logind *l);

static void on_lock(struct logind *l, sd_bus_message *m)
{
    int fd = -1;
    if (sd_bus_message_is_method_error(m, NULL) || sd_bus_message_read(m, "h", &fd) < 0) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        log_warning("logind gives no lock: %s", e != NULL ? e->message : "unexpected answer");
        return;
    }
    if (l->released)
        return;
    if (l->lock >= 0)
        close(l->lock);
    l->lock = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* The message's own goes with it. */
    log_info("the machine's shutdown waits for this node's pods");
}

static int on_inhibited(sd_bus_message *m, void *arg, sd_bus_error *e)
{
    UNUSED(e);
    on_lock(arg, m);
    return 0;
}

static int on_delay(sd_bus_message *m, void *arg, sd_bus_error *e)
{
    struct logind *l = arg;
    uint64_t us = 0;
    UNUSED(e);
    if (sd_bus_message_is_method_error(m, NULL) || sd_bus_message_read(m, "v", "t", &us) < 0)
        return 0;
    if (us / 1000 < l->config.wanted_ms)
        log_warning("logind waits %llu ms at most for the shutdown of pods, which may take %llu: "
                    "InhibitDelayMaxSec in logind.conf",
                    (unsigned long long)(us / 1000), (unsigned long long)l->config.wanted_ms);
    return 0;
}

static void inhibit(struct logind *l)
{
    sd_bus_call_method_async(l->bus, NULL, DESTINATION, PATH, MANAGER, "Inhibit", on_inhibited, l,
                             "ssss", "shutdown", "trireme-kubelet",
                             "Node agent ends its pods before the machine goes down", "delay");
}

static int on_signal(sd_bus_message *m, void *arg, sd_bus_error *e)
{
    struct logind *l = arg;
    int down = 0;
    UNUSED(e);
    if (sd_bus_message_read(m, "b", &down) < 0)
        return 0;
    if (down == 0) {
        l->released = false;
        inhibit(l);
    }
    l->config.on_prepare(down != 0, l->config.arg);
    return 0;
}

/* --- the bus in the loop -----------------------------------------------------------------------
 */

static void on_poll_closed(uv_handle_t *h)
{
    free(h);
}

static void close_bus(struct logind *l)
{
    if (l->poll != NULL) {
        l->poll->data = NULL;
        uv_close((uv_handle_t *)take(l->poll), on_poll_closed);
    }
    if (l->bus != NULL)
        sd_bus_close_unref(take(l->bus));
}

static void on_reopen(uv_timer_t *t);

static void lose_bus(struct logind *l, int code)
{
    log_warning("system bus: %s", strerror(-code));
    close_bus(l);
    uv_timer_start(&l->timer, on_reopen, REOPEN_MS, 0);
}

static void on_ready(uv_poll_t *p, int status, int events)
{
    UNUSED(status);
    UNUSED(events);
    if (p->data != NULL)
        pump(p->data);
}

static void on_due(uv_timer_t *t)
{
    pump(t->data);
}

/* Handles what there is, then waits for what the bus waits for. */
static void pump(struct logind *l)
{
    int rc;
    uint64_t due_us = UINT64_MAX;
    do
        rc = sd_bus_process(l->bus, NULL);
    while (rc > 0);
    if (rc < 0) {
        lose_bus(l, rc);
        return;
    }
    int events = sd_bus_get_events(l->bus);
    uv_poll_start(l->poll,
                  ((events & POLLIN) != 0 ? UV_READABLE : 0) |
                      ((events & POLLOUT) != 0 ? UV_WRITABLE : 0),
                  on_ready);
    uv_timer_stop(&l->timer);
    if (sd_bus_get_timeout(l->bus, &due_us) > 0 && due_us != UINT64_MAX) {
        uint64_t now_us = uv_hrtime() / 1000;
        uv_timer_start(&l->timer, on_due, due_us > now_us ? (due_us - now_us) / 1000 + 1 : 0, 0);
    }
}

static int open_bus(struct logind *l)
{
    int rc = sd_bus_open_system(&l->bus);
    if (rc >= 0)
        rc = sd_bus_match_signal_async(l->bus, NULL, DESTINATION, PATH, MANAGER,
                                       "PrepareForShutdown", on_signal, NULL, l);
    if (rc >= 0)
        rc = sd_bus_call_method_async(l->bus, NULL, DESTINATION, PATH,
                                      "org.freedesktop.DBus.Properties", "Get", on_delay, l, "ss",
                                      MANAGER, "InhibitDelayMaxUSec");
    if (rc < 0) {
        close_bus(l);
        return rc;
    }
    inhibit(l);
    l->poll = xzalloc(sizeof(*l->poll));
    uv_poll_init(l->config.loop, l->poll, sd_bus_get_fd(l->bus));
    l->poll->data = l;
    pump(l);
    return 0;
}

static void on_reopen(uv_timer_t *t)
{
    struct logind *l = t->data;
    if (open_bus(l) < 0)
        uv_timer_start(&l->timer, on_reopen, REOPEN_MS, 0);
}

int logind_start(const struct logind_config *config, struct logind **ret, struct error *err)
{
    struct logind *l = xzalloc(sizeof(*l));
    l->config = *config;
    l->lock = -1;
    uv_timer_init(config->loop, &l->timer);
    l->timer.data = l;
    int rc = open_bus(l);
    if (rc < 0) { /* It may come yet. */
        log_warning("no lock on the machine's shutdown: system bus: %s", strerror(-rc));
        uv_timer_start(&l->timer, on_reopen, REOPEN_MS, 0);
    }
    UNUSED(err);
    *ret = l;
    return 0;
}

void logind_release(struct logind *l)
{
    if (l == NULL)
        return;
    l->released = true;
    if (l->lock >= 0)
        close(l->lock);
    l->lock = -1;
}

#else

int logind_start(const struct logind_config *config, struct logind **ret, struct error *err)
{
    UNUSED(config);
    UNUSED(ret);
    return error_set(err, E_NOT_IMPLEMENTED, "built without libsystemd");
}

void logind_release(struct logind *l)
{
    UNUSED(l);
}

#endif
