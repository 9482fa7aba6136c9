/* The pages with which the host answers in the application's place. */
#include "http/error_page.h"

static const struct {
    const char *status, *text;
} pages[ERROR_PAGES] = {
    [ERROR_PAGE_BAD_LENGTH] = {"400 Bad Request", "Content-Length is not a number.\n"},
    [ERROR_PAGE_BODY_CUT] = {"400 Bad Request", "The request's body was cut short.\n"},
    [ERROR_PAGE_NO_METHOD] = {"400 Bad Request", "The request has no method.\n"},
    [ERROR_PAGE_NO_AUTHORIZER] = {"403 Forbidden", "No authorizer is configured for this path.\n"},
    [ERROR_PAGE_NOT_MOUNTED] = {"404 Not Found", "Nothing is here.\n"},
    [ERROR_PAGE_BODY_TOO_LARGE] = {"413 Request Entity Too Large",
                                   "The request's body is too large.\n"},
    [ERROR_PAGE_APPLICATION_FAILED] = {"500 Internal Server Error",
                                       "The application could not answer this request. The error "
                                       "log says why.\n"},
    [ERROR_PAGE_NO_PARAMETERS] = {"500 Internal Server Error",
                                  "The web server passes no request parameters.\n"},
    [ERROR_PAGE_NO_MEMORY] = {"500 Internal Server Error", "Out of memory.\n"},
    [ERROR_PAGE_NO_ROOM] = {"503 Service Unavailable",
                            "There is no room for this request now. Please try again.\n"},
    [ERROR_PAGE_NOT_LOADED] = {"503 Service Unavailable",
                               "The application is not ready. Please try again.\n"},
    [ERROR_PAGE_WAITED_TOO_LONG] = {"503 Service Unavailable",
                                    "Too many requests are being served. Please try again.\n"},
    [ERROR_PAGE_TIMEOUT] = {"504 Gateway Timeout", "The application took too long to answer.\n"},
};

const char *error_page_status(enum error_page page)
{
    return pages[page].status;
}

const char *error_page_text(enum error_page page)
{
    return pages[page].text;
}
