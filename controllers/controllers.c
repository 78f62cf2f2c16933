/* controllers.c - the table of controllers: one line each. */
#include "controllers/controller.h"

extern const struct controller controller_csrapproving;
extern const struct controller controller_csrcleaner;
extern const struct controller controller_csrsigning;
extern const struct controller controller_deployment;
extern const struct controller controller_nodeipam;
extern const struct controller controller_replicaset;
extern const struct controller controller_root_ca;
extern const struct controller controller_serviceaccount;

const struct controller *const controller_table[] = {
    &controller_csrapproving, &controller_csrcleaner,     &controller_csrsigning,
    &controller_deployment,   &controller_nodeipam,       &controller_replicaset,
    &controller_root_ca,      &controller_serviceaccount, NULL,
};
