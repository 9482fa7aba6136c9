/* This process's children, from /proc. */
#include "life/children.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHECK_MS = 5, KILLED_MS = 1000 };

/* From /proc/PID/stat: "PID (name) state PARENT …", where the name may contain anything. */
static bool is_child(const char *pid)
{
    char path[64], text[512], *name_end;
    long parent = 0;
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    name_end = strrchr(text, ')');
    return name_end != NULL && sscanf(name_end, ") %*c %ld", &parent) == 1 &&
           parent == (long)getpid();
}

static void add(struct child_list *list, uint64_t pid)
{
    uint64_t *pids = realloc(list->pids, (list->count + 1) * sizeof(*pids));
    if (pids == NULL)
        return;
    list->pids = pids;
    list->pids[list->count++] = pid;
}

struct child_list children_list(void)
{
    struct child_list list = {NULL, 0};
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    while (processes != NULL && (entry = readdir(processes)) != NULL)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && is_child(entry->d_name))
            add(&list, strtoull(entry->d_name, NULL, 10));
    if (processes != NULL)
        closedir(processes);
    return list;
}

static bool contains(const struct child_list *list, uint64_t pid)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->pids[i] == pid)
            return true;
    return false;
}

void children_reap(struct child_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        pid_t result = waitpid((pid_t)list->pids[i], NULL, WNOHANG);
        if (result == 0 || (result < 0 && errno == EINTR))
            list->pids[kept++] = list->pids[i];
    }
    list->count = kept;
}

static void kill_all(const struct child_list *list, int number)
{
    for (size_t i = 0; i < list->count; i++)
        kill((pid_t)list->pids[i], number);
}

static void wait_for_all(struct child_list *list, uint64_t timeout_ms)
{
    uint64_t end_ms = clock_ms() + timeout_ms;
    for (children_reap(list); list->count > 0 && clock_ms() < end_ms; children_reap(list))
        nanosleep(&(struct timespec){.tv_nsec = CHECK_MS * 1000000L}, NULL);
}

void children_end(const struct child_list *list, const struct child_list *spared,
                  uint64_t timeout_ms)
{
    struct child_list doomed = {NULL, 0};
    for (size_t i = 0; i < list->count; i++)
        if (!contains(spared, list->pids[i]))
            add(&doomed, list->pids[i]);
    kill_all(&doomed, SIGTERM);
    wait_for_all(&doomed, timeout_ms);
    kill_all(&doomed, SIGKILL);
    wait_for_all(&doomed, KILLED_MS);
    free(doomed.pids);
}
