/* write_work.h - validation that takes long, done by the server's worker thread.
 *
 * The attempt of a write never waits: it leaves what is to be judged here and
 * ends; the driver has it judged and attempts again, and the verdict counts if
 * the object is still the same.
 *
 *   attempt: write_work_validate() --wanted--> write_work_start() --> attempt */
#ifndef APISERVER_WRITE_WORK_H
#define APISERVER_WRITE_WORK_H

#include "apiserver/field_error.h"
#include "lib/base/mailbox.h"
#include "raftstore/worker.h"

struct api_msg;
struct kind_ctx;
struct server_thread;

/* Pure: looks at nothing but its arguments, and allocates from errs' arena. */
typedef void write_work_judge(const void *obj, const void *old, struct field_errors *errs);

struct write_work {
    struct work work;
    struct mail mail;
    struct server_thread *thread;
    bool wanted, done;
    write_work_judge *judge;
    const struct api_msg *msg;
    const void *obj, *old; /* Of the attempt that asked: they stay as they are. */
    struct field_errors errs;
    void (*resume)(void *arg);
    void *arg;
};

/* Adds the faults of obj, or asks for them (wanted). Without ctx->work: at once. */
void write_work_validate(const struct kind_ctx *ctx, const struct api_msg *msg, const void *obj,
                         const void *old, write_work_judge *judge, struct field_errors *errs);
/* resume(arg) comes later. a: what the verdict lives in, kept by the caller. */
void write_work_start(struct write_work *w, struct server_thread *t, struct arena *a,
                      void (*resume)(void *arg), void *arg);

#endif
