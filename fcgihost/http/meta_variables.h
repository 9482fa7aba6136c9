/* CGI meta-variables (RFC 3875, section 4.1): turns what web servers send into what an application
 * must get. */
#ifndef FCGIHOST_META_VARIABLES_H
#define FCGIHOST_META_VARIABLES_H

#include "http/path_info.h"
#include "http/request.h"

#include <stdbool.h>
#include <stdint.h>

/* Sets content_length (-1: not sent) and body_limit. A CONTENT_LENGTH that is no number is reported
 * by meta_prepare. */
void meta_read_content_length(struct request *request, uint64_t body_limit);
/* For an authorizer: sets CONTENT_LENGTH to 0. nginx's auth_request passes the client's headers,
 * and so announces, over SCGI, a body that it never sends. Call it before meta_prepare. 0, or -1:
 * out of memory. */
int meta_drop_body(struct request *request, const struct path_routes *routes);
/* No CONTENT_LENGTH, and a method that rarely has a body, which is not said to be chunked: do not
 * wait for one. */
bool meta_is_body_unlikely(const struct request *request);
/* Is its CONTENT_LENGTH one that meta_prepare refuses, so that no body is waited for? */
bool meta_is_length_refused(const struct request *request);
/* Does the application read the body as it comes? */
bool meta_is_streamed(struct request *request, const struct path_routes *routes);

enum meta_result {
    META_FINE,
    META_NO_METHOD,   /* REQUEST_METHOD is missing: not a request */
    META_BAD_LENGTH,  /* CONTENT_LENGTH is no number */
    META_TOO_LARGE,   /* CONTENT_LENGTH is above the limit */
    META_NOT_MOUNTED, /* the path is below no mount */
    META_NO_MEMORY,
};

/* Drops variables that must not reach an application, adds those that PEP 3333 requires, chooses
 * request->route, sets SCRIPT_NAME, PATH_INFO and, for a script, SCRIPT_FILENAME, and is_head. */
enum meta_result meta_prepare(struct request *request, const struct path_routes *routes);
/* Is it an ordinary request with FCGI_ROLE=AUTHORIZER? Web servers that lack the role ask so
 * whether another request is allowed (nginx's auth_request, Caddy's forward_auth). The 200 of an
 * application that is no authorizer would allow everything. */
bool meta_asks_authorizer(const struct request *request);
/* "https" or "http". */
const char *meta_url_scheme(const struct request *request);

#endif
