/* watchdog.c - see watchdog.h. */
#include "kubelet/policy/watchdog.h"

#include "kubelet/netlink.h"
#include "kubelet/nft.h"

#include "lib/base/log.h"

static int look(const struct watchdog *w, struct watchdog_look *ret, struct error *err)
{
    uint32_t use = 0;
    int rc = netlink_nft_table(w->config.family, w->config.table, &ret->handle, &use, err);
    ret->use = use;
    return rc == 0 ? netlink_nft_rules(w->config.family, w->config.table, &ret->rules, err) : rc;
}

void watchdog_note(struct watchdog *w)
{
    struct error err;
    struct watchdog_look now = {0};
    w->generation = 0;
    if (look(w, &now, &err) != 0)
        now.handle = 0; /* There is none: everything has been removed. */
    w->noted = now;
}

static bool stands(struct watchdog *w)
{
    struct error err;
    struct watchdog_look now = {0};
    uint32_t generation;
    if (netlink_nft_generation(&generation, &err) != 0 || generation == w->generation)
        return true;
    int rc = look(w, &now, &err);
    if (rc != 0)
        return rc != E_NOT_FOUND;
    w->generation = generation;
    return memcmp(&now, &w->noted, sizeof(now)) == 0;
}

static void on_timer(uv_timer_t *t)
{
    struct watchdog *w = t->data;
    if (w->noted.handle == 0)
        return;
    /* Programs that set up bridges of their own switch it off for all. */
    (void)nft_see_bridges();
    if (stands(w))
        return;
    log_warning("%s: somebody has changed the table %s: it is made anew", w->config.what,
                w->config.table);
    w->generation = 0;
    w->config.on_damage(w->config.arg);
}

void watchdog_start(struct watchdog *w, uv_loop_t *loop, const struct watchdog_config *config)
{
    *w = (struct watchdog){.config = *config};
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    uv_timer_start(&w->timer, on_timer, WATCHDOG_MS, WATCHDOG_MS);
}
