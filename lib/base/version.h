/* version.h - what the programs say of themselves. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define TRIREME_VERSION "0.1"
/* The API that is served and used. */
#define KUBERNETES_VERSION "v1.36.2"

/* What the programs that stand in for one of Kubernetes' print for --version. */
#define VERSION_LINE "Kubernetes " KUBERNETES_VERSION " (Trireme)"

#endif
