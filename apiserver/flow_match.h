/* flow_match.h - which FlowSchema a request belongs to. Pure. */
#ifndef APISERVER_FLOW_MATCH_H
#define APISERVER_FLOW_MATCH_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct flowcontrol_v1_flow_schema_spec;
struct request_info;
struct user;

/* Does any rule of the schema apply? */
bool flow_match(const struct flowcontrol_v1_flow_schema_spec *spec, const struct user *user,
                const struct request_info *info);

/* What tells flows of one schema apart: user name or namespace. */
struct str flow_distinguisher(const struct flowcontrol_v1_flow_schema_spec *spec,
                              const struct user *user, const struct request_info *info);

#endif
