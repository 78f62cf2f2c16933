/* local_volumes.c - see local_volumes.h. */
#include "kubelet/local_volumes.h"

#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/server.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/api/json.h"
#include "lib/net/http_server.h"

#include <errno.h>
#include <sys/stat.h>

#define NAME_MAX_LEN 253

bool local_volume_name_ok(struct str name)
{
    if (name.len == 0 || name.len > NAME_MAX_LEN || name.data[0] == '.')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'))
            return false;
    }
    return true;
}

int local_volume_make(const char *dir, const char *name, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    int rc = file_mkdir_p(dir, 0755, err);
    if (rc != 0)
        return rc;
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return error_set_errno(err, E_IO, errno, "mkdir %s", path);
    /* Open to all, as an emptyDir is: which user the pod runs as is not known here. */
    if (chmod(path, 0777) != 0)
        return error_set_errno(err, E_IO, errno, "chmod %s", path);
    return file_sync_dir(dir, err);
}

int local_volume_remove(const char *dir, const char *name, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    if (!file_exists(path))
        return 0;
    int rc = file_remove_tree(path, err);
    return rc == 0 ? file_sync_dir(dir, err) : rc;
}

/* --- requests -------------------------------------------------------------------------------- */

struct local_job {
    struct http_request *request;
    const char *dir, *name; /* In the request's arena. */
    bool make;
    int code;
    struct error err;
};

static void run(void *arg)
{
    struct local_job *j = arg;
    j->code = j->make ? local_volume_make(j->dir, j->name, &j->err)
                      : local_volume_remove(j->dir, j->name, &j->err);
}

static void done(void *arg)
{
    struct local_job *j = arg;
    struct http_request *r = j->request;
    if (j->code != 0) {
        server_text(r, 500, "%s", error_message(&j->err));
        return;
    }
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "{\"path\":");
    json_write_string(arena_printf(r->arena, "%s/%s", j->dir, j->name), &b);
    buf_puts(&b, "}");
    http_response_header(r, "content-type", "application/json");
    http_respond(r, 200, arena_str(r->arena, buf_str(&b)));
}

static bool in_use(const struct kubelet *k, const char *path)
{
    size_t pos = 0;
    void *w;
    while (map_next(&k->workers, &pos, NULL, &w))
        if (pod_worker_mounts(w, path))
            return true;
    return false;
}

void server_local_volumes(struct kubelet *k, struct http_request *r, const struct str *segments,
                          size_t count)
{
    bool make = str_eqc(r->method, "POST");
    if (!make && !str_eqc(r->method, "DELETE")) {
        server_text(r, 405, "405: Method Not Allowed");
        return;
    }
    if (count != 1 || !local_volume_name_ok(segments[0])) {
        server_text(r, 400, "want /localVolumes/NAME, the name of a persistent volume");
        return;
    }
    struct local_job *j = ARENA_NEW(r->arena, struct local_job);
    *j = (struct local_job){.request = r,
                            .dir = k->config.local_path_dir,
                            .name = str_c(arena_str(r->arena, segments[0])),
                            .make = make};
    if (!make && in_use(k, str_c(arena_printf(r->arena, "%s/%s", j->dir, j->name)))) {
        server_text(r, 409, "a pod on this node still uses the volume");
        return;
    }
    job_start(k->loop, run, done, j);
}
