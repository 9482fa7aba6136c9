/* One value on its way into struct config: checked by its type, made absolute, kept. */
#ifndef FCGIHOST_CONFIG_ASSIGNMENT_H
#define FCGIHOST_CONFIG_ASSIGNMENT_H

#include "config/config.h"
#include "config/config_value.h"
#include "config/settings_table.h"

struct config_assignment {
    const struct config_option *option;
    const char *section; /* as it was written: [application] may have a name */
    const char *key;     /* of CONFIG_TYPE_VARIABLE, whose option stands for any */
    const char *text;
    const char *folder; /* where a relative path starts; NULL leaves it relative */
    enum config_source source;
    struct config_value_reason reason; /* why the value was refused */
};

/* target: the struct that the option's offset counts in. 0, or -1 with setting->reason; then target
 * is as it was (a list may have got a part of several). */
int config_assignment_apply(struct config_assignment *setting, void *target);
/* Frees what the values of this option hold. */
void config_assignment_clear(const struct config_option *option, void *target);
/* Where relative paths start that are not from a file: the current folder, or that of the process's
 * first start. Caller frees; NULL with errno. */
char *config_assignment_find_folder(const struct config *config);
/* path behind folder unless it is absolute. Caller frees; NULL when out of memory. */
char *config_assignment_make_absolute(const char *path, const char *folder);

#endif
