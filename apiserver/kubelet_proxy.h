/* kubelet_proxy.h - container logs, fetched from node agents. Loop-confined. */
#ifndef APISERVER_KUBELET_PROXY_H
#define APISERVER_KUBELET_PROXY_H

#include "lib/base/str.h"

struct core_v1_pod;
struct meta_v1_status;
struct req;

/* GET pods/log: answers r with the kubelet's stream. */
void kubelet_pod_log(struct req *r);
/* The container that ?container= or the pod itself names, or why there is none. */
struct meta_v1_status *pod_choose_container(struct req *r, const struct core_v1_pod *pod,
                                            struct str *ret);

#endif
