/* All listening sockets of the process: descriptor 0, Unix, TCP, those that systemd passed. */
#ifndef FCGIHOST_LISTENER_SET_H
#define FCGIHOST_LISTENER_SET_H

#include "net/listener.h"

struct listener_set {
    struct listener *items;
    size_t count;
};

/* Opens every configured address; with none, fd 0 if it is a listening socket, else systemd's
 * (LISTEN_PID, LISTEN_FDS, which are then removed from the environment). 0 with at least one
 * listener, or -1 with one line in error; what was opened is closed again. */
int listener_open_all(struct listener_set *set, const struct config *config,
                      struct config_error *error);
/* For a configuration that was read again: opens the addresses that neither open nor more (may be
 * NULL) has, and shares the sockets of those that they have. If no address is configured, the set
 * is that of open. 0, or -1 with one line in error, and nothing new is open. */
int listener_open_again(struct listener_set *set, const struct listener_set *open,
                        const struct listener_set *more, const struct config *config,
                        struct config_error *error);
/* Closes the sockets that neither kept nor more (may be NULL) has, and empties the set. */
void listener_close_others(struct listener_set *set, const struct listener_set *kept,
                           const struct listener_set *more);
/* Opens those of [status] listen; there may be none. 0, or -1 with one line in error. */
int listener_open_status(struct listener_set *set, const struct config *config,
                         struct config_error *error);
/* The same again, as listener_open_again: with none configured there are none. */
int listener_open_status_again(struct listener_set *set, const struct listener_set *open,
                               const struct listener_set *more, const struct config *config,
                               struct config_error *error);
/* Takes over those that a predecessor has handed over. 0, or -1 with one line in error. */
int listener_take_over(struct listener_set *set, const struct handover *handover,
                       struct config_error *error);
void listener_close_all(struct listener_set *set);

#endif
