/* local_volumes.h - folders of this node that are volumes: made and removed
 * when the local-path provisioner asks, through the kubelet's own API.
 *
 *   POST   /localVolumes/NAME -> {"path": "<--local-path-dir>/NAME"}
 *   DELETE /localVolumes/NAME    409 while a pod here uses it
 *
 * Both may be repeated. NAME is that of the persistent volume. */
#ifndef KUBELET_LOCAL_VOLUMES_H
#define KUBELET_LOCAL_VOLUMES_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct http_request;
struct kubelet;

/* Answers the request. segments: of the path behind the first one. */
void server_local_volumes(struct kubelet *k, struct http_request *r, const struct str *segments,
                          size_t count);

/* Whether name may be a folder's: one path element as volumes are named. */
bool local_volume_name_ok(struct str name);
/* Blocking. The folder is on disk when it returns 0. */
int local_volume_make(const char *dir, const char *name, struct error *err);
int local_volume_remove(const char *dir, const char *name, struct error *err);

#endif
