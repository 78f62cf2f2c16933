/* server_metrics.h - request counts, latencies and watchers under upstream's
 * names. */
#ifndef APISERVER_SERVER_METRICS_H
#define APISERVER_SERVER_METRICS_H

struct metric;
struct req;

void server_metrics_init(void); /* Once, before threads. */
void server_metrics_begin(struct req *r);
void server_metrics_request(struct req *r, int http_status); /* Ends what begin started. */
/* Of an API that will go; when: "..., unavailable in v1.37+...", if that is known. */
void server_metrics_deprecated(struct req *r, const char *when);
/* Refused with 429 before it began, or ended with 504. */
void server_metrics_terminated(struct req *r, int http_status);
/* One that was ended with 504 has come to its own end. */
void server_metrics_post_timeout(struct req *r, int http_status);
void server_metrics_watchers(struct req *r, int delta);
/* The gauge of connections like this one: theirs to add to and take from. */
struct metric *server_metrics_connection(struct req *r);

#endif
