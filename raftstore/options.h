/* options.h - what trireme-raftstore was asked to do: etcd's flags, environment
 * variables and configuration file under etcd's names.
 *
 *   command line --options_parse()--> struct options --options_check()--> addresses, members
 *
 * As etcd: a configuration file stands alone (other flags and variables are
 * ignored); a flag goes before its variable ETCD_<FLAG>. What etcd has and this
 * program has not is refused by name, unless it is given the value that means
 * "off"; what only tunes etcd's own machinery is taken and ignored. */
#ifndef RAFTSTORE_OPTIONS_H
#define RAFTSTORE_OPTIONS_H

#include "lib/base/flags.h"
#include "lib/base/log.h"
#include "raftstore/store.h"

struct arena;

#define OPTIONS_MEMBERS_MAX 16

struct options_tls {
    const char *cert_file, *key_file, *ca_file; /* NULL or empty: not given. */
    bool client_auth;
};

/* A URL to listen on or to be reached at, taken apart. */
struct options_url {
    bool tls;
    const char *url;     /* As given. */
    const char *address; /* "host:port", or "unix:/path". */
};

struct options_urls {
    const struct options_url *items;
    size_t count;
};

enum compaction_mode { COMPACTION_OFF, COMPACTION_PERIODIC, COMPACTION_REVISION };

struct options {
    struct flag_set *flags; /* Owns what the fields point to, */
    struct arena *arena;    /* ... as does this. */

    bool version;
    const char *config_file;
    const char *name, *data_dir;
    struct flag_list listen_peer_urls, listen_client_urls, listen_metrics_urls;
    struct flag_list initial_advertise_peer_urls, advertise_client_urls;
    struct flag_list initial_cluster;
    const char *initial_cluster_state, *initial_cluster_token;
    bool force_new_cluster;
    struct options_tls client, peer;
    const char *peer_allowed_cn;
    const char *cipher_suites, *tls_min_version;
    int64_t quota_bytes, snapshot_count, heartbeat_ms, election_ms;
    const char *compaction_mode_text, *compaction_retention_text;
    int64_t max_request_bytes, max_txn_ops, max_concurrent_streams;
    const char *auth_token;
    int64_t bcrypt_cost, auth_token_ttl_s;
    const char *metrics, *log_level_text;
    bool initial_corrupt_check;
    int64_t corrupt_check_ns, watch_progress_ns;
    struct flag_list feature_gates;
    int64_t threads;
    bool no_fsync;

    /* Made by options_check(). */
    enum log_level log_level;
    struct options_urls listen_clients, listen_metrics, listen_peers;
    const char *listen_peer_addresses; /* Comma list. */
    struct options_url advertise_peer;
    const char *client_urls; /* Comma list of what is advertised. */
    struct store_member members[OPTIONS_MEMBERS_MAX];
    uint32_t member_count;
    bool join;
    enum compaction_mode compaction;
    int64_t compaction_retention; /* Milliseconds, or revisions. */
};

/* environ: "NAME=value" strings, NULL at the end. 0; E_EOF: help was asked for,
 * print flag_set_help(o->flags); E_INVALID names the flag, variable or key.
 * options_done() is owed in any case. */
int options_parse(struct options *o, int argc, char *const *argv, char *const *environ,
                  struct error *err);
/* Derives the second part. E_INVALID with etcd's wording where it has one. */
int options_check(struct options *o, struct error *err);
void options_done(struct options *o);

/* The store's part of it; the strings are borrowed from o. */
void options_store_config(const struct options *o, struct store_config *ret);

/* options_url.c: "http://host:port", "https://...", "unix://...". localhost is
 * 127.0.0.1 where an address to listen on is wanted. E_INVALID names flag. */
int options_url_parse(struct arena *a, const char *flag, const char *url, bool listen,
                      struct options_url *ret, struct error *err);
/* The members that --initial-cluster names. */
int options_members(struct options *o, struct error *err);
/* The list of members has this one in it. Only a first start asks: a member that has
 * data knows who it is, whatever the list says, as with etcd. */
int options_names_self(const struct options *o, struct error *err);

/* options_file.c: sets flags from a YAML file of etcd's form. */
int options_file_read(struct flag_set *f, const char *path, struct error *err);
int options_file_parse(struct flag_set *f, struct str text, struct error *err);

/* options_other.c: registers etcd's flags that mean nothing here. */
void options_add_others(struct flag_set *f);

#endif
