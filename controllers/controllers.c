/* controllers.c - the table of controllers: one line each. */
#include "controllers/controller.h"

extern const struct controller controller_deployment;
extern const struct controller controller_replicaset;

const struct controller *const controller_table[] = {
    &controller_deployment,
    &controller_replicaset,
    NULL,
};
