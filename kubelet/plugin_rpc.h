/* plugin_rpc.h - unary gRPC calls to a plugin's unix socket, and streams of its answers.
 * Loop-confined. Requests are packed before plugin_call() returns; replies are borrowed for
 * the callback. */
#ifndef KUBELET_PLUGIN_RPC_H
#define KUBELET_PLUGIN_RPC_H

#include "lib/base/error.h"

#include <protobuf-c/protobuf-c.h>

struct arena;
struct plugin_client;
struct uv_loop_s;

struct plugin_reply {
    int code;            /* 0 or E_*. */
    const char *message; /* "rpc error: code = ... desc = ..." on failure; never NULL. */
    const void *msg;     /* On success. */
};

#define PLUGIN_TIMEOUT_MS 120000u /* Upstream's for CSI. */

int plugin_client_new(struct uv_loop_s *loop, const char *socket, struct plugin_client **ret,
                      struct error *err);
/* Sent with each call from now on; borrowed for ever. */
void plugin_client_set_metadata(struct plugin_client *c, const char *name, const char *value);
/* Calls under way end with E_CANCELED. NULL is a no-op. */
void plugin_client_close(struct plugin_client *c);
/* method: "/csi.v1.Node/NodeGetInfo". done runs once, later. */
void plugin_call(struct plugin_client *c, const char *method, const void *request,
                 const ProtobufCMessageDescriptor *response,
                 void (*done)(const struct plugin_reply *reply, void *arg), void *arg);

struct plugin_watch_config {
    const char *method;
    const void *request;
    const ProtobufCMessageDescriptor *response;
    void (*on_message)(const void *msg, void *arg); /* Each answer. */
    /* Once, and the last; code 0 when the plugin ended it. */
    void (*on_end)(const struct plugin_reply *reply, void *arg);
    void *arg;
};
/* Answers come for as long as both sides live; closing the client ends it. */
void plugin_watch(struct plugin_client *c, const struct plugin_watch_config *config);

#endif
