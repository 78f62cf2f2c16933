/* audit_flags.h - the flags --audit-*, as upstream names and checks them. */
#ifndef APISERVER_AUDIT_FLAGS_H
#define APISERVER_AUDIT_FLAGS_H

#include "apiserver/audit.h"

struct flag_set;

struct audit_batch_flags {
    const char *mode;
    int64_t buffer_count, batch_count, wait_ns;
    bool throttle;
    double qps;
    int64_t burst;
    bool truncate;
    int64_t batch_bytes, event_bytes;
    const char *version;
};

struct audit_flags {
    struct audit_config config;
    int64_t log_megabytes;
    const char *log_format;
    struct audit_batch_flags log, webhook;
};

void audit_flags_add(struct audit_flags *a, struct flag_set *f);
/* Checks, and fills a->config. */
int audit_flags_check(struct audit_flags *a, struct error *err);

#endif
