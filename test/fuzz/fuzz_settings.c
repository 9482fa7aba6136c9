/* A whole start's settings: an ini file and a command line. They are taken, or one line says why
 * not; the program that is executed anew with what was read then has the same settings, whatever
 * has become of the file.
 *
 * The input: arguments, one a line, up to an empty line; the rest is the file.
 * links: command_line.c config_load.c config_application.c config_environment.c config_error.c
 * config_file.c settings_table.c config_assignment.c config_text.c config_value.c address.c */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "config/command_line.h"
#include "config/config_load.h"
#include "config/settings_table.h"

enum { ARGUMENTS_MAX = 24 };

struct arguments {
    char *text;
    char *argv[ARGUMENTS_MAX + 4];
};

/* Their number of bytes, with the empty line behind them. */
static size_t split(struct arguments *arguments, const uint8_t *data, size_t n, char *file)
{
    size_t count = 0, used = 0;
    arguments->argv[count++] = (char *)(uintptr_t) "fcgihost";
    arguments->argv[count++] = (char *)(uintptr_t) "-c";
    arguments->argv[count++] = file;
    arguments->text = fuzz_text(data, n);
    for (char *line = arguments->text; used < n && count < ARGUMENTS_MAX;
         line = arguments->text + used) {
        const uint8_t *newline = memchr(data + used, '\n', n - used);
        size_t bytes = newline != NULL ? (size_t)(newline - data) - used : n - used;
        used += bytes + (newline != NULL);
        line[bytes] = '\0';
        if (bytes == 0)
            break;
        arguments->argv[count++] = line;
    }
    arguments->argv[count] = NULL;
    return used;
}

static void print_list(FILE *out, const struct config_list *list)
{
    fprintf(out, "%d:", list->source);
    for (size_t i = 0; i < list->count; i++)
        fprintf(out, " <%s>", list->items[i]);
}

static void print_value(FILE *out, const struct config_option *option, const void *target)
{
    const void *member = (const char *)target + option->offset;
    const struct config_variables *variables = member;
    fprintf(out, "%s.%s ", option->section, option->key);
    switch (option->is_repeatable && option->type != CONFIG_TYPE_VARIABLE ? CONFIG_TYPE_COUNT
                                                                          : option->type) {
    case CONFIG_TYPE_COUNT:
        print_list(out, member);
        break;
    case CONFIG_TYPE_VARIABLE:
        for (size_t i = 0; i < variables->count; i++)
            fprintf(out, "<%s=%s>", variables->items[i].name, variables->items[i].value);
        break;
    case CONFIG_TYPE_INTEGER:
    case CONFIG_TYPE_OCTAL:
    case CONFIG_TYPE_WORD:
        fprintf(out, "%u", *(const unsigned *)member);
        break;
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_TIME:
        fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)member);
        break;
    case CONFIG_TYPE_SWITCH:
        fprintf(out, "%d", *(const bool *)member);
        break;
    default:
        fprintf(out, "%s", *(char *const *)member != NULL ? *(char *const *)member : "(none)");
    }
    fputc('\n', out);
}

static bool is_applications(const struct config_option *option)
{
    return strcmp(option->section, "application") == 0;
}

/* Every value, as text; free it. */
static char *print(const struct config *config)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    MUST(out != NULL);
    for (size_t i = 0; i < settings_table_count(); i++)
        if (!is_applications(settings_table_at(i)))
            print_value(out, settings_table_at(i), config);
    for (size_t a = 0; a < config->application_count; a++) {
        const char *name = config->applications[a].name;
        fprintf(out, "[application %s]\n", name != NULL ? name : "");
        for (size_t i = 0; i < settings_table_count(); i++)
            if (is_applications(settings_table_at(i)))
                print_value(out, settings_table_at(i), &config->applications[a]);
    }
    MUST(fclose(out) == 0);
    return text;
}

static void check_message(const struct config_error *error)
{
    MUST(error->message[0] != '\0' && memchr(error->message, '\0', sizeof(error->message)) != NULL);
    for (const char *p = error->message; *p != '\0'; p++)
        MUST(((unsigned char)*p >= 0x20 && *p != 0x7f) ||
             *p == '\t'); /* one that a file has in a key */
}

/* The result of config_check; -2: the settings were not taken. */
static int read_all(char **argv, struct config *config, enum command *command)
{
    struct command_line line;
    struct config_error error = {.message = ""};
    enum command_line_result result = command_line_parse(argv, &line, config, &error);
    *command = line.command;
    command_line_clear(&line);
    if (result == COMMAND_LINE_OK && (error.message[0] = '\0', config_check(config, &error)) == 0)
        return 0;
    check_message(&error);
    MUST(result == COMMAND_LINE_OK || result == COMMAND_LINE_WRONG_USAGE ||
         result == COMMAND_LINE_WRONG_CONFIG);
    return result == COMMAND_LINE_OK ? -1 : -2;
}

static void check_anew(char **argv, const struct config *config, int result)
{
    struct config anew;
    struct config_error error;
    enum command command;
    char *folder = getcwd(NULL, 0);
    MUST(folder != NULL && config_init(&anew, &error) == 0);
    anew.kept = (struct config_kept){.is_set = true,
                                     .folder = folder,
                                     .path = config->file,
                                     .text = config->file_text,
                                     .bytes = config->file_bytes,
                                     .environment = config->environment_text,
                                     .environment_bytes = config->environment_bytes};
    MUST(read_all(argv, &anew, &command) == result);
    char *before = print(config), *after = print(&anew);
    MUST(strcmp(before, after) == 0);
    free(before);
    free(after);
    free(folder);
    config_clear(&anew);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, 0) == 0);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct arguments arguments, again;
    size_t used = split(&arguments, data, n, path);
    split(&again, data, n, path); /* getopt moves them about */
    MUST(pwrite(fd, data + used, n - used, 0) == (ssize_t)(n - used));
    struct config config;
    struct config_error error;
    enum command command;
    MUST(config_init(&config, &error) == 0);
    int result = read_all(arguments.argv, &config, &command);
    MUST(ftruncate(fd, 0) == 0); /* the file has changed meanwhile */
    if (result != -2 && command == COMMAND_SERVE)
        check_anew(again.argv, &config, result);
    config_clear(&config);
    free(arguments.text);
    free(again.text);
    return 0;
}
