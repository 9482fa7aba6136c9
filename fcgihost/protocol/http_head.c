/* The head of a plain HTTP/1 request. */
#include "protocol/http_head.h"

#include <stdbool.h>
#include <string.h>

enum { METHOD_BYTES_MAX = 16 };

static enum http_verdict refuse(struct http_head *head, const char *reason)
{
    head->reason = reason;
    return HTTP_REFUSE;
}

/* Where the head ends: after CRLF CRLF, or LF LF, which RFC 9112, section 2.2, allows. 0: it is
 * incomplete. */
static size_t find_end(const char *text, size_t n)
{
    for (const char *p = text; (p = memchr(p, '\n', n - (size_t)(p - text))) != NULL;) {
        size_t left = n - (size_t)(++p - text);
        if (left >= 1 && p[0] == '\n')
            return (size_t)(p + 1 - text);
        if (left >= 2 && p[0] == '\r' && p[1] == '\n')
            return (size_t)(p + 2 - text);
    }
    return 0;
}

static bool is_version(const char *text, size_t n)
{
    if (n > 0 && text[n - 1] == '\r')
        n--;
    return n == 8 && memcmp(text, "HTTP/1.", 7) == 0 && (text[7] == '0' || text[7] == '1');
}

/* The request line, with its LF at end. */
static bool parse_line(const char *text, const char *end, struct http_head *head)
{
    const char *space = memchr(text, ' ', (size_t)(end - text));
    head->method = text;
    head->method_bytes = space != NULL ? (size_t)(space - text) : 0;
    if (space == NULL)
        return false;
    head->target = space + 1;
    const char *version = memchr(head->target, ' ', (size_t)(end - head->target));
    if (version == NULL || version == head->target)
        return false;
    head->target_bytes = (size_t)(version - head->target);
    return is_version(version + 1, (size_t)(end - version - 1));
}

/* How many bytes of the method, which ends at a space, have come. */
static bool is_method_possible(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && text[i] >= 'A' && text[i] <= 'Z')
        i++;
    return i <= METHOD_BYTES_MAX && (i == n || (i > 0 && text[i] == ' '));
}

enum http_verdict http_head_parse(const uint8_t *bytes, size_t n, size_t max_bytes,
                                  struct http_head *head)
{
    const char *text = (const char *)bytes;
    memset(head, 0, sizeof(*head));
    if (!is_method_possible(text, n))
        return refuse(head, "not HTTP");
    if (memchr(text, '\0', n) != NULL)
        return refuse(head, "NUL in an HTTP request's head");
    head->head_bytes = find_end(text, n);
    if (head->head_bytes > max_bytes || (head->head_bytes == 0 && n > max_bytes))
        return refuse(head, "its HTTP head is larger than [limits] request_head");
    if (head->head_bytes == 0)
        return HTTP_MORE;
    if (!parse_line(text, memchr(text, '\n', n), head))
        return refuse(head, "not an HTTP/1 request line");
    return HTTP_WHOLE;
}
