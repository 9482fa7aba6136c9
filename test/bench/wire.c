/* FastCGI, SCGI and HTTP as the benchmark's client builds and checks them. */
#include "wire.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };
enum { RECORD_BYTES = 32768 }; /* as nginx cuts a body */

static const char browser[] = "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 "
                              "Firefox/115.0";
static const char accepted[] = "text/html,application/xhtml+xml,application/xml;q=0.9,"
                               "image/avif,image/webp,*/*;q=0.8";
static const char cookie[] = "sessionid=8f3c1b2a9d7e4f60a1b2c3d4e5f60718; "
                             "csrftoken=q1w2e3r4t5y6u7i8o9p0";
/* Of a rich request: 10 cookies more, and headers more, so that there are 30. */
static const char more_cookies[] =
    "; theme=dark; lang=en-GB; consent=necessary%2Cstatistics; seen=2026-11-28; cart=0; "
    "_ga=GA1.1.1213141516.1700000000; _gid=GA1.1.171819.1700000000; tz=Europe%2FBerlin; "
    "ab=variant-b; last=%2Fshop%2Fitems";
static const char *const more_headers[][2] = {
    {"Accept-Charset", "utf-8"},
    {"Cache-Control", "max-age=0"},
    {"DNT", "1"},
    {"Forwarded", "for=192.0.2.7;proto=https"},
    {"If-Modified-Since", "Sat, 28 Nov 2020 12:00:00 GMT"},
    {"If-None-Match", "\"8f3c1b2a\""},
    {"Origin", "http://localhost"},
    {"Pragma", "no-cache"},
    {"Priority", "u=0, i"},
    {"Referer", "http://localhost/shop/items"},
    {"Sec-CH-UA", "\"Firefox\";v=\"115\""},
    {"Sec-CH-UA-Mobile", "?0"},
    {"Sec-CH-UA-Platform", "\"Linux\""},
    {"Sec-Fetch-Dest", "document"},
    {"Sec-Fetch-Mode", "navigate"},
    {"Sec-Fetch-Site", "same-origin"},
    {"Sec-Fetch-User", "?1"},
    {"Sec-GPC", "1"},
    {"Upgrade-Insecure-Requests", "1"},
    {"Via", "1.1 proxy.example"},
    {"X-Forwarded-For", "192.0.2.7"},
    {"X-Forwarded-Host", "localhost"},
    {"X-Request-Id", "5f0c2d3e4b6a798801234567"},
};
enum { MORE_HEADERS = sizeof(more_headers) / sizeof(*more_headers) };

/* -------------------------------------------------------------------------------
 * The request */

static void put_length(FILE *out, size_t n)
{
    if (n >= 0x80)
        for (int shift = 24; shift > 0; shift -= 8)
            fputc((int)((n >> shift | (shift == 24 ? 0x80 : 0)) & 0xff), out);
    fputc((int)(n & 0xff), out);
}

static void put_parameter(FILE *out, enum wire_protocol protocol, const char *name,
                          const char *value)
{
    if (protocol == WIRE_FASTCGI) {
        put_length(out, strlen(name));
        put_length(out, strlen(value));
        fprintf(out, "%s%s", name, value);
    } else {
        fprintf(out, "%s%c%s%c", name, '\0', value, '\0');
    }
}

/* By the name that CGI has for it. */
static void put_header(FILE *out, enum wire_protocol protocol, const char *name, const char *value)
{
    char variable[64];
    snprintf(variable, sizeof(variable), "HTTP_%s", name);
    for (char *c = variable; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    put_parameter(out, protocol, variable, value);
}

/* What nginx sends for a browser's request with its fastcgi_params, or scgi_params. */
static void put_parameters(FILE *out, const struct wire_exchange *exchange)
{
    char length[24], cookies[512];
    snprintf(cookies, sizeof(cookies), "%s%s", cookie, exchange->is_rich ? more_cookies : "");
    snprintf(length, sizeof(length), "%zu", exchange->upload_bytes);
    bool is_post = exchange->upload_bytes > 0;
    const char *parameters[][2] = {
        {"CONTENT_LENGTH", length},
        {"QUERY_STRING", ""},
        {"REQUEST_METHOD", is_post ? "POST" : "GET"},
        {"CONTENT_TYPE", is_post ? "application/octet-stream" : ""},
        {"SCRIPT_NAME", ""},
        {"PATH_INFO", exchange->path},
        {"REQUEST_URI", exchange->path},
        {"DOCUMENT_URI", exchange->path},
        {"DOCUMENT_ROOT", "/usr/share/nginx/html"},
        {"SERVER_PROTOCOL", "HTTP/1.1"},
        {"REQUEST_SCHEME", "http"},
        {"GATEWAY_INTERFACE", "CGI/1.1"},
        {"SERVER_SOFTWARE", "nginx/1.22.1"},
        {"REMOTE_ADDR", "127.0.0.1"},
        {"REMOTE_PORT", "43210"},
        {"SERVER_ADDR", "127.0.0.1"},
        {"SERVER_PORT", "80"},
        {"SERVER_NAME", "localhost"},
        {"REDIRECT_STATUS", "200"},
        {"HTTP_HOST", "localhost"},
        {"HTTP_USER_AGENT", browser},
        {"HTTP_ACCEPT", accepted},
        {"HTTP_ACCEPT_LANGUAGE", "en-GB,en;q=0.5"},
        {"HTTP_ACCEPT_ENCODING", "gzip, deflate, br"},
        {"HTTP_CONNECTION", "keep-alive"},
        {"HTTP_COOKIE", cookies},
    };
    for (size_t i = 0; i < sizeof(parameters) / sizeof(*parameters); i++) {
        put_parameter(out, exchange->protocol, parameters[i][0], parameters[i][1]);
        if (i == 0 && exchange->protocol == WIRE_SCGI)
            put_parameter(out, exchange->protocol, "SCGI", "1");
    }
    for (size_t i = 0; exchange->is_rich && i < MORE_HEADERS; i++)
        put_header(out, exchange->protocol, more_headers[i][0], more_headers[i][1]);
}

static void put_record(FILE *out, int type, const char *content, size_t n)
{
    size_t padding = (8 - n % 8) % 8;
    char header[8] = {1, (char)type, 0, 1, (char)(n >> 8), (char)n, (char)padding, 0};
    fwrite(header, 1, sizeof(header), out);
    fwrite(content, 1, n, out);
    fwrite("\0\0\0\0\0\0\0", 1, padding, out);
}

static void put_stream(FILE *out, int type, const char *content, size_t n)
{
    for (size_t at = 0; at < n; at += RECORD_BYTES)
        put_record(out, type, content + at, n - at < RECORD_BYTES ? n - at : RECORD_BYTES);
    put_record(out, type, "", 0);
}

static void put_http_request(FILE *out, const struct wire_exchange *exchange)
{
    fprintf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %s\r\nAccept: %s\r\n",
            exchange->upload_bytes > 0 ? "POST" : "GET", exchange->path, browser, accepted);
    fprintf(out, "Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n");
    fprintf(out, "Cookie: %s%s\r\nConnection: %s\r\n", cookie,
            exchange->is_rich ? more_cookies : "", exchange->is_kept ? "keep-alive" : "close");
    for (size_t i = 0; exchange->is_rich && i < MORE_HEADERS; i++)
        fprintf(out, "%s: %s\r\n", more_headers[i][0], more_headers[i][1]);
    if (exchange->upload_bytes > 0)
        fprintf(out, "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n",
                exchange->upload_bytes);
    fprintf(out, "\r\n");
}

static void put_request(FILE *out, const struct wire_exchange *exchange, const char *parameters,
                        size_t parameters_bytes, const char *upload)
{
    size_t n = exchange->upload_bytes;
    switch (exchange->protocol) {
    case WIRE_FASTCGI:
        put_record(out, BEGIN_REQUEST, (char[8]){0, 1, (char)exchange->is_kept}, 8);
        put_stream(out, PARAMS, parameters, parameters_bytes);
        put_stream(out, STDIN, upload, n);
        break;
    case WIRE_SCGI:
        fprintf(out, "%zu:", parameters_bytes);
        fwrite(parameters, 1, parameters_bytes, out);
        fputc(',', out);
        fwrite(upload, 1, n, out);
        break;
    case WIRE_HTTP:
        put_http_request(out, exchange);
        fwrite(upload, 1, n, out);
        break;
    }
}

char *wire_build_request(const struct wire_exchange *exchange, size_t *request_bytes)
{
    char *parameters = NULL, *request = NULL, *upload = malloc(exchange->upload_bytes + 1);
    size_t parameters_bytes = 0;
    FILE *head = open_memstream(&parameters, &parameters_bytes);
    FILE *out = open_memstream(&request, request_bytes);
    if (upload != NULL && head != NULL && out != NULL) {
        for (size_t i = 0; i < exchange->upload_bytes; i++)
            upload[i] = (char)('a' + i % 26);
        put_parameters(head, exchange);
        fflush(head);
        put_request(out, exchange, parameters, parameters_bytes, upload);
    }
    bool is_whole = upload != NULL && head != NULL && out != NULL && !ferror(head);
    if (head != NULL)
        fclose(head);
    if (out != NULL && fclose(out) != 0)
        is_whole = false;
    free(parameters);
    free(upload);
    if (!is_whole) {
        free(request);
        return NULL;
    }
    return request;
}

/* -------------------------------------------------------------------------------
 * The response */

static enum wire_verdict wrong(struct wire_response *response, const char *problem)
{
    response->problem = problem;
    return WIRE_WRONG;
}

/* The value of a header in a head that ends with NUL, or NULL. */
static const char *find_header(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = head; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncasecmp(line, name, n) == 0 && line[n] == ':')
            return line + n + 1 + strspn(line + n + 1, " ");
    }
    return NULL;
}

static enum wire_verdict check_head(struct wire_response *response,
                                    const struct wire_exchange *exchange)
{
    bool is_http = exchange->protocol == WIRE_HTTP;
    if (is_http && strncmp(response->head, "HTTP/1.", 7) != 0)
        return wrong(response, "not an HTTP response");
    const char *status =
        is_http ? response->head + strlen("HTTP/1.1 ") : find_header(response->head, "Status");
    if ((status != NULL ? strtol(status, NULL, 10) : 200) != exchange->expected_status)
        return wrong(response, "another status than expected");
    const char *length = find_header(response->head, "Content-Length");
    if (length != NULL && strtoull(length, NULL, 10) != exchange->expected_bytes)
        return wrong(response, "another Content-Length than expected");
    if (is_http && length == NULL)
        return wrong(response, "no Content-Length");
    return WIRE_MORE;
}

static enum wire_verdict receive_body(struct wire_response *response,
                                      const struct wire_exchange *exchange, const char *bytes,
                                      size_t n)
{
    if (n > exchange->expected_bytes - response->body_bytes)
        return wrong(response, "a longer body than expected");
    if (n > 0 && memcmp(bytes, exchange->expected_body + response->body_bytes, n) != 0)
        return wrong(response, "another body than expected");
    response->body_bytes += n;
    return WIRE_MORE;
}

static enum wire_verdict receive_content(struct wire_response *response,
                                         const struct wire_exchange *exchange, const char *bytes,
                                         size_t n)
{
    if (!response->is_in_body) {
        size_t before = response->head_bytes, room = WIRE_HEAD_BYTES - 1 - before;
        size_t taken = n < room ? n : room;
        memcpy(response->head + before, bytes, taken);
        response->head_bytes += taken;
        response->head[response->head_bytes] = '\0';
        size_t from = before > 3 ? before - 3 : 0;
        char *end = memmem(response->head + from, response->head_bytes - from, "\r\n\r\n", 4);
        if (end == NULL)
            return taken < n ? wrong(response, "a head that does not end") : WIRE_MORE;
        size_t head_part = (size_t)(end + 4 - response->head) - before;
        bytes += head_part;
        n -= head_part;
        end[2] = '\0';
        response->is_in_body = true;
        if (check_head(response, exchange) == WIRE_WRONG)
            return WIRE_WRONG;
    }
    return receive_body(response, exchange, bytes, n);
}

static enum wire_verdict check_whole(struct wire_response *response,
                                     const struct wire_exchange *exchange)
{
    if (!response->is_in_body)
        return wrong(response, "no whole head");
    if (response->body_bytes != exchange->expected_bytes)
        return wrong(response, "a shorter body than expected");
    return WIRE_WHOLE;
}

static enum wire_verdict begin_record(struct wire_response *response)
{
    const uint8_t *header = response->header;
    if (header[0] != 1 || header[2] != 0 || header[3] != 1)
        return wrong(response, "not a record of the request");
    if (header[1] != STDOUT && header[1] != END_REQUEST)
        return wrong(response, "a record of another type than STDOUT and END_REQUEST");
    response->content_left = (size_t)header[4] << 8 | header[5];
    response->padding_left = header[6];
    if (header[1] == END_REQUEST && response->content_left != sizeof(response->end_body))
        return wrong(response, "an END_REQUEST of another length than 8");
    return WIRE_MORE;
}

static enum wire_verdict end_record(struct wire_response *response)
{
    response->header_bytes = 0;
    if (response->header[1] != END_REQUEST)
        return WIRE_MORE;
    response->has_ended = true;
    return response->end_body[4] == 0 ? WIRE_MORE : wrong(response, "the request was refused");
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Takes what it can of one record; *taken says how much. */
static enum wire_verdict receive_record(struct wire_response *response,
                                        const struct wire_exchange *exchange, const char *bytes,
                                        size_t n, size_t *taken)
{
    enum wire_verdict verdict = WIRE_MORE;
    size_t part = smaller(n, sizeof(response->header) - response->header_bytes);
    *taken = part;
    if (part > 0) {
        memcpy(response->header + response->header_bytes, bytes, part);
        response->header_bytes += part;
        if (response->header_bytes < sizeof(response->header))
            return WIRE_MORE;
        verdict = begin_record(response);
    }
    part = smaller(n - *taken, response->content_left);
    if (verdict == WIRE_MORE && part > 0) {
        if (response->header[1] == STDOUT) {
            verdict = receive_content(response, exchange, bytes + *taken, part);
        } else {
            memcpy(response->end_body + response->end_bytes, bytes + *taken, part);
            response->end_bytes += part;
        }
        response->content_left -= part;
        *taken += part;
    }
    part = smaller(n - *taken, response->padding_left);
    if (response->content_left == 0) {
        response->padding_left -= part;
        *taken += part;
    }
    if (verdict == WIRE_MORE && response->content_left == 0 && response->padding_left == 0)
        verdict = end_record(response);
    return verdict;
}

enum wire_verdict wire_receive(struct wire_response *response, const struct wire_exchange *exchange,
                               const char *bytes, size_t n)
{
    response->received_bytes += n;
    if (exchange->protocol != WIRE_FASTCGI) {
        enum wire_verdict verdict = receive_content(response, exchange, bytes, n);
        bool is_whole = exchange->protocol == WIRE_HTTP && response->is_in_body &&
                        response->body_bytes == exchange->expected_bytes;
        return verdict == WIRE_MORE && is_whole ? WIRE_WHOLE : verdict;
    }
    while (n > 0) {
        if (response->has_ended)
            return wrong(response, "bytes after END_REQUEST");
        size_t taken = 0;
        if (receive_record(response, exchange, bytes, n, &taken) == WIRE_WRONG)
            return WIRE_WRONG;
        bytes += taken;
        n -= taken;
    }
    return response->has_ended ? check_whole(response, exchange) : WIRE_MORE;
}

enum wire_verdict wire_receive_end(struct wire_response *response,
                                   const struct wire_exchange *exchange)
{
    if (exchange->protocol == WIRE_SCGI)
        return check_whole(response, exchange);
    return wrong(response, "the connection ended before the response did");
}
