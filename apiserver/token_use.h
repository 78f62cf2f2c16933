/* token_use.h - notes on a Secret when the token in it was used last: the label
 * kubernetes.io/legacy-token-last-used, a day.
 *
 * One per server thread; loop-confined. A note that fails is made at the next use. */
#ifndef APISERVER_TOKEN_USE_H
#define APISERVER_TOKEN_USE_H

#include "lib/base/str.h"

struct server_thread;
struct token_uses;

#define TOKEN_LAST_USED "kubernetes.io/legacy-token-last-used"
#define TOKEN_INVALID_SINCE "kubernetes.io/legacy-token-invalid-since"

/* Is this day no note of a use now? Any that is of today or tomorrow (another server's clock) is
 * one. */
bool token_use_is_old(struct str day, int64_t now_s);

struct token_uses *token_uses_new(struct server_thread *t);
/* NULL is a no-op: the thread ends. */
void token_uses_note(struct token_uses *u, struct str ns, struct str secret);
/* on_closed runs on the loop once nothing is under way any more. */
void token_uses_close(struct token_uses *u, void (*on_closed)(void *arg), void *arg);

#endif
