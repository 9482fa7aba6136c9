/* fcgihost --status and --reload. */
#include "status/control_client.h"

#include "base/clock.h"
#include "status/control_socket.h"
#include "status/identity.h"
#include "status/strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_S = 3,
    ANSWER_MS = 10000,
    ANSWER_BYTES_MAX = 64 << 20,
    RETRY_MS = 2000,
    RETRY_STEP_MS = 50
};

struct search {
    const char *config_file;
    const struct config_list *listen;
    const char *format;
    bool is_reload;
    unsigned found, serving, denied;
    struct strbuf seen; /* the folders that were looked through, for the message */
};

/* Whatever the host sends, which may be another user's, it ends. */
static void receive(int fd, struct strbuf *text)
{
    char bytes[4096];
    struct timeval timeout = {.tv_sec = ANSWER_S};
    uint64_t end_ms = clock_ms() + ANSWER_MS;
    ssize_t n;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    while (text->used < ANSWER_BYTES_MAX && clock_ms() < end_ms &&
           (n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        strbuf_put_bytes(text, bytes, (size_t)n);
}

/* The answer's status, with its body in text; 0: there was none. */
static int exchange(const char *path, const char *method, const char *target, struct strbuf *text)
{
    char question[256];
    int status = 0;
    int fd = control_socket_connect(path);
    if (fd < 0)
        return 0;
    int n = snprintf(question, sizeof(question), "%s %s HTTP/1.0\r\n\r\n", method, target);
    if (send(fd, question, (size_t)n, MSG_NOSIGNAL) == n)
        receive(fd, text);
    close(fd);
    strbuf_put_bytes(text, "", 1);
    char *body = text->has_failed ? NULL : strstr(text->data, "\r\n\r\n");
    if (body == NULL || sscanf(text->data, "HTTP/1.%*c %d", &status) != 1)
        return 0;
    memmove(text->data, body + 4, strlen(body + 4) + 1);
    return status;
}

/* Tries again while the process lives: it may be executing itself anew just now. */
static int get(const char *path, long pid, const char *target, struct strbuf *text)
{
    uint64_t end_ms = clock_ms() + RETRY_MS;
    for (;;) {
        int status = exchange(path, "GET", target, text);
        if (status != 0 || kill((pid_t)pid, 0) < 0 || clock_ms() >= end_ms)
            return status;
        strbuf_clear(text);
        nanosleep(&(struct timespec){.tv_nsec = RETRY_STEP_MS * 1000000L}, NULL);
    }
}

static bool is_wanted(const struct search *search, const char *path, long pid)
{
    struct strbuf text = {0};
    bool is_match = get(path, pid, "/host", &text) == 200 &&
                    identity_matches(text.data, search->config_file, search->listen);
    strbuf_clear(&text);
    return is_match;
}

static void print_one(struct search *search, const char *path, long pid)
{
    char target[64];
    struct strbuf text = {0}, ping = {0};
    snprintf(target, sizeof(target), "/?format=%s", search->format);
    int status = get(path, pid, target, &text);
    if (status == 200) {
        if (search->found++ > 0 && strcmp(search->format, "text") == 0)
            putchar('\n');
        fputs(text.data, stdout);
        search->serving += get(path, pid, "/ping", &ping) == 200;
    }
    strbuf_clear(&text);
    strbuf_clear(&ping);
}

/* Asks once, so that no second reload follows a lost answer. */
static bool ask_reload(const char *path, char target[32])
{
    struct strbuf text = {0};
    int status = exchange(path, "POST", "/reload", &text);
    if (status == 200)
        snprintf(target, 32, "/reload?%lu", strtoul(text.data, NULL, 10));
    else if (status == 409)
        fprintf(stderr,
                "fcgihost: the host has no manager: set [server] manager = yes, or restart it\n");
    else
        fprintf(stderr, "fcgihost: the manager does not answer on %s\n", path);
    strbuf_clear(&text);
    return status == 200;
}

/* Waits until the workers have been replaced, or can't be. */
static void reload_one(struct search *search, const char *path, long pid)
{
    char target[32];
    bool is_over = false;
    search->found++;
    if (!ask_reload(path, target))
        return;
    while (!is_over) {
        struct strbuf text = {0};
        bool has_answer = get(path, pid, target, &text) == 200;
        is_over = !has_answer || strncmp(text.data, "running", 7) != 0;
        if (is_over && has_answer && strncmp(text.data, "done ", 5) == 0) {
            search->serving++;
            printf("%s", text.data + 5);
        } else if (is_over) {
            fprintf(stderr, "fcgihost: %s",
                    has_answer ? text.data + strcspn(text.data, " ") + 1
                               : "the manager does not answer any more\n");
        }
        strbuf_clear(&text);
        nanosleep(&(struct timespec){.tv_nsec = RETRY_STEP_MS * 1000000L}, NULL);
    }
}

static void look_at(struct search *search, const char *path, long pid)
{
    if (access(path, W_OK) < 0 && errno == EACCES)
        search->denied++;
    else if (is_wanted(search, path, pid))
        search->is_reload ? reload_one(search, path, pid) : print_one(search, path, pid);
}

static void look_into(struct search *search, const char *folder, bool is_deep)
{
    DIR *entries = opendir(folder);
    struct dirent *entry;
    char path[CONTROL_PATH_BYTES];
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        long pid = identity_control_pid(entry->d_name);
        if (pid > 0 && identity_control_path(folder, pid, path))
            look_at(search, path, pid);
        /* systemd makes a folder for each site: RuntimeDirectory=fcgihost/SITE */
        if (is_deep && entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) < (int)sizeof(path))
            look_into(search, path, false);
    }
    if (entries != NULL)
        closedir(entries);
}

static bool has_seen(const struct strbuf *seen, const char *folder)
{
    size_t n = strlen(folder);
    const char *p = seen->data, *end = seen->data + seen->used;
    for (; seen->used > 0 && (p = memmem(p, (size_t)(end - p), folder, n)) != NULL; p += n)
        if ((p == seen->data || p[-1] == ' ') && (p + n == end || p[n] == ','))
            return true;
    return false;
}

static bool visit(const char *folder, void *context)
{
    struct search *search = context;
    char line[CONTROL_PATH_BYTES + 4];
    snprintf(line, sizeof(line), "%s%.100s", search->seen.used > 0 ? ", " : "", folder);
    if (!has_seen(&search->seen, folder)) {
        strbuf_put(&search->seen, line);
        look_into(search, folder, strcmp(folder, "/run/fcgihost") == 0);
    }
    return false;
}

/* What was found, served. */
static int ask(struct search search, const char *config_file)
{
    const struct config_list *listen = search.listen;
    char *canonical = config_file != NULL ? identity_canonical(config_file) : NULL;
    search.config_file = canonical;
    identity_each_folder(visit, &search);
    fflush(stdout);
    if (search.found == 0)
        fprintf(stderr,
                "fcgihost: no running host with %s%s answers on a control socket in %.*s%s: start "
                "it, or run this as root or as its user, with the same $XDG_RUNTIME_DIR\n",
                config_file != NULL ? config_file
                : listen->count > 0 ? "--listen "
                                    : "",
                config_file == NULL && listen->count > 0 ? listen->items[0] : "",
                (int)search.seen.used, search.seen.data != NULL ? search.seen.data : "",
                search.denied > 0 ? " (some there belong to other users)" : "");
    strbuf_clear(&search.seen);
    free(canonical);
    return search.found > 0 && search.serving == search.found ? 0 : 1;
}

int control_client_status(const char *config_file, const struct config_list *listen,
                          const char *format)
{
    return ask((struct search){.listen = listen, .format = format}, config_file);
}

int control_client_reload(const char *config_file, const struct config_list *listen)
{
    return ask((struct search){.listen = listen, .is_reload = true}, config_file);
}
