/* watch.h - each server thread's hub between the store's event log and its
 * watchers. Loop-confined. */
#ifndef APISERVER_WATCH_H
#define APISERVER_WATCH_H

struct error;
struct server_thread;
struct watch_hub;

/* Follows the log from its present end. */
int watch_hub_new(struct server_thread *t, struct watch_hub **ret, struct error *err);
/* Ends all watches in an orderly way; new ones are refused. */
void watch_hub_stop(struct watch_hub *h);
/* All watchers are gone; on_closed comes when the loop let go of the timer. */
void watch_hub_close(struct watch_hub *h, void (*on_closed)(void *arg), void *arg);

/* Custom kinds may be served differently now. */
void watch_hub_customs_changed(struct watch_hub *h);

#endif
