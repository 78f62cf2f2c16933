/* leader.h - requests for figures, passed on to the server whose scraper has them.
 *
 * Servers find each other by their identity Leases (identity.h), whose annotations name the member
 * of the store and the address. The user goes along as to an aggregated server: in X-Remote-*
 * fields, which are believed because of the front proxy's certificate. */
#ifndef APISERVER_FIGURES_LEADER_H
#define APISERVER_FIGURES_LEADER_H

#include "lib/base/base.h"

struct figure_leader;
struct req;
struct server_thread;

/* True: the figures are here, or nowhere. False: the request was passed on or answered. */
bool figure_leader_is_here(struct req *r);

/* Of a thread, made when it is needed. NULL is a no-op. */
void figure_leader_close(struct figure_leader *l);

#endif
