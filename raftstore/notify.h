/* notify.h - systemd's readiness protocol: one datagram to $NOTIFY_SOCKET. */
#ifndef RAFTSTORE_NOTIFY_H
#define RAFTSTORE_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=text". Without the variable, or when nobody listens, nothing
 * happens. */
void notify_systemd(const char *state);

#endif
