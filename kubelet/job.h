/* job.h - blocking work (files, mounts) away from the loop.
 *
 * run() is called on a thread of libuv's pool, done() later on the loop. What
 * arg points at belongs to run() until then. */
#ifndef KUBELET_JOB_H
#define KUBELET_JOB_H

struct uv_loop_s;

void job_start(struct uv_loop_s *loop, void (*run)(void *arg), void (*done)(void *arg), void *arg);

#endif
