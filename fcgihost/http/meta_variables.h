/* CGI meta-variables (RFC 3875, section 4.1): from what web servers send to what an application
 * must see. */
#ifndef FCGIHOST_META_VARIABLES_H
#define FCGIHOST_META_VARIABLES_H

#include "http/pathmap.h"
#include "http/request.h"

#include <stdbool.h>
#include <stdint.h>

/* Fills in content_length (-1 where it is not sent) and body_limit. A CONTENT_LENGTH that is no
 * number is found by meta_prepare. */
void meta_read_content_length(struct request *request, uint64_t body_limit);
/* An authorizer gets no body, whatever was announced: CONTENT_LENGTH becomes 0. auth_request asks
 * with the client's headers, and nginx 1.30 so announces over SCGI a body that it never sends.
 * Before meta_prepare. 0, or -1 when out of memory. */
int meta_drop_body(struct request *request, const struct path_routes *routes);
/* No CONTENT_LENGTH, and a method that has no body as a rule: not worth waiting for. */
bool meta_is_body_unlikely(const struct request *request);

enum meta_result {
    META_FINE,
    META_NO_METHOD,   /* nothing of a request was sent */
    META_BAD_LENGTH,  /* CONTENT_LENGTH is no number */
    META_TOO_LARGE,   /* CONTENT_LENGTH is beyond the limit */
    META_NOT_MOUNTED, /* the path is below no mount */
    META_NO_MEMORY,
};

/* Drops what must not reach an application, completes what must be there, chooses the route
 * (request->route) and maps SCRIPT_NAME, PATH_INFO and, for a script, SCRIPT_FILENAME.
 * Fills in is_head. */
enum meta_result meta_prepare(struct request *request, const struct path_routes *routes);
/* Is it an ordinary request that says FCGI_ROLE=AUTHORIZER, as the one by which a web server asks
 * before it serves another (nginx's auth_request, Caddy's forward_auth)? Any application but an
 * authorizer would let everybody pass by its 200. */
bool meta_asks_authorizer(const struct request *request);
/* "https" or "http". */
const char *meta_url_scheme(const struct request *request);

#endif
