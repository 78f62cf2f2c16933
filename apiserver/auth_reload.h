/* auth_reload.h - follows --authorization-config, --authentication-config and, when
 * told to, --encryption-provider-config: who authenticates, who decides and what is
 * encrypted can change while the server runs.
 *
 * A worker reads; a file that is not right is told once and changes nothing. */
#ifndef APISERVER_AUTH_RELOAD_H
#define APISERVER_AUTH_RELOAD_H

struct apiserver;
struct apiserver_config;
struct auth_reload;
struct error;
struct uv_loop_s;

/* At the start: s->authz from the file or the flags. */
int auth_load_authz(struct apiserver *s, struct error *err);
/* The same for what is encrypted in the store. */
int auth_load_encryption(const struct apiserver_config *c, struct error *err);
/* NULL: there is nothing to follow. */
struct auth_reload *auth_reload_start(struct apiserver *s, struct uv_loop_s *loop);
void auth_reload_stop(struct auth_reload *r); /* Frees itself later. NULL is a no-op. */

#endif
