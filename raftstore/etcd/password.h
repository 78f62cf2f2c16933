/* password.h - bcrypt, off the loops: one hash takes tens of milliseconds.
 *
 * Threads start with the first password. Answers come through the mailbox given
 * with the request, on its loop, never inside the call. Passwords are wiped from
 * memory once they were used. */
#ifndef RAFTSTORE_ETCD_PASSWORD_H
#define RAFTSTORE_ETCD_PASSWORD_H

#include "lib/base/str.h"

struct mailbox;
struct passwords;

#define PASSWORD_COST 10      /* As etcd's default. */
#define PASSWORD_COST_MAX 18  /* A hash that costs more is never right: it takes minutes. */
#define PASSWORD_BYTES_MAX 72 /* What bcrypt looks at; more is refused when hashing, as in Go. */
#define PASSWORD_THREADS_MAX 4
#define PASSWORD_QUEUE_MAX 1024 /* Requests waiting; E_TOO_MANY beyond. */

/* cost: of the hashes made; 0: PASSWORD_COST. 4 to PASSWORD_COST_MAX. */
struct passwords *passwords_new(unsigned cost);
/* No request may be under way. NULL is a no-op. */
void passwords_free(struct passwords *p);

/* hash: of hashing; empty for checking. Borrowed for the call. */
typedef void password_cb(bool right, struct str hash, void *arg);
/* 0, E_TOO_MANY, E_INVALID (longer than PASSWORD_BYTES_MAX, or with a NUL inside). */
int password_hash(struct passwords *p, struct str password, struct mailbox *mb, password_cb *cb,
                  void *arg);
/* hash: empty where there is no such user; then the answer is "wrong", after as
 * long as a true check takes. 0, E_TOO_MANY. */
int password_check(struct passwords *p, struct str password, struct str hash, struct mailbox *mb,
                   password_cb *cb, void *arg);

#endif
