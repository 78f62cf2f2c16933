/* program.c - see program.h. */
#include "lib/base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

void program_begin(void)
{
    signal(SIGPIPE, SIG_IGN);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) != fd)
            _exit(EXIT_FAILURE); /* Without /dev/null there is nothing to say it on, either. */
}

void program_open_files_max(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

int program_end(int exit_code)
{
    int flushed = fflush(stdout), why = errno;
    if (flushed == 0 && !ferror(stdout))
        return exit_code;
    if (flushed == 0 || why != EPIPE)
        fprintf(stderr, "error: write standard output: %s\n",
                flushed != 0 ? strerror(why) : "failed");
    return exit_code != 0 ? exit_code : EXIT_FAILURE;
}
