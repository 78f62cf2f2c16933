/* password.c - see password.h. libcrypt does the hashing. Hashes carry the
 * letter that etcd's carry ("$2a$"); it means the same algorithm as libcrypt's
 * "$2b$" without the guard against an old mistake of others. */
#include "raftstore/etcd/password.h"

#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/mailbox.h"
#include "lib/net/pki.h"
#include "raftstore/worker.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define HASH_LEN 60 /* "$2a$10$", 22 of salt, 31 of hash */

struct passwords {
    unsigned cost; /* Constant. */
    struct worker workers[PASSWORD_THREADS_MAX];
    unsigned count;
    pthread_mutex_t lock; /* Starting, and next. */
    bool started;
    unsigned next;
    atomic_uint queued;
};

struct request {
    struct work work;
    struct mail mail;
    struct passwords *owner;
    struct mailbox *mailbox;
    password_cb *cb;
    void *arg;
    bool check;
    bool known;
    bool right;
    char hash[HASH_LEN + 1];
    size_t password_len;
    char password[]; /* NUL behind it. */
};

struct passwords *passwords_new(unsigned cost)
{
    struct passwords *p = xzalloc(sizeof(*p));
    p->cost = cost != 0 ? cost : PASSWORD_COST;
    pthread_mutex_init(&p->lock, NULL);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    p->count = n < 1 ? 1 : n > PASSWORD_THREADS_MAX ? PASSWORD_THREADS_MAX : (unsigned)n;
    return p;
}

void passwords_free(struct passwords *p)
{
    if (p == NULL)
        return;
    for (unsigned i = 0; i < p->count; i++)
        worker_stop(&p->workers[i]);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* crypt_r() of "$2b$" for "$2a$" and "$2b$"; empty if the hash is none. */
static void bcrypt(const char *password, const char *setting, char ret[HASH_LEN + 1])
{
    struct crypt_data *data = xzalloc(sizeof(*data));
    char as[HASH_LEN + 1];
    snprintf(as, sizeof(as), "%s", setting);
    if (as[2] == 'a')
        as[2] = 'b';
    const char *made = crypt_r(password, as, data);
    ret[0] = '\0';
    if (made != NULL && made[0] == '$' && strlen(made) == HASH_LEN) {
        memcpy(ret, made, HASH_LEN + 1);
        ret[2] = setting[2];
    }
    OPENSSL_cleanse(data, sizeof(*data));
    free(data);
}

static void make_hash(const char *password, unsigned cost, char ret[HASH_LEN + 1])
{
    char random[16], setting[CRYPT_GENSALT_OUTPUT_SIZE];
    env_system_random(random, sizeof(random));
    char *made = crypt_gensalt_rn("$2b$", cost, random, sizeof(random), setting, sizeof(setting));
    ASSERT(made != NULL);
    setting[2] = 'a';
    bcrypt(password, setting, ret);
}

/* "$2?$NN$" and a cost that ends in our time. */
static bool is_bcrypt(struct str hash)
{
    if (hash.len != HASH_LEN || memcmp(hash.data, "$2", 2) != 0 || hash.data[3] != '$' ||
        strchr("aby", hash.data[2]) == NULL || hash.data[6] != '$')
        return false;
    int cost = (hash.data[4] - '0') * 10 + (hash.data[5] - '0');
    return cost >= 4 && cost <= PASSWORD_COST_MAX;
}

static void answer(struct mail *m)
{
    struct request *q = CONTAINER_OF(m, struct request, mail);
    atomic_fetch_sub_explicit(&q->owner->queued, 1, memory_order_relaxed);
    q->cb(q->right, q->check ? STR_NULL : str_of(q->hash), q->arg);
    free(q);
}

static void run(struct work *w)
{
    struct request *q = CONTAINER_OF(w, struct request, work);
    if (q->check) {
        char made[HASH_LEN + 1];
        bcrypt(q->password, q->hash, made);
        q->right = q->known && made[0] != '\0' && net_secret_eq(str_of(made), str_of(q->hash)) &&
                   strlen(q->password) == q->password_len;
    } else {
        make_hash(q->password, q->owner->cost, q->hash);
        q->right = true;
    }
    OPENSSL_cleanse(q->password, q->password_len);
    mailbox_post(q->mailbox, &q->mail);
}

/* Starts what is not started yet; the next worker in turn. */
static struct worker *next_worker(struct passwords *p)
{
    unsigned count = p->count;
    ASSERT(count > 0);
    pthread_mutex_lock(&p->lock);
    if (!p->started) {
        for (unsigned i = 0; i < count; i++)
            worker_start(&p->workers[i], "passwords", NULL, NULL);
        p->started = true;
    }
    struct worker *w = &p->workers[p->next++ % count];
    pthread_mutex_unlock(&p->lock);
    return w;
}

static int submit(struct passwords *p, struct request *q, struct mailbox *mb, password_cb *cb,
                  void *arg)
{
    if (atomic_fetch_add_explicit(&p->queued, 1, memory_order_relaxed) >= PASSWORD_QUEUE_MAX) {
        atomic_fetch_sub_explicit(&p->queued, 1, memory_order_relaxed);
        OPENSSL_cleanse(q->password, q->password_len);
        free(q);
        return E_TOO_MANY;
    }
    q->owner = p;
    q->mailbox = mb;
    q->cb = cb;
    q->arg = arg;
    q->work.run = run;
    q->mail.run = answer;
    worker_post(next_worker(p), &q->work);
    return 0;
}

static struct request *request_new(struct str password)
{
    struct request *q = xzalloc(sizeof(*q) + password.len + 1);
    if (password.len > 0)
        memcpy(q->password, password.data, password.len);
    q->password_len = password.len;
    return q;
}

int password_hash(struct passwords *p, struct str password, struct mailbox *mb, password_cb *cb,
                  void *arg)
{
    if (password.len > PASSWORD_BYTES_MAX || str_find(password, '\0', 0) >= 0)
        return E_INVALID;
    return submit(p, request_new(password), mb, cb, arg);
}

int password_check(struct passwords *p, struct str password, struct str hash, struct mailbox *mb,
                   password_cb *cb, void *arg)
{
    /* Of no password that anybody knows, at the usual cost. */
    static const char nobody[] = "$2a$10$K8rUeWn7bX1cVJ0jQvYtDuN3mQfGZ5sTqkP4hLwE2yRxAoC6iB9Hm";
    static_assert(sizeof(nobody) == HASH_LEN + 1, "a hash is that long");
    /* bcrypt looks at no more; and a request must not copy what somebody made large. */
    struct request *q = request_new(str_sub(password, 0, PASSWORD_BYTES_MAX));
    q->check = true;
    q->known = is_bcrypt(hash);
    memcpy(q->hash, q->known ? hash.data : nobody, HASH_LEN);
    if (!q->known) {
        q->hash[4] = (char)('0' + p->cost / 10);
        q->hash[5] = (char)('0' + p->cost % 10);
    }
    return submit(p, q, mb, cb, arg);
}
