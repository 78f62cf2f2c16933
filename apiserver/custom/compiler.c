/* compiler.c - see compiler.h. */
#include "apiserver/custom/compiler.h"

#include "api/apiextensions_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom/definition.h"
#include "apiserver/encode.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "raftstore/worker.h"

#include <stdlib.h>

struct job {
    struct work work;
    struct compiler_source source;  /* Its own copies, and a reference. */
    bool done, unwanted;            /* Under the lock. */
    struct custom_definition *made; /* NULL: nothing is to be served. */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map jobs; /* By name, of the newest version asked for; under the lock. */
static struct apiserver *server;
static unsigned finished;

/* --- making ------------------------------------------------------------------------------ */
/* Built-in kinds are not replaced. */
void custom_definition_make(const struct compiler_source *s, struct custom_definition **ret)
{
    struct arena *a = arena_new(0);
    struct error err = {0};
    void *msg;
    const struct resource *res =
        registry_storage(STR("apiextensions.k8s.io"), STR("customresourcedefinitions"));
    *ret = NULL;
    int code = stored_decode(a, res, arena_str(a, s->value), s->mod_rev, &msg, &err);
    const struct apiextensions_v1_custom_resource_definition *o = msg;
    if (code == 0 && (!custom_condition(o, "Established") || registry_owns_group(o->spec.group))) {
        arena_free(a);
        return;
    }
    if (code == 0 && s->before != NULL && custom_definition_same(s->before, o)) {
        *ret = custom_definition_ref(s->before);
        atomic_store(&(*ret)->deleting, o->metadata.deletion_timestamp != NULL);
        arena_free(a);
        return;
    }
    if (code == 0)
        code = custom_definition_new(a, o, s->mod_rev, s->index, ret, &err);
    else
        arena_free(a);
    if (code != 0)
        log_warning("custom resource definition " STR_FMT " is not served: %s", STR_ARG(s->name),
                    error_message(&err));
}

/* --- jobs --------------------------------------------------------------------------------- */
static struct str copy(struct str s)
{
    char *p = xzalloc(s.len + 1);
    memcpy(p, s.data, s.len);
    return str_n(p, s.len);
}

static void job_free(struct job *j)
{
    custom_definition_unref((void *)(uintptr_t)j->source.before);
    custom_definition_unref(j->made);
    free((void *)(uintptr_t)j->source.name.data);
    free((void *)(uintptr_t)j->source.value.data);
    free(j);
}

static void tell(void)
{
    for (unsigned i = 0; i < server->thread_count; i++) {
        struct server_thread *t = &server->threads[i];
        if (!atomic_exchange(&t->customs_told, true))
            mailbox_post(&t->mailbox, &t->customs_mail);
    }
}

/* [worker] */
static void run(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    struct custom_definition *made;
    custom_definition_make(&j->source, &made);
    pthread_mutex_lock(&lock);
    bool unwanted = j->unwanted;
    j->made = made;
    j->done = true;
    finished++;
    pthread_mutex_unlock(&lock);
    if (unwanted)
        job_free(j);
    else
        tell();
}

static struct job *job_new(const struct compiler_source *s)
{
    struct job *j = xzalloc(sizeof(*j));
    j->work.run = run;
    j->source = *s;
    j->source.name = copy(s->name);
    j->source.value = copy(s->value);
    j->source.before = s->before != NULL ? custom_definition_ref(s->before) : NULL;
    return j;
}

bool custom_compiler_take(const struct compiler_source *s, struct custom_definition **ret)
{
    pthread_mutex_lock(&lock);
    if (server == NULL) {
        pthread_mutex_unlock(&lock);
        custom_definition_make(s, ret);
        return true;
    }
    struct job *j = map_get(&jobs, s->name), *old = NULL;
    bool good = j != NULL && j->source.mod_rev == s->mod_rev;
    bool ready = good && j->done;
    if (ready) {
        map_remove(&jobs, s->name);
        *ret = j->made;
        j->made = NULL;
        old = j;
    } else if (!good) {
        /* One that is under way for an older version is of no use any more. */
        if (j != NULL && j->done)
            old = j;
        else if (j != NULL)
            j->unwanted = true;
        j = job_new(s);
        map_set(&jobs, s->name, j);
        worker_post(&server->worker, &j->work);
    }
    pthread_mutex_unlock(&lock);
    if (old != NULL)
        job_free(old);
    return ready;
}

unsigned custom_compiler_finished(void)
{
    pthread_mutex_lock(&lock);
    unsigned n = finished;
    pthread_mutex_unlock(&lock);
    return n;
}

void custom_compiler_start(struct apiserver *s)
{
    pthread_mutex_lock(&lock);
    map_init(&jobs);
    server = s;
    pthread_mutex_unlock(&lock);
}

void custom_compiler_stop(void)
{
    size_t pos = 0;
    void *j;
    pthread_mutex_lock(&lock);
    while (server != NULL && map_next(&jobs, &pos, NULL, &j))
        job_free(j);
    if (server != NULL)
        map_done(&jobs);
    server = NULL;
    pthread_mutex_unlock(&lock);
}
