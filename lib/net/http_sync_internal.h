/* http_sync_internal.h - what the blocking wrappers of HTTP and gRPC share. */
#ifndef NET_HTTP_SYNC_INTERNAL_H
#define NET_HTTP_SYNC_INTERNAL_H

#include "lib/net/http_client.h"

#include <uv.h>

struct http_sync {
    uv_loop_t loop;
    struct http_client *client;
};

#endif
