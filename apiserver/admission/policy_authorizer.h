/* policy_authorizer.h - the variable authorizer: expressions ask what the
 * writer may do. authorizer.group('').resource('pods').check('get').allowed() */
#ifndef APISERVER_ADMISSION_POLICY_AUTHORIZER_H
#define APISERVER_ADMISSION_POLICY_AUTHORIZER_H

#include "lib/api/cel/cel.h"

struct admission;
struct resource;

/* And jsonpatch.escapeKey. */
extern const struct cel_function policy_functions[];
extern const size_t policy_function_count;

struct cel_value policy_authorizer(const struct admission *adm);
/* authorizer.requestResource: the write itself. */
struct cel_value policy_request_resource(const struct admission *adm, const struct resource *as);

#endif
