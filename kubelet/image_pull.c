/* image_pull.c - see image_pull.h. */
#include "kubelet/image_pull.h"

#include "kubelet/credential_provider.h"
#include "kubelet/cri.h"
#include "kubelet/image_records.h"
#include "kubelet/kubelet.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"

struct image_pull {
    struct list link; /* In kubelet.pulls_waiting, or alone. */
    struct deferred later;
    struct kubelet *k;
    struct image_pull_config config;
    size_t next; /* Of the credentials. */
    struct cri_call *call;
    struct credential_question *question; /* NULL unless providers are being asked. */
    bool has_turn, canceled;
    bool begun; /* In the records. */
    uint64_t start_ns;
    struct image_pull_result result;
};

static void run(struct deferred *d);

static void start_waiting(struct kubelet *k)
{
    LIST_FOREACH_SAFE (it, &k->pulls_waiting) {
        struct image_pull *p = LIST_ENTRY(it, struct image_pull, link);
        if (k->config.max_pulls > 0 && k->pulls_running >= k->config.max_pulls)
            return;
        list_remove(&p->link);
        list_init(&p->link);
        p->has_turn = true;
        k->pulls_running++;
        deferred_post(&k->deferred, &p->later);
    }
}

static void end(struct image_pull *p, int code, const char *message)
{
    struct kubelet *k = p->k;
    if (p->begun)
        image_records_failed(k->image_records, p->config.image);
    list_remove(&p->link);
    if (p->has_turn)
        k->pulls_running--;
    p->result.code = code;
    p->result.message = message;
    p->result.took_ns = p->start_ns != 0 ? uv_hrtime() - p->start_ns : 0;
    p->config.done(&p->result, p->config.arg);
    free(p);
    start_waiting(k);
}

static void try_next(struct image_pull *p);

/* A record that cannot be written costs another pull once the agent is started again. */
static void on_recorded(const struct error *err, void *arg)
{
    struct image_pull *p = arg;
    UNUSED(err);
    end(p, p->canceled ? E_CANCELED : 0, "");
}

static void on_pulled(const struct cri_reply *reply, void *arg)
{
    struct image_pull *p = arg;
    p->call = NULL;
    if (reply->code == 0) {
        const CRI(PullImageResponse) *r = reply->msg;
        p->result.image_ref = arena_strdup(p->config.arena, r->image_ref);
        p->begun = false;
        image_records_pulled(p->k->image_records, p->config.image, p->result.image_ref,
                             p->config.auths.count > 0 ? &p->config.auths.items[p->next - 1] : NULL,
                             kubelet_wall_s(p->k), on_recorded, p);
        return;
    }
    if (reply->code != E_CANCELED && !p->canceled && p->next < p->config.auths.count) {
        try_next(p);
        return;
    }
    end(p, p->canceled ? E_CANCELED : reply->code, arena_strdup(p->config.arena, reply->message));
}

static CRI(AuthConfig) * auth_config(struct arena *a, const struct pull_auth *auth)
{
    CRI(AuthConfig) *c = CRI_NEW(a, AuthConfig, auth_config);
    c->username = arena_strdup(a, auth->username);
    c->password = arena_strdup(a, auth->password);
    c->auth = arena_strdup(a, auth->auth);
    c->identity_token = arena_strdup(a, auth->identity_token);
    c->registry_token = arena_strdup(a, auth->registry_token);
    /* No server_address: containerd takes it for a URL and stumbles over "host:port". */
    return c;
}

static void try_next(struct image_pull *p)
{
    struct arena *a = p->config.arena;
    CRI(PullImageRequest) *r = CRI_NEW(a, PullImageRequest, pull_image_request);
    r->image = CRI_NEW(a, ImageSpec, image_spec);
    r->image->image = (char *)(uintptr_t)str_c(arena_str(a, p->config.image));
    if (p->next < p->config.auths.count)
        r->auth = auth_config(a, &p->config.auths.items[p->next++]);
    r->sandbox_config = p->config.sandbox_config;
    p->call = cri_call(p->k->cri, CRI_PULL_IMAGE, r, 0, on_pulled, p);
}

static void on_begun(const struct error *err, void *arg)
{
    struct image_pull *p = arg;
    if (p->canceled)
        end(p, E_CANCELED, "pull canceled");
    else if (err->code != 0)
        end(p, err->code,
            str_c(arena_printf(p->config.arena, "failed to record image pull intent: %s",
                               error_message(err))));
    else
        try_next(p);
}

static void on_credentials(void *arg)
{
    struct image_pull *p = arg;
    p->question = NULL;
    p->begun = true;
    image_records_begin(p->k->image_records, p->config.image, on_begun, p);
}

static void run(struct deferred *d)
{
    struct image_pull *p = CONTAINER_OF(d, struct image_pull, later);
    if (p->canceled) {
        end(p, E_CANCELED, "pull canceled");
        return;
    }
    p->start_ns = uv_hrtime();
    p->question = credential_providers_ask(p->k->credential_providers, p->config.arena,
                                           p->config.image, &p->config.auths, on_credentials, p);
    if (p->question == NULL)
        on_credentials(p);
}

struct image_pull *image_pull_start(struct kubelet *k, const struct image_pull_config *config)
{
    struct image_pull *p = xzalloc(sizeof(*p));
    p->k = k;
    p->config = *config;
    p->result.message = "";
    deferred_init(&p->later, run);
    list_push_back(&k->pulls_waiting, &p->link);
    start_waiting(k);
    return p;
}

void image_pull_cancel(struct image_pull *p)
{
    p->canceled = true;
    if (p->call != NULL) {
        cri_call_cancel(take(p->call));
        return;
    }
    if (p->question != NULL)
        credential_question_cancel(take(p->question));
    else if (p->start_ns != 0)
        return; /* A record is being written. */
    deferred_post(&p->k->deferred, &p->later);
}
