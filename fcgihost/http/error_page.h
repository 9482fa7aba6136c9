/* The pages with which the host answers in the application's place: their status and their text.
 * Pure. What exceptions of fcgihost stand for (503, redirects): python/fcgihost/errors.py. */
#ifndef FCGIHOST_ERROR_PAGE_H
#define FCGIHOST_ERROR_PAGE_H

enum error_page {
    ERROR_PAGE_BAD_LENGTH,
    ERROR_PAGE_BODY_CUT,
    ERROR_PAGE_NO_METHOD,
    ERROR_PAGE_NO_AUTHORIZER,
    ERROR_PAGE_NOT_MOUNTED,
    ERROR_PAGE_BODY_TOO_LARGE,
    ERROR_PAGE_APPLICATION_FAILED,
    ERROR_PAGE_NO_PARAMETERS,
    ERROR_PAGE_NO_MEMORY,
    ERROR_PAGE_NO_ROOM,
    ERROR_PAGE_NOT_LOADED,
    ERROR_PAGE_WAITED_TOO_LONG,
    ERROR_PAGE_TIMEOUT,
    ERROR_PAGES
};

/* "404 Not Found" */
const char *error_page_status(enum error_page page);
/* One line for the client, which says nothing of the host's inside. */
const char *error_page_text(enum error_page page);

#endif
