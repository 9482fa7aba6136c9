/* The head of an SCGI request: a netstring of header names and values. */
#include "protocol/scgi_head.h"

#include <stdbool.h>
#include <string.h>

enum { LENGTH_DIGITS = 8 };

static enum scgi_verdict refuse(struct scgi_head *head, const char *reason)
{
    head->reason = reason;
    return SCGI_REFUSE;
}

struct scgi_pair scgi_head_next(const char **p)
{
    struct scgi_pair pair = {.name = *p};
    pair.name_bytes = strlen(pair.name);
    pair.value = pair.name + pair.name_bytes + 1;
    pair.value_bytes = strlen(pair.value);
    *p = pair.value + pair.value_bytes + 1;
    return pair;
}

static bool parse_content_length(const struct scgi_pair *pair, uint64_t *content_length)
{
    if (strcmp(pair->name, "CONTENT_LENGTH") != 0 || pair->value_bytes == 0 ||
        pair->value_bytes > 18 || strspn(pair->value, "0123456789") != pair->value_bytes)
        return false;
    *content_length = 0;
    for (const char *p = pair->value; *p != '\0'; p++)
        *content_length = *content_length * 10 + (uint64_t)(*p - '0');
    return true;
}

static enum scgi_verdict check_pairs(struct scgi_head *head)
{
    const char *p = head->pairs, *end = p + head->pairs_bytes;
    if (head->pairs_bytes == 0 || end[-1] != '\0')
        return refuse(head, "its headers do not end with NUL");
    size_t nul_count = 0;
    for (const char *nul = p; (nul = memchr(nul, 0, (size_t)(end - nul))) != NULL; nul++)
        nul_count++;
    if (nul_count % 2 != 0)
        return refuse(head, "a header without a value");
    struct scgi_pair pair = scgi_head_next(&p);
    if (!parse_content_length(&pair, &head->content_length))
        return refuse(head, "its first header is not CONTENT_LENGTH with a number");
    const char *content_length = pair.value;
    bool has_version = false;
    while (p < end) {
        pair = scgi_head_next(&p);
        if (pair.name_bytes == 0)
            return refuse(head, "a header without a name");
        if (strcmp(pair.name, "CONTENT_LENGTH") == 0 && strcmp(pair.value, content_length) != 0)
            return refuse(head, "CONTENT_LENGTH twice, with different values");
        if (strcmp(pair.name, "SCGI") == 0) {
            if (has_version || strcmp(pair.value, "1") != 0)
                return refuse(head, "its SCGI header is not 1");
            has_version = true;
        }
    }
    return has_version ? SCGI_WHOLE : refuse(head, "no SCGI header");
}

enum scgi_verdict scgi_head_parse(const uint8_t *bytes, size_t n, size_t max_bytes,
                                  struct scgi_head *head)
{
    memset(head, 0, sizeof(*head));
    size_t digits = 0, length = 0;
    while (digits < n && bytes[digits] >= '0' && bytes[digits] <= '9') {
        if (digits == LENGTH_DIGITS)
            return refuse(head, "its netstring's length has more than 8 digits");
        length = length * 10 + (size_t)(bytes[digits++] - '0');
    }
    if (digits > 1 && bytes[0] == '0')
        return refuse(head, "its netstring's length begins with 0");
    if (digits + 1 + length + 1 > max_bytes)
        return refuse(head, "its headers are larger than [limits] request_head");
    if (n == digits)
        return SCGI_MORE;
    if (digits == 0 || bytes[digits] != ':')
        return refuse(head, "not a netstring");
    head->head_bytes = digits + 1 + length + 1;
    if (n < head->head_bytes)
        return SCGI_MORE;
    if (bytes[head->head_bytes - 1] != ',')
        return refuse(head, "its netstring does not end with a comma");
    head->pairs = (const char *)bytes + digits + 1;
    head->pairs_bytes = length;
    return check_pairs(head);
}
