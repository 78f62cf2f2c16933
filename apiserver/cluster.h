/* cluster.h - /trireme/v1: the members of the store, for `trireme join` and
 * `trireme member`. JSON; administrators, and for joining the holders of a
 * control-plane token.
 *
 *   GET    /trireme/v1/members              who is in
 *   POST   /trireme/v1/members              {"name","address"}: takes one in
 *   DELETE /trireme/v1/members/NAME         takes one out (name or id)
 *   POST   /trireme/v1/members/NAME/lead    hands leadership to it */
#ifndef APISERVER_CLUSTER_H
#define APISERVER_CLUSTER_H

#include "lib/base/base.h"

struct authz_attributes;
struct req;

/* False: not our path. Else the request is answered, now or later. */
bool cluster_serve(struct req *r);
/* May a joining control plane do this? */
bool cluster_join_allows(const struct authz_attributes *at);

#endif
