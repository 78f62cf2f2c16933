/* pod_probes.c - probes and lifecycle hooks of a container. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"
#include "api/intstr.h"

/* What probes and hooks have in common; each has what the other lacks. */
struct handler {
    const struct core_v1_exec_action *exec;
    const struct core_v1_http_get_action *http;
    const struct core_v1_tcp_socket_action *tcp;
    const struct core_v1_grpc_action *grpc;
    const struct core_v1_sleep_action *sleep;
};

static void check_http(struct field_errors *errs, const struct field_path *path,
                       const struct core_v1_http_get_action *http)
{
    static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
    if (str_empty(http->path))
        field_required(errs, PATH(path, "path"), NULL);
    validate_port_or_name(errs, PATH(path, "port"), &http->port);
    validate_listed(errs, PATH(path, "scheme"), http->scheme, schemes);
    for (size_t i = 0; i < http->http_headers_count; i++) {
        struct str name = http->http_headers[i].name;
        bool good = !str_empty(name);
        for (size_t c = 0; c < name.len; c++)
            good = good && (name.data[c] == '-' || (name.data[c] >= '0' && name.data[c] <= '9') ||
                            (name.data[c] >= 'A' && name.data[c] <= 'Z') ||
                            (name.data[c] >= 'a' && name.data[c] <= 'z'));
        if (!good)
            field_invalid(errs, PATH(path, "httpHeaders"), name,
                          "a valid HTTP header must consist of alphanumeric characters or '-' "
                          "(e.g. 'X-Header-Name', "
                          "regex used for validation is '[-A-Za-z0-9]+')");
    }
}

static void check_sleep(struct pod_check *k, const struct field_path *path,
                        const struct core_v1_sleep_action *s)
{
    int64_t grace = k->spec->termination_grace_period_seconds;
    if (k->spec->has_termination_grace_period_seconds && (s->seconds < 0 || s->seconds > grace))
        field_invalid_int(k->errs, path, s->seconds,
                          "must be non-negative and less than terminationGracePeriodSeconds (%lld)",
                          (long long)grace);
}

/* The first handler counts, every further one is too many. */
static bool is_first(struct pod_check *k, const struct field_path *path, bool *seen)
{
    if (*seen)
        field_forbidden(k->errs, path, "may not specify more than 1 handler type");
    bool first = !*seen;
    *seen = true;
    return first;
}

static void check_handler(struct pod_check *k, const struct field_path *path,
                          const struct handler *h)
{
    bool seen = false;
    if (h->exec != NULL && is_first(k, PATH(path, "exec"), &seen) && h->exec->command_count == 0)
        field_required(k->errs, PATH(PATH(path, "exec"), "command"), NULL);
    if (h->http != NULL && is_first(k, PATH(path, "httpGet"), &seen))
        check_http(k->errs, PATH(path, "httpGet"), h->http);
    if (h->tcp != NULL && is_first(k, PATH(path, "tcpSocket"), &seen))
        validate_port_or_name(k->errs, PATH(PATH(path, "tcpSocket"), "port"), &h->tcp->port);
    if (h->grpc != NULL && is_first(k, PATH(path, "grpc"), &seen))
        validate_port(k->errs, PATH(PATH(path, "grpc"), "port"), h->grpc->port);
    if (h->sleep != NULL && is_first(k, PATH(path, "sleep"), &seen))
        check_sleep(k, PATH(path, "sleep"), h->sleep);
    if (!seen)
        field_required(k->errs, path, "must specify a handler type");
}

static void check_probe(struct pod_check *k, const struct field_path *path,
                        const struct core_v1_probe *p, bool readiness)
{
    struct field_errors *errs = k->errs;
    if (p == NULL)
        return;
    struct handler h = {.exec = p->handler.exec,
                        .http = p->handler.http_get,
                        .tcp = p->handler.tcp_socket,
                        .grpc = p->handler.grpc};
    check_handler(k, path, &h);
    validate_non_negative(errs, PATH(path, "initialDelaySeconds"), p->initial_delay_seconds);
    validate_non_negative(errs, PATH(path, "timeoutSeconds"), p->timeout_seconds);
    validate_non_negative(errs, PATH(path, "periodSeconds"), p->period_seconds);
    validate_non_negative(errs, PATH(path, "successThreshold"), p->success_threshold);
    validate_non_negative(errs, PATH(path, "failureThreshold"), p->failure_threshold);
    const struct field_path *grace = PATH(path, "terminationGracePeriodSeconds");
    if (p->has_termination_grace_period_seconds && p->termination_grace_period_seconds <= 0)
        field_invalid_int(errs, grace, p->termination_grace_period_seconds,
                          "must be greater than 0");
    if (readiness && p->has_termination_grace_period_seconds)
        field_invalid_int(errs, grace, p->termination_grace_period_seconds,
                          "must not be set for readinessProbes");
    if (!readiness && p->success_threshold != 1)
        field_invalid_int(errs, PATH(path, "successThreshold"), p->success_threshold, "must be 1");
}

static void check_hook(struct pod_check *k, const struct field_path *path,
                       const struct core_v1_lifecycle_handler *l)
{
    if (l == NULL)
        return;
    struct handler h = {
        .exec = l->exec, .http = l->http_get, .tcp = l->tcp_socket, .sleep = l->sleep};
    check_handler(k, path, &h);
}

static void check_stop_signal(struct pod_check *k, const struct field_path *path, struct str signal)
{
    static const char *const windows[] = {"SIGKILL", "SIGTERM", NULL};
    static const char *const linux_signals[] = {
        "SIGABRT",     "SIGALRM",     "SIGBUS",      "SIGCHLD",     "SIGCLD",      "SIGCONT",
        "SIGFPE",      "SIGHUP",      "SIGILL",      "SIGINT",      "SIGIO",       "SIGIOT",
        "SIGKILL",     "SIGPIPE",     "SIGPOLL",     "SIGPROF",     "SIGPWR",      "SIGQUIT",
        "SIGRTMAX",    "SIGRTMAX-1",  "SIGRTMAX-10", "SIGRTMAX-11", "SIGRTMAX-12", "SIGRTMAX-13",
        "SIGRTMAX-14", "SIGRTMAX-2",  "SIGRTMAX-3",  "SIGRTMAX-4",  "SIGRTMAX-5",  "SIGRTMAX-6",
        "SIGRTMAX-7",  "SIGRTMAX-8",  "SIGRTMAX-9",  "SIGRTMIN",    "SIGRTMIN+1",  "SIGRTMIN+10",
        "SIGRTMIN+11", "SIGRTMIN+12", "SIGRTMIN+13", "SIGRTMIN+14", "SIGRTMIN+15", "SIGRTMIN+2",
        "SIGRTMIN+3",  "SIGRTMIN+4",  "SIGRTMIN+5",  "SIGRTMIN+6",  "SIGRTMIN+7",  "SIGRTMIN+8",
        "SIGRTMIN+9",  "SIGSEGV",     "SIGSTKFLT",   "SIGSTOP",     "SIGSYS",      "SIGTERM",
        "SIGTRAP",     "SIGTSTP",     "SIGTTIN",     "SIGTTOU",     "SIGURG",      "SIGUSR1",
        "SIGUSR2",     "SIGVTALRM",   "SIGWINCH",    "SIGXCPU",     "SIGXFSZ",     NULL};
    struct str os = k->spec->os != NULL ? k->spec->os->name : STR_NULL;
    if (str_empty(os))
        field_forbidden(k->errs, path, "may not be set for containers with empty `spec.os.name`");
    else if (str_eqc(os, "windows"))
        validate_listed(k->errs, path, signal, windows);
    else if (str_eqc(os, "linux"))
        validate_listed(k->errs, path, signal, linux_signals);
}

void check_probes(struct pod_check *k, const struct field_path *path,
                  const struct core_v1_container *c)
{
    if (c->lifecycle != NULL) {
        const struct field_path *at = PATH(path, "lifecycle");
        check_hook(k, PATH(at, "postStart"), c->lifecycle->post_start);
        check_hook(k, PATH(at, "preStop"), c->lifecycle->pre_stop);
        if (c->lifecycle->has_stop_signal)
            check_stop_signal(k, PATH(at, "stopSignal"), c->lifecycle->stop_signal);
    }
    check_probe(k, PATH(path, "livenessProbe"), c->liveness_probe, false);
    check_probe(k, PATH(path, "readinessProbe"), c->readiness_probe, true);
    check_probe(k, PATH(path, "startupProbe"), c->startup_probe, false);
}
