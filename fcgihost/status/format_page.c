/* The page for people: page.html, which make compiles in, with the plain text in it. */
#include "status/formats.h"

#include "status_page.h"

#include <string.h>

static void put_html(struct strbuf *text, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strchr("<>&\"'", bytes[i]) != NULL && bytes[i] != '\0')
            strbuf_format(text, "&#%d;", bytes[i]);
        else
            strbuf_put_bytes(text, bytes + i, 1);
}

void format_page(struct strbuf *text, const struct figures *figures)
{
    static const char marker[] = "@STATUS@";
    const char *at = strstr(status_page, marker);
    struct strbuf plain = {0};
    format_plain(&plain, figures);
    strbuf_put_bytes(text, status_page, (size_t)(at - status_page));
    put_html(text, plain.data, plain.used);
    strbuf_put(text, at + strlen(marker));
    text->has_failed |= plain.has_failed;
    strbuf_clear(&plain);
}
