/* webhook.h - admission by programs elsewhere: ValidatingWebhookConfiguration and
 * MutatingWebhookConfiguration.
 *
 * A write is attempted on an immutable view and never waits inside. When a
 * webhook has to be asked, the attempt ends with webhook_wait in place of a
 * refusal; the driver carries the calls out and attempts again, and what was
 * answered is found in the state that the write keeps:
 *
 *   attempt --webhook_wait--> calls --answers--> attempt, which goes on behind
 *   them with the object as the mutating ones left it
 *
 * The answers count as long as the object that is written over is the same. */
#ifndef APISERVER_ADMISSION_WEBHOOK_H
#define APISERVER_ADMISSION_WEBHOOK_H

#include "apiserver/admission.h"

struct server_thread;
struct webhook_state;

/* Not a refusal: see above. Compared by address. */
extern struct meta_v1_status webhook_wait;

struct webhook_state *webhook_state_new(struct arena *a);
/* Starts what the attempt asked for. resume(arg) comes later, once. */
void webhook_start(struct webhook_state *s, struct server_thread *t, void (*resume)(void *arg),
                   void *arg);

#endif
