/* audit_flags.c - see audit_flags.h. */
#include "apiserver/audit_flags.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"

#include <inttypes.h>
#include <stdio.h>

#define SECOND_NS INT64_C(1000000000)
#define RUNNING_MAX 32          /* Batches on their way; */
#define RUNNING_WAITED_MAX 1024 /* of single events, for each of which a request waits. */

/* The plugin is "log" or "webhook". */
static const char *name_of(struct flag_set *f, const char *plugin, const char *what)
{
    return arena_printf(flag_set_arena(f), "audit-%s-%s", plugin, what).data;
}

static void add_batch_flags(struct audit_batch_flags *b, struct flag_set *f, const char *plugin)
{
    flag_string(f, &b->mode, name_of(f, plugin, "mode"),
                "batch: events are sent later, together. blocking: requests wait until theirs are "
                "stored. blocking-strict: and fail when the first of them cannot be.");
    flag_int(f, &b->buffer_count, name_of(f, plugin, "batch-buffer-size"),
             "Events held before they are sent; further ones are lost.");
    flag_int(f, &b->batch_count, name_of(f, plugin, "batch-max-size"), "Events in a batch.");
    flag_duration(f, &b->wait_ns, name_of(f, plugin, "batch-max-wait"),
                  "How long a batch may wait to become full.");
    flag_bool(f, &b->throttle, name_of(f, plugin, "batch-throttle-enable"),
              "Bound the batches that are sent in a second.");
    flag_float(f, &b->qps, name_of(f, plugin, "batch-throttle-qps"), "Batches in a second.");
    flag_int(f, &b->burst, name_of(f, plugin, "batch-throttle-burst"),
             "Batches sent at once after a pause.");
    flag_bool(f, &b->truncate, name_of(f, plugin, "truncate-enabled"),
              "Leave the objects out of events that are too large.");
    flag_int(f, &b->batch_bytes, name_of(f, plugin, "truncate-max-batch-size"),
             "Bytes of a batch.");
    flag_int(f, &b->event_bytes, name_of(f, plugin, "truncate-max-event-size"),
             "Bytes of an event.");
    flag_string(f, &b->version, name_of(f, plugin, "version"), "Version of the events.");
}

void audit_flags_add(struct audit_flags *a, struct flag_set *f)
{
    struct audit_log_config *l = &a->config.log;
    const struct audit_batch_flags common = {.mode = "blocking",
                                             .buffer_count = 10000,
                                             .batch_count = 1,
                                             .truncate = false,
                                             .batch_bytes = 10 << 20,
                                             .event_bytes = 100 << 10,
                                             .version = "audit.k8s.io/v1"};
    a->log = a->webhook = common;
    a->webhook.mode = "batch";
    a->webhook.batch_count = 400;
    a->webhook.wait_ns = 30 * SECOND_NS;
    a->webhook.throttle = true;
    a->webhook.qps = 10;
    a->webhook.burst = 15;
    a->log_megabytes = 100;
    l->backups_max = 100;
    l->age_days_max = 366;
    a->log_format = "json";
    a->config.webhook.backoff_ns = 10 * SECOND_NS;
    flag_string(f, &a->config.policy_file, "audit-policy-file",
                "`File` with the audit policy: which requests are recorded.");
    flag_string(f, &l->path, "audit-log-path", "`File` that events go to; - is standard output.");
    flag_int(f, &a->log_megabytes, "audit-log-maxsize",
             "Megabytes of the file before it is rotated; 0: it never is.");
    flag_int(f, &l->backups_max, "audit-log-maxbackup", "Old files to keep; 0: all.");
    flag_int(f, &l->age_days_max, "audit-log-maxage", "Days to keep old files; 0: for ever.");
    flag_bool(f, &l->compress, "audit-log-compress", "Compress files that are rotated by gzip.");
    flag_string(f, &a->log_format, "audit-log-format", "json, or legacy: a line of text.");
    flag_string(f, &a->config.webhook.file, "audit-webhook-config-file",
                "Kubeconfig `file` of a webhook that events are sent to.");
    flag_duration(f, &a->config.webhook.backoff_ns, "audit-webhook-initial-backoff",
                  "Before a batch that failed is sent again.");
    flag_duration(f, &a->config.webhook.backoff_ns, "audit-webhook-batch-initial-backoff",
                  "The same; the old name.");
    add_batch_flags(&a->log, f, "log");
    add_batch_flags(&a->webhook, f, "webhook");
}

static int not_positive(const char *plugin, const char *what, int64_t value, struct error *err)
{
    return error_set(err, E_INVALID, "invalid audit %s %s %" PRId64 ", must be a positive number",
                     plugin, what, value);
}

/* The texts are upstream's. */
static int check_batch(const struct audit_batch_flags *b, const char *plugin, struct error *err)
{
    bool batch = strcmp(b->mode, "batch") == 0;
    char name[32];
    snprintf(name, sizeof(name), "batch %s", plugin);
    if (!batch && strcmp(b->mode, "blocking") != 0 && strcmp(b->mode, "blocking-strict") != 0)
        return error_set(
            err, E_INVALID,
            "invalid audit %s mode %s, allowed modes are \"batch,blocking,blocking-strict\"",
            plugin, b->mode);
    if (batch && b->buffer_count <= 0)
        return not_positive(name, "buffer size", b->buffer_count, err);
    if (batch && b->batch_count <= 0)
        return not_positive(name, "max batch size", b->batch_count, err);
    if (batch && b->wait_ns < 0)
        return error_set(err, E_INVALID, "--audit-%s-batch-max-wait: must not be negative", plugin);
    if (batch && b->throttle && b->qps <= 0)
        return error_set(err, E_INVALID,
                         "invalid audit %s throttle QPS %g, must be a positive number", name,
                         b->qps);
    if (batch && b->throttle && b->burst <= 0)
        return not_positive(name, "throttle burst", b->burst, err);
    snprintf(name, sizeof(name), "truncate %s", plugin);
    if (b->event_bytes <= 0)
        return not_positive(name, "max event size", b->event_bytes, err);
    if (b->batch_bytes < b->event_bytes)
        return error_set(err, E_INVALID,
                         "invalid audit truncate %s max batch size %" PRId64
                         ", must be greater than max event size (%" PRId64 ")",
                         plugin, b->batch_bytes, b->event_bytes);
    if (strcmp(b->version, "audit.k8s.io/v1") != 0)
        return error_set(err, E_INVALID,
                         "--audit-%s-version %s: invalid group version, allowed versions are "
                         "[\"audit.k8s.io/v1\"]",
                         plugin, b->version);
    return 0;
}

static int check_log(const struct audit_flags *a, struct error *err)
{
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {{"maxsize", a->log_megabytes},
                  {"maxbackup", a->config.log.backups_max},
                  {"maxage", a->config.log.age_days_max}};
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        if (counts[i].value < 0)
            return error_set(err, E_INVALID,
                             "--audit-log-%s %" PRId64 " can't be a negative number",
                             counts[i].name, counts[i].value);
    if (strcmp(a->log_format, "json") != 0 && strcmp(a->log_format, "legacy") != 0)
        return error_set(err, E_INVALID,
                         "invalid audit log format %s, allowed formats are \"legacy,json\"",
                         a->log_format);
    return 0;
}

static enum audit_mode mode_of(const struct audit_batch_flags *b)
{
    return strcmp(b->mode, "batch") == 0      ? AUDIT_BATCH
           : strcmp(b->mode, "blocking") == 0 ? AUDIT_BLOCKING
                                              : AUDIT_BLOCKING_STRICT;
}

int audit_flags_check(struct audit_flags *a, struct error *err)
{
    struct audit_webhook_config *w = &a->config.webhook;
    bool batch = strcmp(a->webhook.mode, "batch") == 0;
    int code = 0;
    if (a->config.log.path != NULL && a->config.log.path[0] != '\0') {
        code = check_batch(&a->log, "log", err);
        if (code == 0)
            code = check_log(a, err);
    }
    if (code == 0 && w->file != NULL)
        code = check_batch(&a->webhook, "webhook", err);
    if (code == 0 && w->backoff_ns <= 0)
        code = error_set(err, E_INVALID, "--audit-webhook-initial-backoff: must be positive");
    if (code != 0)
        return code;
    a->config.log.bytes_max = (uint64_t)a->log_megabytes << 20;
    a->config.log.buffer_count = a->log.buffer_count;
    a->config.legacy = strcmp(a->log_format, "legacy") == 0;
    a->config.log_event_bytes = a->log.truncate ? a->log.event_bytes : 0;
    a->config.webhook_event_bytes = a->webhook.truncate ? a->webhook.event_bytes : 0;
    a->config.log_mode = mode_of(&a->log);
    a->config.webhook_mode = mode_of(&a->webhook);
    w->buffer_count = a->webhook.buffer_count;
    w->running_max = batch ? RUNNING_MAX : RUNNING_WAITED_MAX;
    w->batch_count = batch ? a->webhook.batch_count : 1;
    w->wait_ns = batch ? a->webhook.wait_ns : 0;
    w->throttle = batch && a->webhook.throttle;
    w->qps = a->webhook.qps;
    w->burst = a->webhook.burst;
    w->batch_bytes = a->webhook.truncate ? a->webhook.batch_bytes : 0;
    return 0;
}
