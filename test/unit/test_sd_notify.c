/* links: sd_notify.c config_error.c */
/* What is sent to the socket that NOTIFY_SOCKET names, read from the other end. */
#include "unit.h"

#include "base/log.h"
#include "life/sd_notify.h"

#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int receiver = -1;
static char path[64], received[2048], warned[1024];

void log_warning(const char *event, const char *format, ...)
{
    va_list arguments;
    (void)event;
    va_start(arguments, format);
    vsnprintf(warned, sizeof(warned), format, arguments);
    va_end(arguments);
}

/* is_abstract: its name begins with @. */
static void open_receiver(bool is_abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(path, sizeof(path), "%sfcgihost-test-%ld", is_abstract ? "@" : "/tmp/",
             (long)getpid());
    memcpy(address.sun_path, path, strlen(path));
    if (is_abstract)
        address.sun_path[0] = '\0';
    receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    socklen_t bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + !is_abstract);
    assert_int_equal(bind(receiver, (struct sockaddr *)&address, bytes), 0);
    setenv("NOTIFY_SOCKET", path, 1);
}

static void close_receiver(void)
{
    close(receiver);
    if (path[0] == '/')
        unlink(path);
}

/* The next message; "": none. */
static const char *receive(void)
{
    ssize_t n = recv(receiver, received, sizeof(received) - 1, 0);
    received[n > 0 ? n : 0] = '\0';
    return received;
}

static void set_watchdog(const char *usec, long pid)
{
    char text[24];
    snprintf(text, sizeof(text), "%ld", pid);
    setenv("WATCHDOG_USEC", usec, 1);
    setenv("WATCHDOG_PID", text, 1);
}

/* The module's state lives as long as the program, so the order counts: not ready yet. */
static void test_a_start_gets_time_and_a_reload_before_it_is_ready_is_not_told(void **state)
{
    (void)state;
    open_receiver(false);
    sd_notify_init(false);
    assert_null(getenv("NOTIFY_SOCKET"));
    sd_notify_starting("shop: attempt 1 failed", 91000);
    assert_string_equal(receive(), "EXTEND_TIMEOUT_USEC=91000000\nSTATUS=shop: attempt 1 failed");
    sd_notify_starting("shop: loading", 0);
    assert_string_equal(receive(), "STATUS=shop: loading");
    sd_notify_reloading("again");
    assert_string_equal(receive(), "");
    close_receiver();
}

static void test_ready_reloading_and_stopping_over_an_abstract_socket(void **state)
{
    char wanted[128];
    (void)state;
    open_receiver(true);
    sd_notify_init(false);
    sd_notify_ready("serving");
    snprintf(wanted, sizeof(wanted), "READY=1\nMAINPID=%ld\nSTATUS=serving", (long)getpid());
    assert_string_equal(receive(), wanted);
    sd_notify_starting("an import: attempt 2 failed", 91000);
    assert_string_equal(receive(), "STATUS=an import: attempt 2 failed");
    sd_notify_reloading("now");
    assert_memory_equal(receive(), "RELOADING=1\nMONOTONIC_USEC=", 27);
    assert_non_null(strstr(received, "\nSTATUS=now"));
    sd_notify_stopping("SIGTERM", 7000);
    assert_string_equal(receive(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=7000000\nSTATUS=SIGTERM");
    close_receiver();
}

static void test_a_status_is_one_line(void **state)
{
    (void)state;
    open_receiver(false);
    sd_notify_init(false);
    sd_notify_starting("a\nREADY=1\tb", 0);
    assert_string_equal(receive(), "STATUS=a READY=1 b");
    close_receiver();
}

static void test_what_finds_no_room_is_sent_later_and_a_status_does_not_push_it_out(void **state)
{
    (void)state;
    open_receiver(false);
    sd_notify_init(false);
    for (int i = 0; i < 5000; i++)
        sd_notify_starting("filler", 0);
    sd_notify_ready("serving");
    sd_notify_starting("later", 0);
    while (strcmp(receive(), "STATUS=filler") == 0)
        continue;
    sd_notify_again();
    assert_memory_equal(receive(), "READY=1\n", 8);
    sd_notify_again();
    assert_string_equal(receive(), "");
    assert_string_equal(warned, "");
    close_receiver();
}

static void test_the_watchdog_is_ours_if_the_pid_is(void **state)
{
    (void)state;
    open_receiver(false);
    set_watchdog("3000000", (long)getpid());
    sd_notify_init(false);
    assert_int_equal(sd_notify_watchdog_ms(), 3000);
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    sd_notify_alive();
    assert_string_equal(receive(), "WATCHDOG=1");
    close_receiver();
}

static void test_a_worker_has_its_managers_watchdog_and_says_nothing(void **state)
{
    (void)state;
    open_receiver(false);
    set_watchdog("5000000", (long)getppid());
    sd_notify_init(true);
    assert_int_equal(sd_notify_watchdog_ms(), 5000);
    assert_null(getenv("NOTIFY_SOCKET"));
    close_receiver();
}

static void test_a_socket_that_is_gone_is_warned_of_once(void **state)
{
    (void)state;
    open_receiver(false);
    sd_notify_init(false);
    close_receiver();
    sd_notify_ready("serving");
    assert_non_null(strstr(warned, "no such file or directory"));
    warned[0] = '\0';
    sd_notify_ready("serving");
    assert_string_equal(warned, "");
}

static void test_an_address_of_another_kind_is_refused(void **state)
{
    static const char *const wrong[] = {"vsock:2:1234", "relative/path"};
    char long_path[200];
    (void)state;
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = '\0';
    for (size_t i = 0; i <= COUNT(wrong); i++) {
        warned[0] = '\0';
        setenv("NOTIFY_SOCKET", i < COUNT(wrong) ? wrong[i] : long_path, 1);
        sd_notify_init(false);
        assert_non_null(strstr(warned, "NOTIFY_SOCKET"));
        sd_notify_ready("serving");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_start_gets_time_and_a_reload_before_it_is_ready_is_not_told),
        cmocka_unit_test(test_ready_reloading_and_stopping_over_an_abstract_socket),
        cmocka_unit_test(test_a_status_is_one_line),
        cmocka_unit_test(test_what_finds_no_room_is_sent_later_and_a_status_does_not_push_it_out),
        cmocka_unit_test(test_the_watchdog_is_ours_if_the_pid_is),
        cmocka_unit_test(test_a_worker_has_its_managers_watchdog_and_says_nothing),
        cmocka_unit_test(test_a_socket_that_is_gone_is_warned_of_once),
        cmocka_unit_test(test_an_address_of_another_kind_is_refused),
    };

    return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
