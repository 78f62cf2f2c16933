/* bridge.h - two upgraded connections joined: what one sends the other gets,
 * with back-pressure, until both are done.
 *
 * Loop-confined. At most a window of each stream is held, whoever does not
 * read. Nothing times out while both sides are open; once one side has ended,
 * the other one has five minutes of silence to end too.
 *
 *   bridge_new -> bridge_handler on the client's stream -> bridge_join -> ... -> on_end
 *
 * The client may speak WebSocket where the server speaks something else:
 *
 *   form            client                              server
 *   BRIDGE_RAW      anything                            the same
 *   BRIDGE_TUNNEL   bytes in binary messages            the bytes
 *   BRIDGE_COMMAND  messages of v5.channel.k8s.io:      SPDY streams of
 *                   a channel number, then bytes        v4.channel.k8s.io */
#ifndef NET_BRIDGE_H
#define NET_BRIDGE_H

#include "lib/base/base.h"

struct bridge;
struct net_stream;
struct net_stream_handler;

enum bridge_form { BRIDGE_RAW, BRIDGE_TUNNEL, BRIDGE_COMMAND };

/* Channels of a remote command; the numbers are those of channel.k8s.io. */
enum bridge_channel {
    CHANNEL_STDIN,
    CHANNEL_STDOUT,
    CHANNEL_STDERR,
    CHANNEL_ERROR, /* The command's Status. Always there. */
    CHANNEL_RESIZE,
    CHANNEL_COUNT,
    CHANNEL_CLOSE = 255, /* A channel's number follows: it has ended. */
};
#define CHANNEL_BIT(channel) (1u << (channel))

struct bridge_config {
    enum bridge_form form;
    unsigned channels;         /* BRIDGE_COMMAND: CHANNEL_BIT()s that the server expects. */
    void (*on_end)(void *arg); /* Last, from the loop; the bridge is gone. */
    void *arg;
};

struct bridge *bridge_new(const struct bridge_config *config);
void bridge_free(struct bridge *b); /* Before bridge_join() only. NULL is a no-op. */
/* For both streams, with the bridge as argument. */
extern const struct net_stream_handler bridge_handler;
/* Owns both streams from now on. */
void bridge_join(struct bridge *b, struct net_stream *client, struct net_stream *server);
/* Ends both sides, once what was written is sent (within 5 s); a WebSocket client
 * is told. on_end follows. */
void bridge_stop(struct bridge *b);

#endif
