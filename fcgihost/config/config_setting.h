/* One value on its way into struct config: checked by its type, made absolute, kept. */
#ifndef FCGIHOST_CONFIG_SETTING_H
#define FCGIHOST_CONFIG_SETTING_H

#include "config/config_options.h"
#include "config/config_value.h"
#include "config/settings.h"

struct config_setting {
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
int config_setting_apply(struct config_setting *setting, void *target);
/* Frees what the values of this option hold. */
void config_setting_clear(const struct config_option *option, void *target);
/* Where relative paths start that are not from a file: the current folder, or that of the process's
 * first start. Caller frees; NULL with errno. */
char *config_setting_find_folder(const struct config *config);
/* path behind folder unless it is absolute. Caller frees; NULL when out of memory. */
char *config_setting_make_absolute(const char *path, const char *folder);

#endif
