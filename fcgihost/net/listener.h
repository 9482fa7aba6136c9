/* Listening sockets: fd 0, Unix, TCP, descriptors that were inherited or passed by systemd. */
#ifndef FCGIHOST_LISTENER_H
#define FCGIHOST_LISTENER_H

#include "base/address.h"
#include "base/handover.h"
#include "config/config.h"
#include "config/config_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct listener {
    int fd; /* -1 when closed; non-blocking, close-on-exec */
    enum address_kind kind;
    bool is_tcp;       /* its peers go through the allow list */
    bool is_inherited; /* another process may hold a copy of the socket */
    char name[160];    /* for messages: "unix:/run/x.sock", "127.0.0.1:9000", "fd:0" */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "" unless we created a socket file */
    dev_t path_device; /* with path_inode: which file is ours */
    ino_t path_inode;
    bool is_loss_told; /* of its file */
};

/* From now on this process, and no forked child, removes the files of sockets. */
void listener_own_files(void);
/* What the next process must know of it; the texts are the listener's own. */
struct handover_listener listener_describe(const struct listener *listener);
/* Closes the socket; unlinks its file if the file is still the one that we created. */
void listener_close(struct listener *listener);
/* Who has the socket: only if nobody else does may it be made to refuse connections. */
enum listener_owner {
    LISTENER_OURS,    /* this process has its only copy */
    LISTENER_SHARED,  /* another process has one too */
    LISTENER_UNKNOWN, /* this user may not see */
};

/* Looks through /proc: not with a mutex held. */
enum listener_owner listener_find_owner(const struct listener *listener);
/* Can a successor of this process take the socket over, while connections queue up? A web server
 * that started this process for the socket, mod_fcgid or lighttpd, has no other one for it. */
bool listener_is_spawners(const struct listener *listener);
/* A Unix socket refuses new connections from now on, so that the web server goes elsewhere at once;
 * those that are queued can still be accepted. Only for LISTENER_OURS. */
void listener_refuse(const struct listener *listener);
/* Removes the socket's file, if it is ours, and nothing else: nobody can connect any more. */
void listener_unlink(struct listener *listener);
/* With the listener's name. */
#define LISTENER_LOSS                                                                              \
    "%s: its file was removed, moved, or replaced by another one: no web server finds it there "   \
    "any "                                                                                         \
    "more; connections that are open go on: start the host again"
/* Is the socket's file, which this process made, gone, or another one's? true once for each loss:
 * nobody can connect by that name any more. */
bool listener_tells_loss(struct listener *listener);
/* Says in error what is wrong with the address. -1. */
__attribute__((format(printf, 3, 4))) int
listener_fail(struct config_error *error, const struct listener *listener, const char *format, ...);

#endif
