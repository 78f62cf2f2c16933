/* cluster_pki.h - the cluster's certificate authorities and what they sign for
 * a control-plane host.
 *
 *   ca.crt/.key                   signs API server, clients and nodes
 *   peer-ca.crt/.key              signs store members only, so that no client
 *                                 certificate can ever speak to the store
 *   front-proxy-ca.crt/.key       signs the API servers' certificate for aggregated
 *                                 API servers only, who believe its bearer about users
 *   sa.key/.pub                   signs service-account tokens
 *   tokens.csv                    one static administrator token
 *   apiserver, apiserver-kubelet-client, front-proxy-client, peer  (.crt/.key)
 *                                 this host's own
 *   admin, scheduler, controller-manager .kubeconfig
 *
 * Existing files are kept, so that every step can be repeated. */
#ifndef CLI_CLUSTER_PKI_H
#define CLI_CLUSTER_PKI_H

#include "lib/base/str.h"

struct arena;
struct buf;
struct error;
struct host;

/* The shared secrets of a new cluster. */
int cluster_pki_create(struct arena *a, const struct host *h, struct error *err);
/* This host's certificates and kubeconfigs, signed with the shared secrets.
 * servers: "https://a:6443,https://b:6443", what this host's programs use. */
int cluster_pki_issue(struct arena *a, const struct host *h, const char *servers,
                      struct error *err);
/* "sha256:<hex>" of the CA's public key, for join. */
int cluster_pki_ca_hash(struct arena *a, const struct host *h, struct str *ret, struct error *err);
/* The administrator's bearer token from tokens.csv. */
int cluster_pki_admin_token(struct arena *a, const char *dir, struct str *ret, struct error *err);

/* The shared secrets as one JSON document, encrypted with a key that only the
 * joining host is told (AES-256-GCM; key: 64 hexadecimal digits), and back
 * into h's pki folder. */
int cluster_pki_seal(struct arena *a, const struct host *h, struct str key_hex,
                     struct str *ret_sealed, struct error *err);
int cluster_pki_unseal(struct arena *a, const struct host *h, struct str key_hex, struct str sealed,
                       struct error *err);

/* A kubeconfig for servers with this token (may be empty) and CA. */
int cluster_pki_token_kubeconfig(struct arena *a, const char *servers, struct str ca_pem,
                                 struct str token, const char *user, struct buf *out);
/* Reads a file of h's pki folder. */
int cluster_pki_read(struct arena *a, const struct host *h, const char *leaf, struct str *ret,
                     struct error *err);

#endif
