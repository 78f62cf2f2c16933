/* fake_logind.c - the part of systemd-logind that holds shutdowns up, on a bus of the test's own.
 *
 *   fake_logind       on DBUS_SYSTEM_BUS_ADDRESS, until it is killed
 *
 * SIGUSR1 announces a shutdown, SIGUSR2 calls it off. Prints "locked", and "released" when the lock
 * is given back. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define PATH "/org/freedesktop/login1"
#define MANAGER "org.freedesktop.login1.Manager"

static int held = -1; /* Our end of the lock's pipe. */

static void need(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "fake_logind: %s: %s\n", what, strerror(-rc));
    exit(EXIT_FAILURE);
}

static int on_inhibit(sd_bus_message *m, void *arg, sd_bus_error *e)
{
    const char *what, *who, *why, *mode;
    int fds[2];
    (void)arg, (void)e;
    need(sd_bus_message_read(m, "ssss", &what, &who, &why, &mode), "Inhibit");
    if (strcmp(what, "shutdown") != 0 || strcmp(mode, "delay") != 0)
        return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_INVALID_ARGS, "%s, %s", what, mode);
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    held = fds[0];
    int rc = sd_bus_reply_method_return(m, "h", fds[1]);
    close(fds[1]);
    puts("locked");
    return rc;
}

static int on_delay(sd_bus *bus, const char *path, const char *interface, const char *property,
                    sd_bus_message *reply, void *arg, sd_bus_error *e)
{
    (void)bus, (void)path, (void)interface, (void)property, (void)arg, (void)e;
    return sd_bus_message_append(reply, "t", (uint64_t)5000000);
}

static const sd_bus_vtable table[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Inhibit", "ssss", "h", on_inhibit, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("InhibitDelayMaxUSec", "t", on_delay, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_SIGNAL("PrepareForShutdown", "b", 0), SD_BUS_VTABLE_END};

int main(void)
{
    sd_bus *bus;
    sigset_t set;
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    need(sd_bus_open_system(&bus), "bus");
    need(sd_bus_add_object_vtable(bus, NULL, PATH, MANAGER, table, NULL), "object");
    need(sd_bus_request_name(bus, "org.freedesktop.login1", 0), "name");
    puts("ready");
    for (;;) {
        int rc;
        while ((rc = sd_bus_process(bus, NULL)) > 0)
            ;
        need(rc, "process");
        struct pollfd p[3] = {{.fd = sd_bus_get_fd(bus), .events = POLLIN},
                              {.fd = signals, .events = POLLIN},
                              {.fd = held, .events = POLLIN}};
        poll(p, 3, -1);
        struct signalfd_siginfo info;
        if (read(signals, &info, sizeof(info)) == sizeof(info))
            need(sd_bus_emit_signal(bus, PATH, MANAGER, "PrepareForShutdown", "b",
                                    info.ssi_signo == SIGUSR1),
                 "signal");
        if (held >= 0 && (p[2].revents & POLLHUP) != 0) {
            close(held);
            held = -1;
            puts("released");
        }
    }
}
