/* exec_uv.h - runs a program of the node: input in, output back, within a time. Loop-confined.
 *
 * It leads a process group of its own: one that takes too long, or writes more than it may, is
 * killed with all that it started. */
#ifndef KUBELET_EXEC_UV_H
#define KUBELET_EXEC_UV_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct exec;
struct uv_loop_s;

struct exec_config {
    const char *path;
    char **args;      /* Ends with NULL; args[0] is the program's name. Borrowed for the call. */
    char **env;       /* Ends with NULL. Borrowed for the call. */
    struct str input; /* Copied. */
    uint64_t timeout_ms;
    size_t output_max; /* Of standard output, in bytes; more is an error. */
    /* Runs once, later. why is NULL when the program ended well, else what went wrong, with what it
     * wrote to standard error. */
    void (*done)(const char *why, struct str output, void *arg);
    void *arg;
};

/* The handle lives until done returns. */
struct exec *exec_run(struct uv_loop_s *loop, const struct exec_config *config);
/* Kills it, with whatever it started; done never runs. */
void exec_cancel(struct exec *e);

#endif
