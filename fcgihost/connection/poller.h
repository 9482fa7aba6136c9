/* The epoll set that the workers share: it accepts connections, keeps idle ones, and returns those
 * that are ready. */
#ifndef FCGIHOST_POLLER_H
#define FCGIHOST_POLLER_H

#include "base/address.h"
#include "base/descriptor_file.h"
#include "config/config.h"
#include "connection/connection.h"
#include "net/listener_set.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

enum { POLLER_EVENTS = 16 };

struct poller_listener;

struct poller_queue {
    struct connection *first, *last;
};

/* What is waiting in it. */
struct poller_load {
    size_t open, idle;          /* connections; idle: kept, between two requests */
    size_t max;                 /* [limits] connections */
    size_t waiting;             /* requests that wait for a thread */
    uint64_t oldest_waiting_ms; /* how long the first of them has waited */
    size_t parked;              /* requests that wait for the application to be loaded */
};

struct poller {
    int epoll_fd;
    /* Events that epoll_wait returned and poller_next has not; taking several at once saves half a
     * microsecond for each request of a busy host. */
    struct epoll_event events[POLLER_EVENTS];
    int event_count, next_event;
    atomic_ullong round;               /* counts the calls of epoll_wait */
    struct descriptor_file epoll_file; /* as long as the application leaves it alone */
    struct listener *last_listener;    /* the listener that accepted … */
    atomic_int accepts_in_row;         /* … so many connections in a row */
    int wake_fd;                       /* readable once the workers must end */
    int change_fd; /* an eventfd of the supervisor's: told when the last connection has gone */
    uint64_t io_timeout_ms;
    struct poller_listener *listeners;
    size_t listener_count;
    struct address_block *allow;
    size_t allow_count;

    atomic_bool is_draining; /* no connection is kept any more */
    atomic_bool
        is_handing_over; /* connections without a running request wait for the next process */
    atomic_bool is_held; /* likewise accepts none: another process serves */
    atomic_bool is_cut;  /* connections have been shut down, whatever they were doing */
    atomic_bool is_quitting;
    atomic_bool is_accept_paused; /* no room */
    bool is_managed;              /* the listeners are shared with other workers of a manager */
    bool is_pause_logged;         /* with the mutex held */
    int last_fd;                  /* likewise: of the last connection, and … */
    int descriptor_limit;         /* … the first number that none may have */
    uint64_t last_pause_ms;

    atomic_ullong
        pause_end_ms; /* no connection's comes before that, by clock_ms(); 0: none has one */

    pthread_mutex_t mutex; /* guards the listeners' descriptors and the list: no connection of it is
                              freed meanwhile */
    struct connection *connections;
    size_t connection_count, connection_max;
    struct connection *buried;  /* closed, and to be freed once no event can point to them; the
                                   latest first */
    struct poller_queue parked; /* their requests wait for the application */
    struct poller_queue ready;  /* theirs for a thread, first come first served */
    atomic_bool has_ready;      /* some may be there */
    int ready_fd;               /* an eventfd: the thread that waits in epoll must look at them */
    atomic_bool is_recalled;    /* a worker wants the turn of the watch */
};

/* 0, or -1 with errno. The set must outlive the poller. change_fd as in the struct. */
int poller_init(struct poller *poller, struct listener_set *set, const struct config *config,
                int change_fd);
void poller_clear(struct poller *poller);

/* The next connection on which something has come, new ones included: the caller owns it until it
 * calls poller_watch, poller_park, poller_queue or poller_close. NULL: the worker must end. Called,
 * like the next one, by the thread that has the turn (threads/turn.h). */
struct connection *poller_next(struct poller *poller);
/* The same for the watch, without connections of the queue; NULL also after timeout_ms, and when a
 * worker wants the turn. */
struct connection *poller_lead(struct poller *poller, int timeout_ms);
/* A worker wants the turn that the watch has. Any thread, with or without the GIL. */
void poller_recall(struct poller *poller);
/* Must the watch pass the turn? Called by the watch, like the next one, once it has passed it. */
bool poller_is_recalled(const struct poller *poller);
void poller_end_recall(struct poller *poller);
/* Gives a connection back whose request waits for a thread: poller_next returns it in its turn. */
void poller_queue(struct poller *poller, struct connection *connection);
/* Does anything wait in the queue? Any thread. */
bool poller_has_ready(const struct poller *poller);
/* The first one of the queue, if its request waits since before_us (clock_us()); else NULL. Any
 * thread. */
struct connection *poller_take_overdue(struct poller *poller, uint64_t before_us);
/* Gives the connection back until its peer sends something, by the deadline if that is not 0: then
 * it is kept between two requests. 0; or the caller still owns it: 1, it must look at it once more,
 * as something has come; -1 with errno. */
int poller_watch(struct poller *poller, struct connection *connection, uint64_t deadline_ms);
/* No event is wanted until poller_watch, as the request's body will come while it is served. The
 * calling worker owns the connection. */
void poller_mute(struct poller *poller, struct connection *connection);
/* Gives a connection with a request that can't be served yet back until poller_unpark, or until
 * park_end_ms; poller_next then returns it. */
void poller_park(struct poller *poller, struct connection *connection);
/* Parked requests can go on: what they wait for is there, or will not come. */
void poller_unpark(struct poller *poller);
void poller_close(struct poller *poller, struct connection *connection);
size_t poller_connection_count(struct poller *poller);
/* Walks all connections with the mutex held: for the status, not for each request. */
void poller_get_load(struct poller *poller, struct poller_load *load);
/* -1: it is closed. Any thread. */
int poller_listener_fd(struct poller *poller, size_t i);
/* "unix:/run/x.sock", for messages. */
const char *poller_listener_name(const struct poller *poller, size_t i);

/* Has the application closed the descriptor of a listener, or that on which all threads wait? */
bool poller_has_lost_descriptors(struct poller *poller);
/* The name of the next listener whose socket file is newly lost; NULL: there is none. Supervisor
 * thread. */
const char *poller_find_lost_file(struct poller *poller);
/* For the supervisor, at least once a second: closes connections past their deadline, and accepts
 * again when there is room. */
void poller_tend(struct poller *poller, uint64_t now_ms);
/* Removes the socket files and closes the listeners. Queued connections are still accepted, unless
 * other processes accept on the same socket. From now on no connection outlives its request. */
void poller_stop_accepting(struct poller *poller);
/* Does it serve a single socket, which a web server made for this process? */
bool poller_is_spawners(struct poller *poller);
/* Stops accepting, but leaves the listeners open for the next process: connections queue up there.
 * Nothing new is begun on connections either; requests in flight go on. */
void poller_begin_handover(struct poller *poller);
/* The process exits after all: what was left for the next one is closed in order. */
void poller_give_up_handover(struct poller *poller);
/* How many connections still have a request or a response to finish. */
size_t poller_busy_count(struct poller *poller);
/* Adds the listeners, and the connections without a running request, to what is handed over; they
 * stay open. After the workers have ended, or with the process about to leave whatever they do. -1:
 * out of memory. */
int poller_hand_over(struct poller *poller, struct handover *handover);
/* Takes over the connections that another process has handed over. Any thread. */
void poller_take_over(struct poller *poller, const struct handover *handover);
/* After poller_begin_handover: describes up to max connections without a running request, which
 * stay here until poller_release_picked. How many there are. One thread at a time. */
size_t poller_pick_movable(struct poller *poller, size_t max, struct handover *handover);
/* is_gone: another process has them; otherwise they stay. Frees the descriptions, not the array. */
void poller_release_picked(struct poller *poller, struct handover *handover, bool is_gone);
/* For workers of a manager: do new connections wake this process? Called by the leader. */
void poller_leave_to_siblings(struct poller *poller, bool is_left);
/* Has poller_lead accepted a connection last, so that more may wait? */
bool poller_accepts_in_row(const struct poller *poller);
/* Accepts no connection until poller_release, as another process serves the same sockets. */
void poller_hold(struct poller *poller);
void poller_release(struct poller *poller);
/* Shuts down every connection that is not handed over, so that no thread waits for a peer. */
void poller_cut(struct poller *poller);
/* Every poller_next returns NULL from now on. */
void poller_quit(struct poller *poller);

#endif
