/* log_options.h - what may be asked of a container's log. */
#ifndef APISERVER_LOG_OPTIONS_H
#define APISERVER_LOG_OPTIONS_H

struct meta_v1_status;
struct req;

/* NULL, or the answer to options that contradict each other or make no sense: 422 as upstream's
 * PodLogOptions; 400 where a number is none. */
struct meta_v1_status *log_options_check(struct req *r);

#endif
