/* What fcgihost --status and --reload print, and how they end: hosts are threads that answer as the
 * test's script says.
 *
 * links: control_client.c control_socket.c config_error.c strbuf.c */
#include "life_fakes.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "status/control_client.h"
#include "status/identity.h"

enum { OTHER_USER = 4711, NOT_MATCHING = 2000000000 };

static char base[64], folder_a[80], folder_b[80];
static const char *folders[5]; /* in which identity_each_folder() looks; NULL ends it */
static struct config_list listen_list;
static atomic_ullong later_ms; /* how much the clock goes before the real one */
static const char *matching;   /* what of /host matches */

/* Whoever waits between two attempts has waited at once. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, id, now);
    uint64_t ms = (uint64_t)now->tv_nsec / 1000000 + atomic_load(&later_ms);
    now->tv_sec += (time_t)(ms / 1000);
    now->tv_nsec = (long)(ms % 1000) * 1000000;
    return (int)result;
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    atomic_fetch_add(&later_ms, (unsigned long long)time->tv_nsec / 1000000);
    return 0;
}

/* Fakes */

bool identity_each_folder(bool (*visit)(const char *folder, void *context), void *context)
{
    for (size_t i = 0; folders[i] != NULL; i++)
        if (visit(folders[i], context))
            return true;
    return false;
}

bool identity_control_path(const char *folder, long pid, char path[CONTROL_PATH_BYTES])
{
    return snprintf(path, CONTROL_PATH_BYTES, "%s/%ld", folder, pid) < CONTROL_PATH_BYTES;
}

long identity_control_pid(const char *name)
{
    char *end;
    long pid = strtol(name, &end, 10);
    return *end == '\0' ? pid : 0;
}

bool identity_matches(const char *text, const char *config_file, const struct config_list *listen)
{
    assert_ptr_equal(listen, &listen_list);
    if (config_file != NULL)
        assert_string_equal(config_file, "/etc/real.ini");
    return strcmp(text, matching) == 0;
}

char *identity_canonical(const char *path)
{
    assert_string_equal(path, "link.ini");
    return strdup("/etc/real.ini");
}

/* Hosts */

struct step {
    const char *request; /* "GET /host" */
    const char *answer;  /* NULL: closes without one; "": none until the asker has gone */
    unsigned times;      /* that it holds; 0: from here on */
};

static struct host {
    long pid;
    int fd;
    pthread_t thread;
    struct step steps[8];
    unsigned used[8];
    char asked[4096]; /* "GET /host|GET /ping|" */
} hosts[2];

static const char pong[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\npong\n";
static const char own[] = "HTTP/1.1 200 OK\r\n\r\nour host\n";
static const char status[] = "HTTP/1.1 200 OK\r\n\r\nall is well\n";

static const char *choose_answer(struct host *host, const char *request)
{
    for (size_t i = 0; i < COUNT(host->steps) && host->steps[i].request != NULL; i++) {
        const struct step *step = &host->steps[i];
        if (strcmp(step->request, request) == 0 &&
            (step->times == 0 || host->used[i]++ < step->times))
            return step->answer;
    }
    return NULL;
}

static void send_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent < 0)
            return;
        bytes += sent;
        n -= (size_t)sent;
    }
}

/* "endless": more than anybody wants; "byte by byte": for as long as it is taken. */
static void send_answer(int fd, const char *answer)
{
    static char much[1 << 20];
    memset(much, 'x', sizeof(much));
    if (strcmp(answer, "endless") == 0)
        for (int i = 0; i < 100; i++)
            send_all(fd, much, sizeof(much));
    else if (strcmp(answer, "byte by byte") == 0)
        while (send(fd, "x", 1, MSG_NOSIGNAL) == 1) {
            atomic_fetch_add(&later_ms, 1000);
            usleep(1000);
        }
    else
        send_all(fd, answer, strlen(answer));
}

static void *run_host(void *argument)
{
    struct host *host = argument;
    for (int fd; (fd = accept(host->fd, NULL, NULL)) >= 0; close(fd)) {
        char request[256];
        ssize_t n = recv(fd, request, sizeof(request) - 1, 0);
        request[n > 0 ? n : 0] = '\0';
        char *end = strstr(request, " HTTP/1.0\r\n\r\n");
        if (end == NULL)
            continue;
        *end = '\0';
        size_t used = strlen(host->asked);
        snprintf(host->asked + used, sizeof(host->asked) - used, "%s|", request);
        const char *answer = choose_answer(host, request);
        if (answer != NULL)
            send_answer(fd, answer);
    }
    return NULL;
}

static struct host *start_host(const char *folder, long pid, const struct step *steps)
{
    struct host *host = hosts[0].pid == 0 ? &hosts[0] : &hosts[1];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%ld", folder, pid);
    *host = (struct host){.pid = pid, .fd = socket(AF_UNIX, SOCK_STREAM, 0)};
    for (size_t i = 0; steps[i].request != NULL; i++)
        host->steps[i] = steps[i];
    assert_int_equal(bind(host->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(host->fd, 16), 0);
    assert_int_equal(pthread_create(&host->thread, NULL, run_host, host), 0);
    return host;
}

static void end_host(struct host *host)
{
    if (host->pid == 0)
        return;
    shutdown(host->fd, SHUT_RDWR);
    pthread_join(host->thread, NULL);
    close(host->fd);
    host->pid = 0;
}

/* What is printed */

static char printed[1 << 16], complaints[4096];
static FILE *files[2];
static int streams[2];

static void begin_capture(void)
{
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        files[i] = tmpfile();
        streams[i] = dup(STDOUT_FILENO + i);
        dup2(fileno(files[i]), STDOUT_FILENO + i);
    }
}

static void end_capture(void)
{
    char *texts[] = {printed, complaints};
    size_t sizes[] = {sizeof(printed), sizeof(complaints)};
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        dup2(streams[i], STDOUT_FILENO + i);
        close(streams[i]);
        rewind(files[i]);
        texts[i][fread(texts[i], 1, sizes[i] - 1, files[i])] = '\0';
        fclose(files[i]);
    }
}

static int run_status(const char *config_file, const char *format)
{
    begin_capture();
    int result = control_client_status(config_file, &listen_list, format);
    end_capture();
    return result;
}

static int run_reload(void)
{
    begin_capture();
    int result = control_client_reload(NULL, &listen_list);
    end_capture();
    return result;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/test_control_client.XXXXXX");
    if (mkdtemp(base) == NULL)
        return -1;
    snprintf(folder_a, sizeof(folder_a), "%s/a", base);
    snprintf(folder_b, sizeof(folder_b), "%s/b", base);
    mkdir(folder_a, 0755);
    mkdir(folder_b, 0755);
    memset(folders, 0, sizeof(folders));
    folders[0] = folder_a;
    folders[1] = folder_b;
    matching = "our host\n";
    listen_list = (struct config_list){.count = 0};
    atomic_store(&later_ms, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char path[CONTROL_PATH_BYTES];
    const long pids[] = {getpid(), getppid(), NOT_MATCHING};
    for (size_t i = 0; i < COUNT(hosts); i++)
        end_host(&hosts[i]);
    for (size_t i = 0; i < 2 * COUNT(pids); i++)
        if (identity_control_path(i % 2 == 0 ? folder_a : folder_b, pids[i / 2], path))
            unlink(path);
    rmdir(folder_a);
    rmdir(folder_b);
    return rmdir(base);
}

/* Tests */

static void test_the_status_is_printed_of_a_host_that_serves(void **state)
{
    (void)state;
    const struct step steps[] = {
        {"GET /host", own, 0}, {"GET /?format=json", status, 0}, {"GET /ping", pong, 0}, {0}};
    struct host *host = start_host(folder_b, getpid(), steps);
    assert_int_equal(run_status("link.ini", "json"), 0);
    assert_string_equal(printed, "all is well\n");
    assert_string_equal(complaints, "");
    end_host(host);
    assert_string_equal(host->asked, "GET /host|GET /?format=json|GET /ping|");
}

static void test_a_host_that_does_not_serve_is_printed_and_is_a_failure(void **state)
{
    (void)state;
    const struct step steps[] = {{"GET /host", own, 0},
                                 {"GET /?format=text", status, 0},
                                 {"GET /ping", "HTTP/1.1 503 No\r\n\r\nstarting\n", 0},
                                 {0}};
    start_host(folder_a, getpid(), steps);
    assert_int_equal(run_status(NULL, "text"), 1);
    assert_string_equal(printed, "all is well\n");
    assert_string_equal(complaints, "");
}

static void test_of_several_hosts_one_that_does_not_serve_is_a_failure(void **state)
{
    (void)state;
    const struct step good[] = {{"GET /host", own, 0},
                                {"GET /?format=text", status, 0},
                                {"GET /?format=json", "HTTP/1.1 200 OK\r\n\r\n{}\n", 0},
                                {"GET /ping", pong, 0},
                                {0}};
    struct step bad[COUNT(good)];
    memcpy(bad, good, sizeof(good));
    bad[3].answer = "HTTP/1.1 503 No\r\n\r\ndraining\n";
    start_host(folder_a, getpid(), good);
    struct host *second = start_host(folder_b, getppid(), bad);
    assert_int_equal(run_status(NULL, "text"), 1);
    assert_string_equal(printed, "all is well\n\nall is well\n"); /* text has a line between */
    second->steps[3].answer = pong;
    assert_int_equal(run_status(NULL, "json"), 0);
    assert_string_equal(printed, "{}\n{}\n");
}

static void test_a_host_of_another_configuration_is_not_asked_further(void **state)
{
    (void)state;
    const struct step steps[] = {{"GET /host", own, 0}, {"POST /reload", pong, 0}, {0}};
    struct host *host = start_host(folder_a, getpid(), steps);
    matching = "another\n";
    assert_int_equal(run_status("link.ini", "text"), 1);
    assert_int_equal(run_reload(), 1);
    end_host(host);
    assert_string_equal(host->asked, "GET /host|GET /host|");
    assert_string_equal(printed, "");
}

static void test_if_there_is_none_the_message_says_what_was_looked_for_and_where(void **state)
{
    (void)state;
    char expected[1024];
    folders[2] = folder_a; /* $XDG_RUNTIME_DIR may name the same one */
    snprintf(expected, sizeof(expected),
             "fcgihost: no running host with link.ini answers on a control socket in %s, %s: ",
             folder_a, folder_b);
    assert_int_equal(run_status("link.ini", "text"), 1);
    assert_memory_equal(complaints, expected, strlen(expected));
    assert_int_equal(strcspn(complaints, "\n"), strlen(complaints) - 1);
    char address[] = "unix:/x", *items[] = {address};
    listen_list = (struct config_list){.items = items, .count = 1};
    assert_int_equal(run_reload(), 1);
    assert_non_null(strstr(complaints, "no running host with --listen unix:/x answers"));
    assert_string_equal(printed, "");
}

static void test_sockets_that_are_others_are_mentioned(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    const struct step steps[] = {{"GET /host", own, 0}, {0}};
    struct host *host = start_host(folder_a, getpid(), steps);
    chmod(base, 0755);
    begin_capture();
    pid_t child = fork();
    if (child == 0)
        _exit(setuid(OTHER_USER) == 0 ? control_client_status(NULL, &listen_list, "text") : 99);
    int result;
    waitpid(child, &result, 0);
    end_capture();
    assert_int_equal(WEXITSTATUS(result), 1);
    assert_non_null(strstr(complaints, "(some there belong to other users)"));
    end_host(host);
    assert_string_equal(host->asked, "");
}

static void test_what_a_dead_host_left_is_passed_over(void **state)
{
    (void)state;
    const struct step none[] = {{0}}, steps[] = {{"GET /host", own, 0},
                                                 {"GET /?format=text", status, 0},
                                                 {"GET /ping", pong, 0},
                                                 {0}};
    end_host(start_host(folder_a, NOT_MATCHING, none));
    start_host(folder_b, getpid(), steps);
    assert_int_equal(run_status(NULL, "text"), 0);
    assert_string_equal(printed, "all is well\n");
}

static void test_a_host_that_executes_itself_anew_is_asked_again(void **state)
{
    (void)state;
    const struct step steps[] = {{"GET /host", NULL, 2},
                                 {"GET /host", own, 0},
                                 {"GET /?format=text", "HTTP/1.1 200 OK\r\nno end", 3},
                                 {"GET /?format=text", status, 0},
                                 {"GET /ping", "", 1},
                                 {"GET /ping", pong, 0},
                                 {0}};
    start_host(folder_a, getpid(), steps);
    assert_int_equal(run_status(NULL, "text"), 0);
    assert_string_equal(printed, "all is well\n");
}

static void test_one_that_never_answers_is_given_up(void **state)
{
    (void)state;
    static const char *const answers[] = {NULL, "\r\n\r\nour host\n", "HTTP/2 x\r\n\r\nour host\n",
                                          "HTTP/1.1 404 No\r\n\r\nour host\n"};
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct step steps[] = {{"GET /host", answers[i], 0}, {0}};
        start_host(folder_a, getpid(), steps);
        assert_int_equal(run_status(NULL, "text"), 1);
        assert_non_null(strstr(complaints, "no running host"));
        end_host(&hosts[0]);
        char path[CONTROL_PATH_BYTES];
        identity_control_path(folder_a, getpid(), path);
        unlink(path);
    }
}

static void test_neither_an_answer_without_an_end_nor_a_slow_one_holds_the_asker(void **state)
{
    (void)state;
    static const char *const answers[] = {"endless", "byte by byte"};
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct step steps[] = {{"GET /host", answers[i], 0}, {0}};
        char path[CONTROL_PATH_BYTES];
        start_host(folder_a, getpid(), steps);
        assert_int_equal(run_status(NULL, "text"), 1);
        end_host(&hosts[0]);
        identity_control_path(folder_a, getpid(), path);
        unlink(path);
    }
}

static void test_a_reload_is_asked_for_once_and_waited_for(void **state)
{
    (void)state;
    const struct step steps[] = {
        {"GET /host", own, 0},
        {"POST /reload", "HTTP/1.1 200 OK\r\n\r\n7\n", 0},
        {"GET /reload?7", "HTTP/1.1 200 OK\r\n\r\nrunning \n", 3},
        {"GET /reload?7", "HTTP/1.1 200 OK\r\n\r\ndone 2 workers replaced\n", 0},
        {0}};
    struct host *host = start_host(folder_a, getpid(), steps);
    assert_int_equal(run_reload(), 0);
    assert_string_equal(printed, "2 workers replaced\n");
    assert_string_equal(complaints, "");
    end_host(host);
    assert_string_equal(host->asked,
                        "GET /host|POST /reload|GET /reload?7|GET /reload?7|GET /reload?7|"
                        "GET /reload?7|");
}

static void test_a_reload_that_fails_says_why(void **state)
{
    (void)state;
    const struct {
        const char *post, *get, *complaint;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n7\n", "HTTP/1.1 200 OK\r\n\r\nfailed shop.py: no module\n",
         "fcgihost: shop.py: no module\n"},
        {"HTTP/1.1 200 OK\r\n\r\n7\n", "HTTP/1.1 200 OK\r\n\r\nunknown that was forgotten\n",
         "fcgihost: that was forgotten\n"},
        {"HTTP/1.1 200 OK\r\n\r\n7\n", NULL, "fcgihost: the manager does not answer any more\n"},
        {"HTTP/1.1 409 Conflict\r\n\r\nno\n", NULL, "fcgihost: the host has no manager: "},
        {NULL, NULL, "fcgihost: the manager does not answer on /"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct step steps[] = {{"GET /host", own, 0},
                                     {"POST /reload", cases[i].post, 0},
                                     {"GET /reload?7", cases[i].get, 0},
                                     {0}};
        char path[CONTROL_PATH_BYTES];
        struct host *host = start_host(folder_a, getpid(), steps);
        assert_int_equal(run_reload(), 1);
        end_host(host);
        assert_memory_equal(complaints, cases[i].complaint, strlen(cases[i].complaint));
        assert_string_equal(printed, "");
        assert_null(strstr(strstr(host->asked, "POST") + 1, "POST")); /* never a second one */
        identity_control_path(folder_a, getpid(), path);
        unlink(path);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_status_is_printed_of_a_host_that_serves),
        TEST(test_a_host_that_does_not_serve_is_printed_and_is_a_failure),
        TEST(test_of_several_hosts_one_that_does_not_serve_is_a_failure),
        TEST(test_a_host_of_another_configuration_is_not_asked_further),
        TEST(test_if_there_is_none_the_message_says_what_was_looked_for_and_where),
        TEST(test_sockets_that_are_others_are_mentioned),
        TEST(test_what_a_dead_host_left_is_passed_over),
        TEST(test_a_host_that_executes_itself_anew_is_asked_again),
        TEST(test_one_that_never_answers_is_given_up),
        TEST(test_neither_an_answer_without_an_end_nor_a_slow_one_holds_the_asker),
        TEST(test_a_reload_is_asked_for_once_and_waited_for),
        TEST(test_a_reload_that_fails_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
