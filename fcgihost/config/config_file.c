/* The ini file, on its way through inih into the settings. */
#include "config/config_file.h"

#include "config/config_application.h"
#include "config/config_assignment.h"
#include "config/config_load.h"
#include "config/config_text.h"
#include "config/config_value.h"
#include "config/settings_table.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HINT_SIZE = 512,
    WHERE_SIZE = 512,
    /* How much inih keeps of a section's or a key's name, and how much of a line it leaves free. */
    INIH_NAME_MAX = 49,
    INIH_LINE_SPARE = 3
};

/* The ini file. inih cuts what is too long, reads on after an error, takes an indented line for one
 * more value of the key before, and gives no line number: so the reader hands it only clean, short
 * lines, and looks at the sections itself. */

struct ini_file {
    struct config *config;
    struct config_error *error;
    FILE *stream;
    const char *path; /* as it was given, for messages */
    char *folder;
    char *line; /* of getline */
    size_t line_bytes;
    const char *text; /* what of it inih got last */
    unsigned line_number;
    bool has_failed;
    bool is_section_passed; /* it is unknown, which has been reported: so are its keys */
    char section[INIH_NAME_MAX + 1];
    unsigned section_lines[SETTINGS_TABLE_MAX]; /* by the place of the section's first option; 0:
                                                   not yet */
    unsigned key_lines[SETTINGS_TABLE_MAX];
    unsigned *variable_lines; /* of config->environment's items */
};

__attribute__((format(printf, 2, 3))) static int fail(struct ini_file *file, const char *format,
                                                      ...)
{
    char reason[CONFIG_MESSAGE_SIZE / 2];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    file->has_failed = true;
    return config_error_set(file->error, "%s:%u: %s", file->path, file->line_number, reason);
}

static int refuse_repeated(struct ini_file *file, const char *quoted, unsigned line)
{
    return fail(file, "%s: repeated section, the first is in line %u: move these keys there",
                quoted, line);
}

/* Each section about an application has keys of its own. */
static void forget_application_keys(struct ini_file *file)
{
    for (size_t i = 0; i < settings_table_count(); i++)
        if (strcmp(settings_table_at(i)->section, "application") == 0)
            file->key_lines[i] = 0;
}

/* [application NAME], each name once: there is an application from here on. */
static int begin_application(struct ini_file *file, const char *quoted)
{
    const struct config_option *option = settings_table_find(file->section, "wsgi");
    struct config_application *application =
        config_application_target(file->config, option, file->section);

    if (application == NULL)
        return fail(file, "%s: out of memory", quoted);
    if (application->line != 0)
        return refuse_repeated(file, quoted, application->line);
    application->line = file->line_number;
    return 0;
}

static int check_section(struct ini_file *file, char *text)
{
    char quoted[CONFIG_VALUE_QUOTED_SIZE];
    char hint[HINT_SIZE];
    size_t length = strlen(text);
    size_t place = 0;

    config_value_quote(text, quoted);
    if (strchr(text, ']') != text + length - 1)
        return fail(file, "%s: not a section: write only [NAME] in this line", quoted);
    if (length - 2 > INIH_NAME_MAX) {
        return fail(file, "%s: a section's name has at most %d characters: shorten it", quoted,
                    INIH_NAME_MAX);
    }
    snprintf(file->section, sizeof(file->section), "%.*s", (int)length - 2, text + 1);
    settings_table_normalise_section(file->section);
    if (!settings_table_has_section(file->section)) {
        settings_table_suggest_section(file->section, hint, sizeof(hint));
        return fail(file, "%s: unknown section: %s", quoted, hint);
    }
    forget_application_keys(file);
    if (settings_table_application_name(file->section) != NULL)
        return begin_application(file, quoted);
    while (strcmp(settings_table_at(place)->section, file->section) != 0)
        place++;
    if (file->section_lines[place] != 0)
        return refuse_repeated(file, quoted, file->section_lines[place]);
    file->section_lines[place] = file->line_number;
    return 0;
}

static int check_key(struct ini_file *file, const char *text)
{
    char quoted[CONFIG_VALUE_QUOTED_SIZE];
    size_t length = strcspn(text, "=:");

    config_value_quote(text, quoted);
    if (text[length] != '=') {
        return fail(file,
                    "\"%s\": no \"=\" after a key: write KEY = VALUE (a value does not go on in "
                    "the next line, a repeatable key is written again)",
                    quoted);
    }
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    if (length == 0)
        return fail(file, "\"%s\": no key before the \"=\": write KEY = VALUE", quoted);
    if (length > INIH_NAME_MAX && strcmp(file->section, "environment") == 0) {
        return fail(file,
                    "\"%.*s...\": a name has at most %d characters here: write it into [server] "
                    "environment_file, or give it with --set",
                    INIH_NAME_MAX, quoted, INIH_NAME_MAX);
    }
    if (length > INIH_NAME_MAX) {
        return fail(file, "\"%s\": a key has at most %d characters: shorten it", quoted,
                    INIH_NAME_MAX);
    }
    if (file->section[0] == '\0') {
        return fail(file, "\"%s\": a key outside any section: write [SECTION] in a line above it",
                    quoted);
    }
    return 0;
}

/* The same rule as inih's: a semicolon after white space. Done here, since inih can be built
 * without it. */
static void cut_comment(char *text)
{
    for (char *at = text; *at != '\0'; at++) {
        if (*at == ';' && at > text && isspace((unsigned char)at[-1])) {
            *at = '\0';
            return;
        }
    }
}

static int check_bytes(struct ini_file *file, size_t length)
{
    if (file->line_number == 1 && length >= 2 &&
        (memcmp(file->line, "\xff\xfe", 2) == 0 || memcmp(file->line, "\xfe\xff", 2) == 0))
        return fail(file,
                    "begins with the byte order mark (BOM) of UTF-16: save the file as UTF-8");
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)file->line[i];
        bool is_line_end = byte == '\n' || (byte == '\r' && i + 2 >= length);

        if ((byte < 0x20 || byte == 0x7f) && byte != '\t' && !is_line_end)
            return fail(file, "control character \\x%02x in column %zu: remove it", byte, i + 1);
    }
    return 0;
}

/* The line without its indentation, comment and trailing space; NULL after an error. "" for an
 * empty one. */
static char *clean_line(struct ini_file *file, size_t length, int room)
{
    char *text = file->line;

    if (check_bytes(file, length) < 0)
        return NULL;
    if (file->line_number == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    text = config_value_trim(text);
    if (*text == ';' || *text == '#') {
        *text = '\0';
        return text;
    }
    if (*text == '[' || strcmp(file->section, "environment") != 0)
        cut_comment(text);
    text = config_value_trim(text);
    length = strlen(text);
    if (length + INIH_LINE_SPARE > (size_t)room) {
        fail(file,
             "a line of %zu characters, the longest allowed is %d: shorten the value, or give it "
             "with --set on the command line",
             length, room - INIH_LINE_SPARE);
        return NULL;
    }
    return text;
}

/* true: all problems are wanted, and this one was reported: go on. false: stop at it. */
static bool report(struct ini_file *file)
{
    struct config *config = file->config;

    if (config->report == NULL)
        return false;
    config->report(file->error);
    config->reported++;
    file->has_failed = false;
    return true;
}

/* 1: text, which clean_line returned, is for inih; 0: it is passed over; -1 after an error. */
static int check_line(struct ini_file *file, char *text)
{
    if (*text == '[') {
        file->is_section_passed = false;
        file->is_section_passed = check_section(file, text) < 0;
        return file->is_section_passed ? -1 : 1;
    }
    if (file->is_section_passed)
        return 0;
    return *text != '\0' && check_key(file, text) < 0 ? -1 : 1;
}

/* An ini_reader: the next line, or NULL at the end and after the first error. */
static char *read_line(char *line, int room, void *user)
{
    struct ini_file *file = user;

    while (!file->has_failed) {
        ssize_t length;
        char *text;

        file->line_number++;
        errno = 0;
        length = getline(&file->line, &file->line_bytes, file->stream);
        if (length < 0) {
            if (!feof(file->stream))
                fail(file, "can't be read: %s", config_error_describe(errno));
            return NULL;
        }
        text = clean_line(file, (size_t)length, room);
        int verdict = text != NULL ? check_line(file, text) : -1;
        if (verdict > 0) {
            file->text = text;
            memcpy(line, text, strlen(text) + 1);
            return line;
        }
        if (verdict < 0 && !report(file))
            return NULL;
    }
    return NULL;
}

/* A quote would be part of the value; nobody means that. */
static int refuse_quotes(struct ini_file *file, const char *key, const char *value)
{
    size_t length = strlen(value);

    if (length < 2 || (value[0] != '"' && value[0] != '\'') || value[length - 1] != value[0])
        return 0;
    return fail(file,
                "[%s] %s: the value is in quotes, which would be part of it: write it without them",
                file->section, key);
}

static int refuse_duplicate(struct ini_file *file, const char *key, unsigned line)
{
    return fail(file, "[%s] %s: duplicate key, the first is in line %u: remove one of the two",
                file->section, key, line);
}

/* [environment]: each name once. The file is read first, so all variables so far are its own. */
static int check_variable(struct ini_file *file, const char *key)
{
    const struct config_variables *variables = &file->config->environment;
    unsigned *lines =
        realloc(file->variable_lines, (variables->count + 1) * sizeof(*file->variable_lines));

    if (lines == NULL)
        return fail(file, "[environment] %s: out of memory", key);
    file->variable_lines = lines;
    lines[variables->count] = file->line_number;
    for (size_t i = 0; i < variables->count; i++)
        if (strcmp(variables->items[i].name, key) == 0)
            return refuse_duplicate(file, key, lines[i]);
    return 0;
}

/* 0, or -1 after an error. */
static int apply_value(struct ini_file *file, const char *key, const char *value)
{
    const char *section = file->section;
    struct config_assignment setting = {
        .option = settings_table_find(section, key),
        .section = section,
        .key = key,
        .text = value,
        .folder = file->folder,
        .source = CONFIG_FROM_FILE,
    };
    char where[WHERE_SIZE];
    unsigned *first_line;

    if (setting.option == NULL) {
        char hint[HINT_SIZE];

        settings_table_suggest_key(section, key, hint, sizeof(hint));
        fail(file, "[%s] %s: unknown key: %s", section, key, hint);
        return -1;
    }
    if (setting.option->type == CONFIG_TYPE_VARIABLE ? check_variable(file, key) < 0
                                                     : refuse_quotes(file, key, value) < 0)
        return -1;
    first_line = &file->key_lines[setting.option - settings_table_at(0)];
    if (*first_line != 0 && !setting.option->is_repeatable)
        return refuse_duplicate(file, key, *first_line);
    *first_line = file->line_number;
    snprintf(where, sizeof(where), "%s:%u: [%s] %s", file->path, file->line_number, section, key);
    file->has_failed = config_apply(file->config, &setting, where, file->error) < 0;
    if (strcmp(section, "application") == 0 && !file->has_failed) {
        config_find_application(file->config, NULL)->line =
            file->section_lines[settings_table_find(section, "wsgi") - settings_table_at(0)];
    }
    return file->has_failed ? -1 : 0;
}

/* The value of a variable, of which inih would cut what looks like a comment. */
static const char *find_literal(const struct ini_file *file)
{
    const char *value = strchr(file->text, '=') + 1; /* check_key has seen it */

    while (isspace((unsigned char)*value))
        value++;
    return value;
}

/* An ini_handler: 1, or 0 after an error. inih calls it for the line that was read last; after an
 * error none is read. Its section is as it was written, file->section has it in one way. */
static int take_value(void *user, const char *raw_section, const char *key, const char *value)
{
    struct ini_file *file = user;

    (void)raw_section;
    if (strcmp(file->section, "environment") == 0)
        value = find_literal(file);
    if (apply_value(file, key, value) == 0)
        return 1;
    return report(file);
}

static int parse_ini(struct ini_file *file)
{
    int result = ini_parse_stream(read_line, file, take_value, file);

    free(file->line);
    free(file->variable_lines);
    if (file->has_failed || file->config->reported > 0)
        return -1;
    if (result != 0) {
        /* No line that the reader lets through is known to get here. */
        file->line_number = result > 0 ? (unsigned)result : file->line_number;
        return fail(file, "not understood: write KEY = VALUE, [SECTION] or a comment");
    }
    free(file->config->key_lines);
    file->config->file = strdup(file->path);
    file->config->key_lines = malloc(sizeof(file->key_lines));
    if (file->config->file == NULL || file->config->key_lines == NULL)
        return config_error_set(file->error, "out of memory");
    memcpy(file->config->key_lines, file->key_lines, sizeof(file->key_lines));
    return 0;
}

/* Caller frees; NULL with errno. */
static char *folder_of(const struct config *config, const char *path)
{
    char *current = config_assignment_find_folder(config);
    char *absolute = current != NULL ? config_assignment_make_absolute(path, current) : NULL;
    char *slash = absolute != NULL ? strrchr(absolute, '/') : NULL;

    free(current);
    if (slash != NULL)
        slash[slash == absolute] = '\0';
    return absolute;
}

int config_read_text(struct config *config, const char *path, const char *text, size_t bytes,
                     struct config_error *error)
{
    struct ini_file file = {.config = config, .error = error, .path = path};
    int result = -1;

    file.folder = folder_of(config, path);
    /* fmemopen() only reads it. */
    file.stream = fmemopen((void *)(uintptr_t)text, bytes, "r");
    if (file.folder == NULL)
        config_error_set(error, "%s: can't determine the current folder: %s", path,
                         config_error_describe(errno));
    else if (file.stream == NULL)
        config_error_set(error, "out of memory");
    else
        result = parse_ini(&file);
    free(file.folder);
    if (file.stream != NULL)
        fclose(file.stream);
    return result;
}

int config_read_file(struct config *config, const char *path, struct config_error *error)
{
    size_t bytes;
    char *text = config_text_read(path, &bytes);

    if (text == NULL && errno == EISDIR)
        return config_error_set(error, "%s: is a folder: give the path of an ini file in it", path);
    if (text == NULL) {
        return config_error_set(error, "%s: can't be read: %s: check the path and its permissions",
                                path, config_error_describe(errno));
    }
    free(config->file_text);
    config->file_text = text;
    config->file_bytes = bytes;
    return config_read_text(config, path, text, bytes, error);
}
