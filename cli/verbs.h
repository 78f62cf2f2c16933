/* verbs.h - the verbs of the trireme command, one file each, listed in main.c.
 *
 * A verb gets argv with its own name first and returns the exit code: 0, 1
 * after it said on stderr what went wrong, 2 for a wrong command line. */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include <stdint.h>

struct error;
struct flag_set;

int verb_up(int argc, char **argv);
int verb_down(int argc, char **argv);
int verb_host(int argc, char **argv);
int verb_init(int argc, char **argv);
int verb_join(int argc, char **argv);
int verb_token(int argc, char **argv);
int verb_member(int argc, char **argv);
int verb_snapshot(int argc, char **argv);
int verb_migrate(int argc, char **argv);
int verb_get(int argc, char **argv);
int verb_create(int argc, char **argv);
int verb_apply(int argc, char **argv);
int verb_delete(int argc, char **argv);
int verb_logs(int argc, char **argv);
int verb_describe(int argc, char **argv);
int verb_edges(int argc, char **argv);
int verb_simulate(int argc, char **argv);
int verb_why(int argc, char **argv);
int cli_convert(int argc, char **argv);

/* Parses, and handles --help and errors: 0 go on, else *ret_exit is set. */
int verb_flags(struct flag_set *flags, int argc, char **argv, int *ret_exit);
/* The same for a verb that takes flags only. */
int verb_flags_alone(struct flag_set *flags, int argc, char **argv, int *ret_exit);
/* The value of --timeout, which must not be nothing. */
int verb_timeout(int64_t timeout_ns, uint64_t *ret_ms, struct error *err);
/* Prints VERB_ERROR and the message, and returns the exit code: 2 for E_USAGE, else 1. */
#define VERB_ERROR "error: "
int verb_fail(const struct error *err);

#endif
