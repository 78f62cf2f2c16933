/* selector.h - label selectors of lists and watches, put to stored bytes. Parsing
 * and the rest is lib/api/selector.h. Pure. */
#ifndef APISERVER_SELECTOR_H
#define APISERVER_SELECTOR_H

#include "lib/api/selector.h"

/* Of an object's stored bytes: nothing is decoded but its labels. */
bool selector_matches_stored(const struct api_label_selector *s, struct str object);

#endif
