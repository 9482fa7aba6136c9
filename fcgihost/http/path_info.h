/* Works out SCRIPT_NAME and PATH_INFO from what the web server sent. Pure. */
#ifndef FCGIHOST_PATH_INFO_H
#define FCGIHOST_PATH_INFO_H

#include <stdbool.h>
#include <stddef.h>

/* Variables as the web server sent them; NULL: not sent. */
struct path_source {
    const char *script_name, *path_info, *request_uri, *document_uri;
    const char *script_filename, *server_software;
};

struct path_target {
    const char *script_name, *path_info;
    const char *file; /* the script file, of path_info_script */
};

/* How path_info_script finds out what is a file. */
struct path_files {
    bool (*is_file)(const char *path, const void *context);
    const void *context;
};

enum path_program { PATH_MODULE, PATH_SCRIPT, PATH_SCRIPT_ROOT };

/* What paths need to know of an application. */
struct path_route {
    const char *mount; /* NULL: automatic; "": the root; else "/prefix" */
    enum path_program program;
    const char *script; /* the file of PATH_SCRIPT; the web server may see it in another folder */
    const char *extensions; /* ".py .wsgi": how the names of other scripts end; NULL: none do */
    unsigned application;   /* index in the configuration */
    bool takes_no_body;     /* an authorizer */
    bool is_stream;         /* it reads a body as it comes */
};

struct path_routes {
    const struct path_route *items;
    size_t count;
    bool some_take_no_body;
    bool some_stream, all_stream;
};

/* Mistakes in the web server's configuration that its requests reveal. */
enum path_advice {
    PATH_ADVICE_NONE,
    PATH_ADVICE_MOUNT,          /* a proxy hides a prefix, which its URL reveals */
    PATH_ADVICE_PREFIX_TWICE,   /* PATH_INFO begins with SCRIPT_NAME again */
    PATH_ADVICE_LIGHTTPD_ROOT,  /* lighttpd's "/" without fix-root-scriptname */
    PATH_ADVICE_LIGHTTPD_SLASH, /* lighttpd's "/app/" instead of "/app" */
};

/* The size of the buffer that each of these functions needs. */
size_t path_info_buffer_bytes(const struct path_source *source);
/* Apache's mod_proxy_fcgi, told to send PATH_INFO, leaves it percent-encoded and cuts SCRIPT_NAME
 * in the wrong place: for /app/a%20b it sends "/app/a b" and "/a%20b". Corrects both if they look
 * like that; the results are in buffer, which must outlive source. false: source is unchanged. */
bool path_info_decode(struct path_source *source, char *buffer);
/* At the root: makes SCRIPT_NAME empty, and PATH_INFO begin with exactly one slash. With two, an
 * application that redirects to PATH_INFO would send its client to another server ("//evil/"). The
 * results point into target's strings or buffer, of strlen(target->path_info) + 2 bytes; path_info
 * may be in it. */
void path_info_clean_root(struct path_target *target, char *buffer);
/* Chooses the route with the longest mount that is a prefix of the path: SCRIPT_NAME becomes the
 * mount, PATH_INFO the rest. The results point into the mount, source or buffer. NULL: no mount
 * fits.
 *
 * Web servers split the path in different places, or not at all, but agree on the whole:
 * SCRIPT_NAME and PATH_INFO joined, or the one that equals the path in REQUEST_URI. If that is
 * below no mount (it was rewritten), the path in REQUEST_URI is used. */
const struct path_route *path_info_choose(const struct path_source *source,
                                        const struct path_routes *routes, char *buffer,
                                        struct path_target *target);
/* The same for a single mount ("" or "/prefix"). false: the path is not below it. */
bool path_info_mount(const struct path_source *source, const char *mount, char *buffer,
                   struct path_target *target);
/* For a script chosen by the web server: finds the file that SCRIPT_FILENAME names, and splits the
 * path after it. SCRIPT_FILENAME may be a proxy's URL, and the rest of the path may be in it, in
 * SCRIPT_NAME, or in REQUEST_URI alone. The results point into source or buffer. false: it names no
 * file; only target->file is set, to the path without a proxy's URL. */
bool path_info_script(const struct path_source *source, const struct path_files *files, char *buffer,
                    struct path_target *target);
/* Without a mount: keeps the web server's own split. If it sent no PATH_INFO it did not split, and
 * PATH_INFO becomes the whole path. files: NULL unless the application is a script file. */
void path_info_split(const struct path_source *source, const struct path_files *files, char *buffer,
                   struct path_target *target);
/* Advice for the administrator if no mount is configured; none where it might be wrong. *prefix:
 * the application's, in buffer. */
enum path_advice path_info_advise(const struct path_source *source, char *buffer,
                                const char **prefix);
/* Does the file name at the end of path have one of extensions, and something before it? */
bool path_info_has_extension(const char *path, const char *extensions);
/* The path of REQUEST_URI: without scheme, authority, query and fragment, percent-decoded once,
 * slashes merged, dots resolved. false if there is none ("*", "host:port", a NUL). out:
 * strlen(request_uri) + 1 bytes. */
bool path_info_decode_uri(const char *request_uri, char *out);

#endif
