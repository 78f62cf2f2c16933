/* kubeconfig.h - where the API servers are and who we are: read from a
 * kubeconfig file, or from a pod's service account.
 *
 * A struct kubeconfig is a plain value after loading: it keeps file names
 * beside their content, so that rotated certificates and tokens can be read
 * again. Loading reads files and belongs outside of loop callbacks. */
#ifndef CLIENT_KUBECONFIG_H
#define CLIENT_KUBECONFIG_H

#include "lib/base/str.h"

struct buf;
struct error;

#define KUBECONFIG_BYTES_MAX (4u << 20)
#define KUBECONFIG_SERVERS_MAX 16

/* Bytes that stood inline in the file or in a file of their own. */
struct kubeconfig_data {
    char *file;      /* Absolute path; NULL: inline. */
    struct str data; /* Owned; NUL behind it. Empty: not given. */
};

struct kubeconfig {
    struct arena *arena; /* Owns everything below but the data. */
    /* "https://host:port[/prefix]"; tried in turn when one does not answer.
     * One cluster entry names one server, or several divided by commas. */
    const char *servers[KUBECONFIG_SERVERS_MAX];
    size_t server_count;
    const char *tls_server_name; /* NULL: the host of the URL. */
    bool insecure_skip_tls_verify;
    struct kubeconfig_data ca;   /* PEM bundle; empty: the system's. */
    struct kubeconfig_data cert; /* PEM chain. */
    struct kubeconfig_data key;  /* PEM. */
    struct kubeconfig_data token;
    const char *username; /* Basic authentication; NULL without. */
    const char *password;
    const char *impersonate_user;          /* act-as; NULL without. */
    const char *const *impersonate_groups; /* NULL-terminated, or NULL. */
    const char *namespace_name;            /* Of the context; NULL: "default". */
    const char *context;                   /* Name of the context chosen; NULL: none. */
};

/* path: NULL or "" takes $KUBECONFIG (its first existing file), else
 * ~/.kube/config, else the pod's service account. context: NULL takes the
 * current one. Relative file names count from the kubeconfig's folder.
 * E_NOT_FOUND: no such file or context. E_INVALID: what is wrong, and where. */
int kubeconfig_load(const char *path, const char *context, struct kubeconfig **ret,
                    struct error *err);
/* The same from text. base_dir: what relative file names count from. */
int kubeconfig_parse(struct str text, const char *base_dir, const char *context,
                     struct kubeconfig **ret, struct error *err);
/* /var/run/secrets/kubernetes.io/serviceaccount and KUBERNETES_SERVICE_HOST. */
int kubeconfig_in_cluster(struct kubeconfig **ret, struct error *err);
/* One server without a file: url is copied, credentials may be added by
 * kubeconfig_set_data(). */
struct kubeconfig *kubeconfig_for_server(const char *url);
void kubeconfig_free(struct kubeconfig *k); /* NULL is a no-op. */

/* Replaces *d by a copy of data, or by the file's content. */
void kubeconfig_set_data(struct kubeconfig_data *d, struct str data);
int kubeconfig_set_file(struct kubeconfig_data *d, const char *path, struct error *err);
/* Reads every file again. *ret_changed tells whether any content differs. On
 * failure the old content stays. */
int kubeconfig_reload(struct kubeconfig *k, bool *ret_changed, struct error *err);

/* A kubeconfig file as text, with everything inline: for writers of such files
 * (node bootstrap, trireme init). Names the only cluster `cluster`, the only
 * user `user`. */
void kubeconfig_write(const struct kubeconfig *k, const char *cluster, const char *user,
                      struct buf *out);

#endif
