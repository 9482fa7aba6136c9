/* links: pathmap.c
 * The input's lines: REQUEST_URI, SCRIPT_NAME, PATH_INFO, DOCUMENT_URI ("-": not sent), mount. */
#include "fuzz.h"

#include "pathmap.h"

enum { FIELDS = 5 };

static void check_uri(const char *uri)
{
    char *path = malloc(strlen(uri) + 1);
    MUST(path != NULL);
    if (pathmap_decode_uri(uri, path)) {
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
    char *buffer = malloc(pathmap_buffer_bytes(source));
    MUST(buffer != NULL);
    struct path_target target;
    if (pathmap_mount(source, mount, buffer, &target)) {
        MUST(strcmp(target.script_name, mount) == 0);
        MUST(mount[0] == '\0' || target.path_info[0] == '/' || target.path_info[0] == '\0');
    }
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
                                 .document_uri = fields[3]};
    if (fields[0] != NULL)
        check_uri(fields[0]);
    check_mount(&source, "");
    check_mount(&source, "/app");
    /* As the configuration lets it pass: with a slash before, without one behind. */
    if (fields[4] != NULL && fields[4][0] == '/' && fields[4][strlen(fields[4]) - 1] != '/')
        check_mount(&source, fields[4]);
    for (int i = 0; i < FIELDS; i++)
        free(fields[i]);
    return 0;
}
