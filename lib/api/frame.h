/* frame.h - events on watch streams.
 *
 * application/json;stream=watch: one JSON object a line.
 * application/vnd.kubernetes.protobuf;stream=watch: frames of a big-endian
 * 32-bit length and a bare meta/v1 WatchEvent, whose object is a RawExtension
 * that holds an envelope. type is ADDED, MODIFIED, DELETED, BOOKMARK, ERROR. */
#ifndef API_FRAME_H
#define API_FRAME_H

#include "lib/base/str.h"

struct buf;
struct error;

void api_watch_frame_pb(struct str type, struct str envelope, struct buf *out);
void api_watch_frame_json(struct str type, struct str object_json,
                          struct buf *out); /* With the line end. */
void api_watch_event_pb(struct str type, struct str envelope,
                        struct buf *out); /* Without the length. */

/* Cuts the next frame off a stream's bytes. E_AGAIN: not whole yet (err is left
 * alone). E_TOO_LARGE: announces more than frame_max bytes. */
int api_frame_next(struct str bytes, size_t frame_max, size_t *ret_consumed, struct str *ret_frame,
                   struct error *err);
/* What a frame holds; views. */
int api_watch_event_open(struct str frame, struct str *ret_type, struct str *ret_envelope,
                         struct error *err);

#endif
