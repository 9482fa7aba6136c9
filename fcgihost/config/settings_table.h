/* The table of options: what a key is called, what it takes, where its value goes, what its help
 * says. */
#ifndef FCGIHOST_SETTINGS_TABLE_H
#define FCGIHOST_SETTINGS_TABLE_H

#include "config/config_value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_type {
    CONFIG_TYPE_TEXT,    /* char * */
    CONFIG_TYPE_PATH,    /* char *, absolute */
    CONFIG_TYPE_INTEGER, /* unsigned */
    CONFIG_TYPE_SIZE,    /* uint64_t, bytes */
    CONFIG_TYPE_TIME,    /* uint64_t, milliseconds */
    CONFIG_TYPE_OCTAL,   /* unsigned, or int whose -1 says that it was not given */
    CONFIG_TYPE_SWITCH,  /* bool */
    CONFIG_TYPE_WORD,    /* an enum whose constants stand in the order of the words */
    CONFIG_TYPE_LISTEN,  /* char *, its path absolute, that address_parse takes */
    CONFIG_TYPE_ALLOW,   /* char * that address_parse_block takes; several in one value are split */
    CONFIG_TYPE_WSGI,    /* char *, "package.module:callable" */
    CONFIG_TYPE_IMPORT,  /* char *, "module" or "module:function" */
    CONFIG_TYPE_NAME,    /* char *, one Python name */
    CONFIG_TYPE_MOUNT,   /* char *, without its trailing slash */
    CONFIG_TYPE_EXTENSIONS,  /* char *, ends of files' names with one space between */
    CONFIG_TYPE_DESTINATION, /* char *, a word or an absolute path */
    CONFIG_TYPE_VARIABLE,    /* struct config_variables; the key is any name, the value literal */
    CONFIG_TYPE_COUNT
};

struct config_option {
    const char *section;
    const char *key;
    enum config_type type;
    bool is_repeatable;       /* the value belongs into a struct config_list */
    const char *default_text; /* parsed like any other value; NULL: none */
    struct config_value_range range;
    const char *const *words; /* ends with NULL */
    size_t offset;    /* in struct config, or for [application] in struct config_application */
    const char *help; /* lines of at most 68 characters */
};

/* Its place in the table. */
size_t settings_table_place(const struct config_option *option);
enum { SETTINGS_TABLE_MAX = 96 };

size_t settings_table_count(void);
const struct config_option *settings_table_at(size_t place);
/* The NAME of "application NAME"; NULL of every other section. */
const char *settings_table_application_name(const char *section);
/* One blank between "application" and its name, in place. */
void settings_table_normalise_section(char *section);
/* NULL if there is none. */
const struct config_option *settings_table_find(const char *section, const char *key);
bool settings_table_has_section(const char *section);
/* Writes what to do about a key or section that does not exist: the likeliest one meant, or which
 * there are. */
void settings_table_suggest_key(const char *section, const char *key, char *text,
                                size_t text_bytes);
void settings_table_suggest_section(const char *section, char *text, size_t text_bytes);

/* Prints every option with section, default, range and help: for --help and for the documents'
 * check. format: "help" for people, "ini" for a commented fcgihost.ini. */
void settings_table_print(const char *format);

#endif
