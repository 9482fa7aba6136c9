/* The control socket's file: fcgihost-PID.sock in the run-time directory. */
#ifndef FCGIHOST_STATUS_CONTROL_SOCKET_H
#define FCGIHOST_STATUS_CONTROL_SOCKET_H

#include "status/identity.h"

#include <stdbool.h>

struct control_socket {
    int fd; /* -1: there is none */
    char path[CONTROL_PATH_BYTES];
    bool is_missed; /* its file is gone, which was logged */
};

/* Opens it in the first folder where it can be made, and removes what dead hosts left there. If
 * there is none, fd is -1 and one info line says so. */
void control_socket_open(struct control_socket *socket);
/* If somebody has removed its file: opens it anew, once its folder is there. To be called every
 * second or so. */
void control_socket_heal(struct control_socket *socket);
/* Closes it and removes its file. */
void control_socket_close(struct control_socket *socket);
/* May this peer ask? Root, and the user as whom the process runs. */
bool control_socket_admits(int peer_fd);

/* Connects to a control socket. -1 with errno; EAGAIN: there was no room in its queue for a second.
 */
int control_socket_connect(const char *path);

#endif
