/* check.h - one execution of a probe or lifecycle handler: a command in a
 * container, an HTTP GET, a TCP connect, a gRPC health check, a sleep.
 *
 * Loop-confined; done runs once, later, unless cancelled. */
#ifndef KUBELET_CHECK_H
#define KUBELET_CHECK_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct check;
struct core_v1_container;
struct core_v1_exec_action;
struct core_v1_grpc_action;
struct core_v1_http_get_action;
struct core_v1_lifecycle_handler;
struct core_v1_probe_handler;
struct core_v1_sleep_action;
struct core_v1_tcp_socket_action;
struct kubelet;

enum check_result { CHECK_SUCCESS, CHECK_FAILURE, CHECK_ERROR };

struct check_config {
    /* One of these is set. All borrowed for the call to check_start(). */
    const struct core_v1_exec_action *exec;
    const struct core_v1_http_get_action *http_get;
    const struct core_v1_tcp_socket_action *tcp_socket;
    const struct core_v1_grpc_action *grpc;
    const struct core_v1_sleep_action *sleep;
    const struct core_v1_container *container; /* For named ports. */
    const char *container_id;
    const char *pod_ip;
    uint64_t timeout_ms;
    bool is_hook; /* Any HTTP answer below 400 counts; other user agent. */
    void (*done)(enum check_result result, const char *output, void *arg);
    void *arg;
};

void check_from_probe(struct check_config *c, const struct core_v1_probe_handler *h);
void check_from_hook(struct check_config *c, const struct core_v1_lifecycle_handler *h);

/* The handle lives until done returns or check_cancel(). */
struct check *check_start(struct kubelet *k, const struct check_config *config);
void check_cancel(struct check *c); /* done will not run. NULL is a no-op. */

/* A number or the name of a container port; 0 when there is no such port. */
struct intstr_int_or_string;
int check_resolve_port(const struct core_v1_container *c, const struct intstr_int_or_string *port);

#endif
