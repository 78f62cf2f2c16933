/* monitor.h - what dashboards and alerts ask for beside requests (server_metrics.h),
 * under upstream's names: objects stored, who could authenticate, certificates that
 * end soon, the build; and the outcome of health checks, at /metrics/slis. Any thread. */
#ifndef APISERVER_MONITOR_H
#define APISERVER_MONITOR_H

#include "lib/base/base.h"

struct apiserver;
struct buf;
struct req;
struct tls_peer;

/* Once, before threads. Counts are those of the moment when they are read. */
void monitor_init(struct apiserver *s);
/* An attempt to authenticate came to its end. */
void monitor_authenticated(const struct req *r, bool ok);
/* A check of /healthz, /livez or /readyz ran. */
void monitor_checked(const char *name, const char *type, bool ok);
void monitor_write_slis(struct buf *out);

#endif
