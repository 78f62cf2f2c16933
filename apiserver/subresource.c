/* subresource.c - who handles what has a form of its own. */
#include "apiserver/subresource.h"

#include "apiserver/connect.h"
#include "apiserver/figures/answer.h"
#include "apiserver/kubelet_proxy.h"
#include "apiserver/proxy.h"
#include "apiserver/request.h"

static void not_implemented(struct req *r)
{
    req_status(r, status_printf(r->arena, 501, "NotImplemented", "%s is not served by this server",
                                r->sub != NULL ? r->sub->name : r->res->kind->resource));
}

static const struct {
    const char *group, *resource;
    const char *sub; /* "": the resource itself; group and resource NULL: any. */
    void (*handle)(struct req *r);
} table[] = {
    {NULL, NULL, "scale", scale_handle},
    {"", "pods", "binding", binding_handle},
    {"", "pods", "eviction", eviction_handle},
    {"", "pods", "log", kubelet_pod_log},
    {"", "pods", "exec", pod_connect},
    {"", "pods", "attach", pod_connect},
    {"", "pods", "portforward", pod_connect},
    {"", "pods", "proxy", proxy_handle},
    {"", "services", "proxy", proxy_handle},
    {"", "nodes", "proxy", proxy_handle},
    {"", "bindings", "", binding_handle},
    {"", "serviceaccounts", "token", token_request_handle},
    {"", "componentstatuses", "", component_statuses_handle},
    {"authentication.k8s.io", "tokenreviews", "", token_review_handle},
    {"authentication.k8s.io", "selfsubjectreviews", "", self_subject_review_handle},
    {"authorization.k8s.io", "subjectaccessreviews", "", access_review_handle},
    {"authorization.k8s.io", "localsubjectaccessreviews", "", access_review_handle},
    {"authorization.k8s.io", "selfsubjectaccessreviews", "", access_review_handle},
    {"authorization.k8s.io", "selfsubjectrulesreviews", "", rules_review_handle},
    {"metrics.k8s.io", "nodes", "", figures_answer},
    {"metrics.k8s.io", "pods", "", figures_answer},
};

void subresource_handle(struct req *r)
{
    const char *sub = r->sub != NULL ? r->sub->name : "";
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (strcmp(table[i].sub, sub) != 0)
            continue;
        if (table[i].group != NULL && (strcmp(table[i].group, r->res->kind->group) != 0 ||
                                       strcmp(table[i].resource, r->res->kind->resource) != 0))
            continue;
        table[i].handle(r);
        return;
    }
    not_implemented(r);
}
