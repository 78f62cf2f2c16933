/* scraper.h - asks every node's agent for /metrics/resource, again and again, and puts what it says
 * on the server's board.
 *
 * Of several API servers the one whose store leads does it, so that each node is asked once and
 * nothing is written; the others pass requests on to it (leader.h). It rests while an APIService
 * gives metrics.k8s.io to another server, and where there is no client certificate for node agents.
 *
 *   each second: who leads? -> Nodes of the view -> those that are due: GET -> board
 *
 * On the first thread of a server. Nodes' turns are spread over the period. One that cannot be
 * asked is asked again after growing pauses, and what it said is not shown for longer than
 * FIGURES_GOOD_MS. */
#ifndef APISERVER_FIGURES_SCRAPER_H
#define APISERVER_FIGURES_SCRAPER_H

#include "lib/base/base.h"

struct server_thread;
struct figure_scraper;

#define FIGURES_GOOD_MS 60000u

/* After the thread's kubelet_pool_new(). NULL when there is nothing to do, ever. */
struct figure_scraper *figure_scraper_new(struct server_thread *t);
/* Before the pool closes; its calls end with the pool. on_closed runs on the loop. NULL is a no-op
 * but for on_closed, which then runs at once. */
void figure_scraper_close(struct figure_scraper *s, void (*on_closed)(void *arg), void *arg);

#endif
