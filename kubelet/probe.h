/* probe.h - the startup, liveness and readiness of one container instance.
 *
 * The thresholds are pure (probe_core); probe.c runs checks on a timer. */
#ifndef KUBELET_PROBE_H
#define KUBELET_PROBE_H

#include "kubelet/check.h"

struct api_object;
struct core_v1_probe;
struct probe;

enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS };
const char *probe_kind_name(enum probe_kind k); /* "Startup" */

/* --- thresholds --- */
struct probe_core {
    enum probe_kind kind;
    int success_threshold;
    int failure_threshold;
    bool decided; /* state holds a result of a probe. */
    bool ok;      /* What counts: readiness starts false, liveness true, startup false. */
    bool failed;  /* Liveness or startup: the container must go. */
    enum check_result last;
    int run; /* Equal results in a row. */
};
void probe_core_init(struct probe_core *p, enum probe_kind kind, const struct core_v1_probe *spec);
/* True when ok or failed changed. */
bool probe_core_result(struct probe_core *p, enum check_result r);

/* --- running --- */
struct probe_config {
    enum probe_kind kind;
    const struct core_v1_probe *spec;                 /* In object. */
    const struct core_v1_container *container;        /* In object. */
    struct api_object *object;                        /* A reference is taken. */
    const char *container_id;                         /* Copied. */
    const char *pod_ip;                               /* Copied. */
    int64_t started_ns;                               /* Of the container. */
    bool (*may_run)(enum probe_kind kind, void *arg); /* Startup before the others. */
    void (*on_change)(void *arg);
    void (*on_failure)(enum probe_kind kind, enum check_result r, const char *output, void *arg);
    void *arg;
};
struct probe *probe_start(struct kubelet *k, const struct probe_config *config);
void probe_stop(struct probe *p);         /* NULL is a no-op. */
bool probe_ok(const struct probe *p);     /* NULL: true. */
bool probe_failed(const struct probe *p); /* NULL: false. */
/* Takes over a result found before a restart of ours: a ready container stays ready. */
void probe_assume_ok(struct probe *p);

/* What /metrics/probes shows: results and durations of the probes that run. */
struct metrics *probe_metrics(void);

#endif
