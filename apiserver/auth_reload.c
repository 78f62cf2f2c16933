/* auth_reload.c - see auth_reload.h. */
#include "apiserver/auth_reload.h"

#include "apiserver/apiserver.h"
#include "apiserver/authn.h"
#include "apiserver/authz.h"
#include "apiserver/authz_config.h"
#include "apiserver/config_file.h"
#include "apiserver/encryption.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/net/pki.h"

#include <time.h>
#include <uv.h>

#define PERIOD_MS 5000u

/* One of the files. */
struct followed {
    const char *flag, *path; /* path NULL: not given. */
    const char *counter, *stamp;
    uint8_t hash[32]; /* Of what was read last. */
    bool read;
    /* Written by the worker, read by the loop afterwards. */
    bool changed;
    int code;
    struct error err;
    void *made;
};

enum { AUTHZ_FILE, AUTHN_FILE, ENCRYPTION_FILE, FILE_COUNT };

struct auth_reload {
    uv_timer_t timer;
    uv_work_t work;
    struct apiserver *server;
    struct followed files[FILE_COUNT];
    bool working, stopped, closed;
};

static int read_authz(const char *path, struct buf *text, struct authz_list **ret,
                      struct error *err)
{
    int code = file_read(path, CONFIG_BYTES_MAX, text, err);
    if (code == 0) {
        code = authz_list_parse(buf_str(text), ret, err);
        if (code != 0)
            error_prefix(err, "%s", path);
    }
    return code;
}

int auth_load_authz(struct apiserver *s, struct error *err)
{
    const struct apiserver_config *c = &s->config;
    AUTO_BUF text = BUF_INIT;
    struct authz_list *list;
    int code;
    if (c->authorization_config != NULL) {
        code = read_authz(c->authorization_config, &text, &list, err);
        if (code != 0)
            error_prefix(err, "--authorization-config");
    } else {
        code = authz_list_of_flags(
            &(struct authz_flags){.modes = c->authorization_mode,
                                  .webhook_file = c->authorization_webhook_config_file,
                                  .webhook_version = c->authorization_webhook_version,
                                  .allowed_ttl_ns = c->authorization_webhook_authorized_ttl_ns,
                                  .refused_ttl_ns = c->authorization_webhook_unauthorized_ttl_ns},
            &list, err);
    }
    if (code == 0)
        s->authz = authz_new(list);
    return code;
}

int auth_load_encryption(const struct apiserver_config *c, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    struct encryption *e;
    if (c->encryption_config == NULL)
        return 0;
    int code = file_read(c->encryption_config, CONFIG_BYTES_MAX, &text, err);
    if (code == 0)
        code = encryption_parse(buf_str(&text), &e, err);
    if (code != 0)
        return error_prefix(err, "--encryption-provider-config: %s", c->encryption_config);
    encryption_start(e);
    encryption_use(e);
    return 0;
}

/* --- following ---------------------------------------------------------------------------------
 */
static void free_if_idle(struct auth_reload *r)
{
    if (r->closed && !r->working)
        free(r);
}

static void look(struct auth_reload *r, size_t which)
{
    struct followed *f = &r->files[which];
    AUTO_BUF text = BUF_INIT;
    uint8_t hash[32];
    f->changed = false;
    if (f->path == NULL || file_read(f->path, CONFIG_BYTES_MAX, &text, NULL) != 0)
        return; /* A file that is being replaced is not there for a moment. */
    net_sha256(text.data, text.len, hash);
    if (f->read && memcmp(hash, f->hash, sizeof(hash)) == 0)
        return;
    memcpy(f->hash, hash, sizeof(hash));
    f->changed = f->read;
    if (!f->read) { /* What the server has started with. */
        f->read = true;
        return;
    }
    error_clear(&f->err);
    f->made = NULL;
    if (which == AUTHZ_FILE) {
        struct authz_list *list = NULL;
        f->code = authz_list_parse(buf_str(&text), &list, &f->err);
        f->made = list;
    } else if (which == ENCRYPTION_FILE) {
        struct encryption *e = NULL;
        f->code = encryption_parse(buf_str(&text), &e, &f->err);
        if (f->code == 0)
            encryption_start(e);
        f->made = e;
    } else {
        struct jwt_set *set = NULL;
        f->code = authn_parse_config(r->server->authn, buf_str(&text), &set, &f->err);
        f->made = set;
    }
}

static void work(uv_work_t *w)
{
    struct auth_reload *r = CONTAINER_OF(w, struct auth_reload, work);
    for (size_t i = 0; i < FILE_COUNT; i++)
        look(r, i);
}

static void count(const struct followed *f)
{
    static const char *const labels[] = {"status", NULL};
    const char *status = f->code == 0 ? "success" : "failure";
    metric_inc(METRIC_OF(metric_counter(metrics_default(), f->counter,
                                        "Reloads of the file, by their outcome.", labels),
                         str_of(status)));
    metric_set(METRIC_OF(metric_gauge(metrics_default(), f->stamp,
                                      "When the file was read last, by the outcome.", labels),
                         str_of(status)),
               (double)time(NULL));
}

static void done(uv_work_t *w, int status)
{
    struct auth_reload *r = CONTAINER_OF(w, struct auth_reload, work);
    r->working = false;
    for (size_t i = 0; i < FILE_COUNT && status == 0; i++) {
        struct followed *f = &r->files[i];
        if (!f->changed)
            continue;
        count(f);
        if (f->code != 0) {
            log_error("%s: %s: %s; what was read before stays", f->flag, f->path,
                      error_message(&f->err));
            continue;
        }
        log_info("%s: %s is read anew", f->flag, f->path);
        if (i == AUTHZ_FILE)
            authz_replace(r->server->authz, f->made);
        else if (i == ENCRYPTION_FILE)
            encryption_use(f->made);
        else
            authn_replace(r->server->authn, f->made);
    }
    free_if_idle(r);
}

static void tick(uv_timer_t *timer)
{
    struct auth_reload *r = CONTAINER_OF(timer, struct auth_reload, timer);
    if (!r->working)
        r->working = uv_queue_work(timer->loop, &r->work, work, done) == 0;
}

struct auth_reload *auth_reload_start(struct apiserver *s, struct uv_loop_s *loop)
{
    const char *encryption = s->config.encryption_reload ? s->config.encryption_config : NULL;
    if (s->config.authorization_config == NULL && s->config.authentication_config == NULL &&
        encryption == NULL)
        return NULL;
    struct auth_reload *r = xzalloc(sizeof(*r));
    r->server = s;
    r->files[AUTHZ_FILE] = (struct followed){
        .flag = "--authorization-config",
        .path = s->config.authorization_config,
        .counter = "apiserver_authorization_config_controller_automatic_reloads_total",
        .stamp =
            "apiserver_authorization_config_controller_automatic_reload_last_timestamp_seconds"};
    r->files[AUTHN_FILE] = (struct followed){
        .flag = "--authentication-config",
        .path = s->config.authentication_config,
        .counter = "apiserver_authentication_config_controller_automatic_reloads_total",
        .stamp =
            "apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds"};
    r->files[ENCRYPTION_FILE] = (struct followed){
        .flag = "--encryption-provider-config",
        .path = encryption,
        .counter = "apiserver_encryption_config_controller_automatic_reloads_total",
        .stamp = "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds"};
    uv_timer_init(loop, &r->timer);
    uv_timer_start(&r->timer, tick, 0, PERIOD_MS);
    return r;
}

static void on_closed(uv_handle_t *h)
{
    struct auth_reload *r = CONTAINER_OF((uv_timer_t *)h, struct auth_reload, timer);
    r->closed = true;
    free_if_idle(r);
}

void auth_reload_stop(struct auth_reload *r)
{
    if (r == NULL || r->stopped)
        return;
    r->stopped = true;
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
