/* discovery.h - the documents that say what is served: made when they are asked
 * for, and kept for as long as nothing of it changes. */
#ifndef APISERVER_DISCOVERY_H
#define APISERVER_DISCOVERY_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct req;

void discovery_init(const char *server_address); /* Once, before threads. "host:port" */
/* /api, /apis and below; false when the path is none of them. */
bool discovery_serve(struct req *r);
/* /openapi/...; false likewise. */
bool openapi_serve(struct req *r);
void openapi_init(void);
/* /healthz, /livez, /readyz and their single checks. */
bool health_serve(struct req *r);
/* Prepared JSON in the form asked for (YAML, pretty). Answers r. */
void discovery_answer(struct req *r, const char *content_type, struct str json);

#endif
