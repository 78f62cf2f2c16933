/* issuer.h - the server as an issuer of tokens: its discovery document and its
 * keys, for those who verify service account tokens elsewhere. */
#ifndef APISERVER_ISSUER_H
#define APISERVER_ISSUER_H

#include "lib/base/base.h"

struct req;

/* False: the path is another. */
bool issuer_serve(struct req *r);

#endif
