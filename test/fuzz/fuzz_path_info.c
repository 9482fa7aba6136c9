/* The input's lines: REQUEST_URI, SCRIPT_NAME, PATH_INFO, DOCUMENT_URI ("-": not sent), mount,
 * SCRIPT_FILENAME, SERVER_SOFTWARE.
 * links: path_info.c */
#include "fuzz.h"

#include "http/path_info.h"

enum { FIELDS = 7 };

static void check_uri(const char *uri)
{
    char *path = malloc(strlen(uri) + 1);
    MUST(path != NULL);
    if (path_info_decode_uri(uri, path)) {
        size_t n = strlen(path);
        MUST(path[0] == '/');
        MUST(strstr(path, "//") == NULL && strstr(path, "/./") == NULL);
        MUST(strstr(path, "/../") == NULL);
        MUST(n < 2 || strcmp(path + n - 2, "/.") != 0);
        MUST(n < 3 || strcmp(path + n - 3, "/..") != 0);
    }
    free(path);
}

static void check_mount(const struct path_source *source, const char *mount)
{
    char *buffer = malloc(path_info_buffer_bytes(source));
    MUST(buffer != NULL);
    struct path_target target;
    if (path_info_mount(source, mount, buffer, &target)) {
        MUST(strcmp(target.script_name, mount) == 0);
        MUST(mount[0] == '\0' || target.path_info[0] == '/' || target.path_info[0] == '\0');
    }
    free(buffer);
}

static bool ends_as_a_script(const char *path, const void *context)
{
    (void)context;
    size_t n = strlen(path);
    return n > 3 && strcmp(path + n - 3, ".py") == 0;
}

static void check_script(const struct path_source *source)
{
    struct path_files files = {ends_as_a_script, NULL};
    char *buffer = malloc(path_info_buffer_bytes(source));
    MUST(buffer != NULL);
    struct path_target target = {NULL, NULL, NULL};
    if (path_info_script(source, &files, buffer, &target))
        MUST(ends_as_a_script(target.file, NULL));
    path_info_split(source, &files, buffer, &target);
    MUST(target.script_name != NULL && target.path_info != NULL);
    path_info_split(source, NULL, buffer, &target);
    MUST(target.script_name != NULL && target.path_info != NULL);
    free(buffer);
}

/* What meta_variables.c does with any of the above. */
static void check_root(const struct path_source *sent)
{
    struct path_source source = *sent;
    size_t n = path_info_buffer_bytes(&source);
    char *buffer = malloc(n), *spare = malloc(n);
    MUST(buffer != NULL && spare != NULL);
    struct path_target target = {NULL, NULL, NULL};
    path_info_decode(&source, spare);
    path_info_split(&source, NULL, buffer, &target);
    path_info_clean_root(&target, spare);
    MUST(target.script_name[0] == '\0'
             ? target.path_info[0] == '/' && target.path_info[1] != '/'
             : target.script_name[strspn(target.script_name, "/")] != '\0');
    free(spare);
    free(buffer);
}

static void check_advice(const struct path_source *source)
{
    char *buffer = malloc(path_info_buffer_bytes(source));
    MUST(buffer != NULL);
    const char *prefix;
    if (path_info_advise(source, buffer, &prefix) == PATH_ADVICE_MOUNT)
        MUST(prefix[0] == '/' && prefix[1] != '\0' &&
             strncmp(source->script_name, prefix, strlen(prefix)) == 0);
    free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *fields[FIELDS] = {NULL};
    const uint8_t *p = data, *end = data + n;
    for (int i = 0; i < FIELDS; i++) {
        const uint8_t *newline = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        const uint8_t *field_end = newline != NULL ? newline : end;
        if (p == end || *p != '-')
            fields[i] = fuzz_text(p, (size_t)(field_end - p));
        p = newline != NULL ? newline + 1 : end;
    }
    struct path_source source = {.request_uri = fields[0],
                                 .script_name = fields[1],
                                 .path_info = fields[2],
                                 .document_uri = fields[3],
                                 .script_filename = fields[5],
                                 .server_software = fields[6]};
    if (fields[0] != NULL)
        check_uri(fields[0]);
    check_mount(&source, "");
    check_mount(&source, "/app");
    check_script(&source);
    check_root(&source);
    check_advice(&source);
    /* As the configuration lets it pass: with a slash before, without one behind. */
    if (fields[4] != NULL && fields[4][0] == '/' && fields[4][strlen(fields[4]) - 1] != '/')
        check_mount(&source, fields[4]);
    for (int i = 0; i < FIELDS; i++)
        free(fields[i]);
    return 0;
}
