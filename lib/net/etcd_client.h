/* etcd_client.h - a blocking client of etcd's v3 API, for command lines.
 *
 * Endpoints are tried in turn. With a user the client authenticates first. */
#ifndef NET_ETCD_CLIENT_H
#define NET_ETCD_CLIENT_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

#include <protobuf-c/protobuf-c.h>

struct arena;
struct etcd_client;
struct flag_set;

/* etcdctl's flags, as given. */
struct etcd_client_config {
    const char *endpoints; /* "https://a:2379,b:2379": one scheme for all. NULL: 127.0.0.1:2379. */
    const char *ca_file, *cert_file, *key_file; /* Any of them means TLS. */
    bool skip_verify;
    const char *user;     /* "name:password", or "name" with password. NULL: none. */
    const char *password; /* NULL: in user. */
    int64_t timeout_ns;   /* Per call, except streams; 0: 10 s. */
};

/* Registers --endpoints, --cacert, --cert, --key, --insecure-skip-tls-verify, --user,
 * --password and --command-timeout. ETCDCTL_* variables give the defaults. */
void etcd_client_flags(struct etcd_client_config *c, struct flag_set *flags);
/* All but the endpoints, under names with a prefix ("from-cacert"), for commands with
 * two sides. */
void etcd_client_flags_for(struct etcd_client_config *c, struct flag_set *flags,
                           const char *prefix);

int etcd_client_new(const struct etcd_client_config *config, struct etcd_client **ret,
                    struct error *err);
void etcd_client_free(struct etcd_client *c); /* NULL is a no-op. */

/* One call: method "/etcdserverpb.KV/Range"; *ret lies in the arena. Errors of the
 * server come as their E_* code with the text that etcd's clients show. */
int etcd_client_call(struct etcd_client *c, const char *method, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *response, struct arena *a,
                     ProtobufCMessage **ret, struct error *err);
/* A call whose answer is a stream. on_message may fail, which ends the call. */
int etcd_client_stream(struct etcd_client *c, const char *method, const ProtobufCMessage *request,
                       int (*on_message)(struct str message, void *arg, struct error *err),
                       void *arg, struct error *err);

/* `snapshot save`: into path, by way of path.part; whole and checked, or not at all. */
int etcd_client_save(const struct etcd_client_config *config, const char *path, struct error *err);

#endif
