/* What the log says of a request. */
#include "http/request_log.h"

#include "base/log.h"
#include "http/request.h"
#include "http/request_id.h"

void request_log(struct request *request, const char *event, const char *what)
{
    struct log_topic topic = {.event = event, .request_id = request_id(request)};
    char text[REQUEST_TEXT_BYTES];
    request_describe(request, text, sizeof(text));
    log_about(LOG_LEVEL_WARNING, &topic, "%s: %s", text, what);
}
