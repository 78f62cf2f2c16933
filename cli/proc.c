/* proc.c - see proc.h. Blocking calls: the command line has no loop to hold up. */
#include "cli/proc.h"

#include "cli/verbs.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_MAX (256u * 1024u)
#define ARGS_MAX 64

/* Start time of a process in clock ticks since boot; 0 when it is gone. */
static unsigned long long start_time(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    /* The name in parentheses may hold anything: count from the last ')'. */
    const char *p = strrchr(text, ')');
    if (p == NULL || p[1] == '\0' || p[2] == 'Z')
        return 0;
    p += 2;
    for (int field = 3; field < 22 && p != NULL; field++) {
        p = strchr(p, ' ');
        if (p != NULL)
            p++;
    }
    return p != NULL ? strtoull(p, NULL, 10) : 0;
}

pid_t proc_running(const char *pid_file)
{
    FILE *f = fopen(pid_file, "re");
    if (f == NULL)
        return 0;
    int pid = 0;
    unsigned long long started = 0;
    int got = fscanf(f, "%d %llu", &pid, &started);
    fclose(f);
    if (got != 2 || pid <= 0 || started == 0)
        return 0;
    return start_time(pid) == started ? pid : 0;
}

static int write_pid_file(const char *path, pid_t pid, struct error *err)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return error_set_errno(err, E_IO, errno, "create %s", path);
    fprintf(f, "%d %llu\n", (int)pid, start_time(pid));
    if (fclose(f) != 0)
        return error_set_errno(err, E_IO, errno, "write %s", path);
    return 0;
}

/* In the child. Reports errno through the pipe when it fails. */
static NO_RETURN void exec_daemon(const struct proc_config *config, int log_fd, int report_fd)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    int failed = 0;
    if (config->netns != NULL) {
        int fd = open(config->netns, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
            failed = errno;
    }
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null_fd, STDIN_FILENO);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    for (const char *const *e = config->env; e != NULL && *e != NULL; e++)
        putenv(xstrdup(*e));
    /* Descriptors that callers left open must not live on in a daemon. */
    for (int fd = 3; fd < 256; fd++)
        if (fd != report_fd)
            close(fd);
    if (failed == 0) {
        execv(config->argv[0], (char *const *)(void *)(uintptr_t)config->argv);
        failed = errno;
    }
    ssize_t written = write(report_fd, &failed, sizeof(failed));
    _exit(written == sizeof(failed) ? 127 : 126);
}

int proc_start(const struct proc_config *config, struct error *err)
{
    if (proc_running(config->pid_file) != 0)
        return 0;
    int log_fd = open(config->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log_fd < 0)
        return error_set_errno(err, E_IO, errno, "open %s", config->log_file);
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        close(log_fd);
        return error_set_errno(err, E_INTERNAL, errno, "pipe");
    }
    pid_t pid = fork();
    if (pid == 0)
        exec_daemon(config, log_fd, report[1]);
    close(log_fd);
    close(report[1]);
    int failed = 0;
    ssize_t n = pid > 0 ? read(report[0], &failed, sizeof(failed)) : 0;
    close(report[0]);
    if (pid < 0)
        return error_set_errno(err, E_INTERNAL, errno, "fork");
    if (n > 0) {
        waitpid(pid, NULL, 0);
        return error_set_errno(err, E_INTERNAL, failed, "start %s", config->argv[0]);
    }
    return write_pid_file(config->pid_file, pid, err);
}

void proc_sleep_ms(unsigned ms)
{
    struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

bool proc_stop(const char *pid_file, int sig, unsigned wait_ms)
{
    pid_t pid = proc_running(pid_file);
    if (pid != 0)
        kill(pid, sig);
    for (unsigned waited = 0; pid != 0 && waited < wait_ms; waited += 10) {
        waitpid(pid, NULL, WNOHANG); /* When it is a child of this very process. */
        if (proc_running(pid_file) == 0)
            pid = 0;
        else
            proc_sleep_ms(10);
    }
    if (pid != 0) {
        kill(pid, SIGKILL);
        for (int i = 0; i < 200 && proc_running(pid_file) != 0; i++) {
            waitpid(pid, NULL, WNOHANG);
            proc_sleep_ms(10);
        }
    }
    bool gone = proc_running(pid_file) == 0;
    if (gone)
        unlink(pid_file);
    return gone;
}

/* The exit code, 128 when it was killed; what it wrote is appended to *ret. */
static int run(const char *const *argv, struct buf *ret, struct error *err)
{
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0)
        return error_set_errno(err, E_INTERNAL, errno, "pipe");
    pid_t pid = fork();
    if (pid < 0) {
        close(out[0]);
        close(out[1]);
        return error_set_errno(err, E_INTERNAL, errno, "fork");
    }
    if (pid == 0) {
        /* Whoever ends this command ends what it waits for. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        execvp(argv[0], (char *const *)(void *)(uintptr_t)argv);
        fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    close(out[1]);
    for (;;) {
        uint8_t *at = buf_reserve(ret, 4096);
        ssize_t n = read(out[0], at, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (ret->len + (size_t)n <= OUTPUT_MAX)
            buf_commit(ret, (size_t)n);
    }
    close(out[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int proc_run(const char *const *argv, char **ret_output, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    int rc = run(argv, &text, err);
    if (rc < 0)
        return rc;
    if (rc != 0) {
        AUTO_BUF cmd = BUF_INIT;
        for (const char *const *a = argv; *a != NULL; a++)
            buf_printf(&cmd, "%s%s", a == argv ? "" : " ", *a);
        struct str said = str_trim(buf_str(&text));
        return error_set(err, E_INTERNAL, STR_FMT " failed: " STR_FMT, STR_ARG(buf_str(&cmd)),
                         STR_ARG(said));
    }
    if (ret_output != NULL)
        *ret_output = buf_steal(&text, NULL);
    return 0;
}

int proc_run_self(const char *const *argv, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    int rc = run(argv, &text, err);
    if (rc <= 0)
        return rc;
    struct str said = str_trim(buf_str(&text));
    ptrdiff_t at = str_find_str(said, STR(VERB_ERROR));
    if (at >= 0)
        said = str_sub(said, (size_t)at + strlen(VERB_ERROR), said.len);
    return error_set(err, E_INTERNAL, STR_FMT, STR_ARG(said));
}

int proc_runf(struct error *err, const char *fmt, ...)
{
    char line[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(line))
        return error_set(err, E_TOO_LARGE, "command line too long");
    const char *argv[ARGS_MAX + 1] = {0};
    size_t count = 0;
    char *save = NULL;
    for (char *w = strtok_r(line, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        if (count == ARGS_MAX)
            return error_set(err, E_TOO_LARGE, "more than %d words in a command", ARGS_MAX);
        argv[count++] = w;
    }
    if (count == 0)
        return error_set(err, E_INVALID, "no command to run");
    return proc_run(argv, NULL, err);
}

char *proc_self_dir(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n < 0)
        return xstrdup(".");
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        *slash = '\0';
    return xstrdup(path);
}

bool proc_is_root(void)
{
    return geteuid() == 0;
}
