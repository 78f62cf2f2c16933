/* transport.h - the client's connections; see transport.c. For client.c alone. */
#ifndef CLIENT_TRANSPORT_H
#define CLIENT_TRANSPORT_H

struct client;
struct error;
struct kubeconfig;
struct transport;

/* Makes a transport for k the client's current one and retires the one before. */
int transport_open(struct client *c, struct kubeconfig *k, struct error *err);
/* Closes once its calls have ended. */
void transport_retire(struct transport *t);
void transport_set_authorization(struct client *c);
/* Starts (or stops) looking at the files of the client's kubeconfig. */
void transport_watch_files(struct client *c);

#endif
