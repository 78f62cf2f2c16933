/* auth_reload.h - follows --authorization-config and --authentication-config: who
 * authenticates and who decides can change while the server runs.
 *
 * A worker reads; a file that is not right is told once and changes nothing. */
#ifndef APISERVER_AUTH_RELOAD_H
#define APISERVER_AUTH_RELOAD_H

struct apiserver;
struct auth_reload;
struct error;
struct uv_loop_s;

/* At the start: s->authz from the file or the flags. */
int auth_load_authz(struct apiserver *s, struct error *err);
/* NULL: there is nothing to follow. */
struct auth_reload *auth_reload_start(struct apiserver *s, struct uv_loop_s *loop);
void auth_reload_stop(struct auth_reload *r); /* Frees itself later. NULL is a no-op. */

#endif
