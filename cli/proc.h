/* proc.h - long-running programs and short commands, for init, join and up.
 *
 * A program started here is a daemon of its own session with its output in a
 * log file. A pid file holds "PID STARTTIME" (field 22 of /proc/PID/stat), so
 * that a reused pid is never mistaken for the program. */
#ifndef CLI_PROC_H
#define CLI_PROC_H

#include <stdbool.h>
#include <sys/types.h>

struct error;

struct proc_config {
    const char *const *argv; /* argv[0] is an absolute path; NULL at the end. */
    const char *pid_file;
    const char *log_file;   /* Appended to. */
    const char *netns;      /* Path of a network namespace to enter, or NULL. */
    const char *const *env; /* "NAME=value" set on top of ours; NULL for none. */
};

/* Starts the program; it outlives the caller. */
int proc_start(const struct proc_config *config, struct error *err);
/* The pid when the program of that file runs, else 0. */
pid_t proc_running(const char *pid_file);
/* Sends sig and waits up to wait_ms for the end, then SIGKILL. Removes the
 * file. True when nothing runs any more. */
bool proc_stop(const char *pid_file, int sig, unsigned wait_ms);

/* Runs a command to its end; output goes to *ret_output (malloc'ed, may be
 * NULL when not wanted). 0, or E_INTERNAL with the command and its output. */
int proc_run(const char *const *argv, char **ret_output, struct error *err);
/* The same for this program's own verbs: the error is what the verb gave as its own, without the
 * command line, which may hold secrets. */
int proc_run_self(const char *const *argv, struct error *err);
/* As proc_run for "word word word"; no quoting. */
int proc_runf(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The folder that holds this program's binary; malloc'ed. */
char *proc_self_dir(void);
bool proc_is_root(void);
void proc_sleep_ms(unsigned ms);

#endif
