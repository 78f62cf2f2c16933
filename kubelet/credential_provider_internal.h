/* credential_provider_internal.h - what reading the configuration and asking share. */
#ifndef KUBELET_CREDENTIAL_PROVIDER_INTERNAL_H
#define KUBELET_CREDENTIAL_PROVIDER_INTERNAL_H

#include "kubelet/credential_provider.h"

#include "lib/base/list.h"
#include "lib/base/map.h"

#define CREDENTIAL_API_VERSION "credentialprovider.kubelet.k8s.io/v1"

struct provider {
    const char *name, *path;
    struct str *patterns;
    size_t pattern_count;
    int64_t cache_ns; /* Where a response says nothing. */
    char **args, **env;
    struct list running, waiting; /* struct run: its processes, and those for which it has none. */
    size_t running_count;
};

struct credential_providers {
    struct uv_loop_s *loop;
    struct arena *arena;
    struct provider *items;
    size_t count;
    struct map cache; /* "<provider> <type> <image, registry or nothing>" -> struct cached */
    uint64_t swept_ms;
};

#endif
