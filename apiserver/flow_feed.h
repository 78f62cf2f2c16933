/* flow_feed.h - keeps flow control as the store's objects have it, and moves
 * seats between levels every few seconds.
 *
 *   store events -> (the loop's thread) -> flow_control_load() -> conditions */
#ifndef APISERVER_FLOW_FEED_H
#define APISERVER_FLOW_FEED_H

struct apiserver;
struct error;
struct flow_feed;
struct mailbox;
struct uv_loop_s;

/* Reads what is there, then follows. changed runs on the loop after a change. Without flow
 * control *ret is NULL. */
int flow_feed_start(struct apiserver *s, struct uv_loop_s *loop, struct mailbox *mb,
                    void (*changed)(void *arg), void *arg, struct flow_feed **ret,
                    struct error *err);
/* Same thread, before mb closes; frees. NULL is a no-op. */
void flow_feed_stop(struct flow_feed *f);

#endif
