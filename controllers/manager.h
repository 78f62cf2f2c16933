/* manager.h - runs the table of controllers while this instance leads. */
#ifndef CONTROLLERS_MANAGER_H
#define CONTROLLERS_MANAGER_H

#include "controllers/controller.h"

struct manager;

/* enabled: NULL-terminated names as in --controllers ("*", "name", "-name");
 * NULL: all. Begins at once: caches fill, then keys are processed. */
struct manager *manager_start(struct client *c, const struct controller *const *table,
                              const char *const *enabled);
/* Cancels calls under way, closes caches, frees everything. */
void manager_stop(struct manager *m);
/* The options that controllers see; filled by the program's flags. */
struct manager_options *manager_options(void);

#endif
