/* dra_health.h - what drivers of dynamic resources say of their devices' health. Pure: time comes
 * in. Source: KEP-4680; what is not said again within its time is not known. */
#ifndef KUBELET_DRA_HEALTH_H
#define KUBELET_DRA_HEALTH_H

#include "lib/base/map.h"

#include <stdbool.h>
#include <stdint.h>

enum dra_health_state { DRA_HEALTH_UNKNOWN, DRA_HEALTHY, DRA_UNHEALTHY };

#define DRA_HEALTH_TIMEOUT_MS 30000u /* Where the driver names none. */
#define DRA_HEALTH_MESSAGE_MAX 1024u /* Longer ones are cut. */

struct dra_health {
    struct map devices; /* "<driver>/<pool>/<device>" -> struct of its own */
};

struct dra_health_said {
    const char *driver, *pool, *device;
    enum dra_health_state state;
    int64_t timeout_s;   /* Until it is to be said again; 0 or less: the default. */
    const char *message; /* "": none. */
};

void dra_health_init(struct dra_health *h);
void dra_health_done(struct dra_health *h);
/* True: something about the device is different now. */
bool dra_health_set(struct dra_health *h, const struct dra_health_said *said, uint64_t now_ms);
/* message, which may be NULL: "" where there is none; borrowed until the next change. */
enum dra_health_state dra_health_get(const struct dra_health *h, const char *driver,
                                     const char *pool, const char *device, uint64_t now_ms,
                                     const char **message);
/* Nobody speaks for the driver any more. */
void dra_health_forget(struct dra_health *h, const char *driver);
/* When the next of the devices is no longer known, after now; 0: none. */
uint64_t dra_health_next_ms(const struct dra_health *h, uint64_t now_ms);

#endif
