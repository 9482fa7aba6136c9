/* FastCGI 1.0 records: headers, replies to management records, reading a stream. */
#include "protocol/record.h"

#include <stdio.h>
#include <string.h>

struct record record_parse(const uint8_t *bytes)
{
    return (struct record){
        .version = bytes[0],
        .type = bytes[1],
        .id = (uint16_t)(bytes[2] << 8 | bytes[3]),
        .content_bytes = (uint16_t)(bytes[4] << 8 | bytes[5]),
        .padding_bytes = bytes[6],
    };
}

size_t record_total_bytes(const struct record *record)
{
    return (size_t)RECORD_HEADER_BYTES + record->content_bytes + record->padding_bytes;
}

uint8_t *record_put_header(uint8_t *out, enum record_type type, uint16_t id, size_t content_bytes)
{
    out[0] = RECORD_VERSION;
    out[1] = (uint8_t)type;
    out[2] = (uint8_t)(id >> 8);
    out[3] = (uint8_t)id;
    out[4] = (uint8_t)(content_bytes >> 8);
    out[5] = (uint8_t)content_bytes;
    out[6] = 0;
    out[7] = 0;
    return out + RECORD_HEADER_BYTES;
}

uint8_t *record_put_end(uint8_t *out, uint16_t id, enum record_protocol_status status)
{
    out = record_put_header(out, RECORD_END_REQUEST, id, 8);
    memset(out, 0, 8);
    out[4] = (uint8_t)status;
    return out + 8;
}

long record_get_length(const uint8_t **bytes, const uint8_t *end)
{
    const uint8_t *p = *bytes;
    if (p >= end)
        return -1;
    if (*p < 0x80) {
        *bytes = p + 1;
        return *p;
    }
    if (end - p < 4)
        return -1;
    *bytes = p + 4;
    return (long)(p[0] & 0x7f) << 24 | (long)p[1] << 16 | (long)p[2] << 8 | (long)p[3];
}

static uint8_t *put_value(uint8_t *out, const char *name, const char *value)
{
    size_t name_bytes = strlen(name), value_bytes = strlen(value);
    *out++ = (uint8_t)name_bytes;
    *out++ = (uint8_t)value_bytes;
    memcpy(out, name, name_bytes);
    memcpy(out + name_bytes, value, value_bytes);
    return out + name_bytes + value_bytes;
}

static size_t answer_get_values(const uint8_t *content, size_t content_bytes,
                                unsigned max_connections, uint8_t *reply)
{
    static const char *const names[] = {"FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"};
    bool is_answered[3] = {false};
    char count[12];
    snprintf(count, sizeof(count), "%u", max_connections);
    const uint8_t *p = content, *end = content + content_bytes;
    uint8_t *out = reply + RECORD_HEADER_BYTES;
    while (p < end) {
        long name_bytes = record_get_length(&p, end);
        long value_bytes = name_bytes < 0 ? -1 : record_get_length(&p, end);
        if (value_bytes < 0 || name_bytes > end - p || value_bytes > end - p - name_bytes)
            break;
        for (int i = 0; i < 3; i++) {
            if (is_answered[i] || strlen(names[i]) != (size_t)name_bytes ||
                memcmp(names[i], p, (size_t)name_bytes) != 0)
                continue;
            is_answered[i] = true;
            out = put_value(out, names[i], i == 2 ? "0" : count);
        }
        p += name_bytes + value_bytes;
    }
    record_put_header(reply, RECORD_GET_VALUES_RESULT, 0,
                      (size_t)(out - reply) - RECORD_HEADER_BYTES);
    return (size_t)(out - reply);
}

size_t record_answer(const struct record *record, const uint8_t *content, unsigned max_connections,
                     uint8_t reply[RECORD_REPLY_BYTES])
{
    if (record->type == RECORD_GET_VALUES)
        return answer_get_values(content, record->content_bytes, max_connections, reply);
    uint8_t *out = record_put_header(reply, RECORD_UNKNOWN_TYPE, 0, 8);
    memset(out, 0, 8);
    out[0] = record->type;
    return RECORD_HEADER_BYTES + 8;
}

/* A record that does not belong to the stream: management, a second request, or one to ignore, for
 * which STREAM_CONTENT comes back. */
static enum stream_event foreign_record(struct record_stream *stream, const struct record *record,
                                        const uint8_t *bytes, size_t n, struct stream_step *step)
{
    if (record->id == 0) {
        if (record->content_bytes > RECORD_MANAGEMENT_BYTES)
            return STREAM_BAD;
        if (n < (size_t)RECORD_HEADER_BYTES + record->content_bytes)
            return STREAM_MORE;
        step->reply_bytes = record_answer(record, bytes + RECORD_HEADER_BYTES,
                                          stream->max_connections, step->reply);
    } else if (record->type == RECORD_BEGIN_REQUEST) {
        uint8_t *end = record_put_end(step->reply, record->id, STATUS_CANT_MPX_CONN);
        step->reply_bytes = (size_t)(end - step->reply);
    }
    step->used_bytes += RECORD_HEADER_BYTES;
    stream->skip_left = (uint32_t)record->content_bytes + record->padding_bytes;
    return step->reply_bytes > 0 ? STREAM_REPLY : STREAM_CONTENT;
}

enum stream_event record_stream_next(struct record_stream *stream, const uint8_t *bytes, size_t n,
                                     struct stream_step *step)
{
    step->used_bytes = 0;
    step->content_bytes = 0;
    step->reply_bytes = 0;
    for (;;) {
        const uint8_t *p = bytes + step->used_bytes;
        size_t left = n - step->used_bytes;
        if (stream->content_left > 0 && left > 0) {
            step->content = p;
            step->content_bytes = left < stream->content_left ? left : stream->content_left;
            return STREAM_CONTENT;
        }
        size_t skip = left < stream->skip_left ? left : stream->skip_left;
        stream->skip_left -= (uint32_t)skip;
        step->used_bytes += skip;
        left -= skip;
        p += skip;
        if (stream->is_ending && stream->skip_left == 0) {
            stream->is_ended = true;
            return stream->is_aborted ? STREAM_ABORT : STREAM_END;
        }
        if (left < RECORD_HEADER_BYTES)
            return STREAM_MORE;
        struct record record = record_parse(p);
        if (record.version != RECORD_VERSION)
            return STREAM_BAD;
        if (record.id != stream->id || record.type == RECORD_BEGIN_REQUEST) {
            if (record.id == stream->id)
                return STREAM_BAD;
            enum stream_event event = foreign_record(stream, &record, p, left, step);
            if (event != STREAM_CONTENT)
                return event;
            continue;
        }
        if (record.type != stream->type && record.type != RECORD_ABORT_REQUEST)
            return STREAM_BAD;
        step->used_bytes += RECORD_HEADER_BYTES;
        if (record.type == RECORD_ABORT_REQUEST) {
            stream->skip_left = (uint32_t)record.content_bytes + record.padding_bytes;
            stream->is_ending = stream->is_aborted = true;
            continue;
        }
        stream->content_left = record.content_bytes;
        stream->skip_left = record.padding_bytes;
        stream->is_ending = record.content_bytes == 0;
    }
}

void record_stream_take(struct record_stream *stream, size_t content_bytes)
{
    stream->content_left -= (uint32_t)content_bytes;
}

size_t record_stream_count(struct record_stream stream, const uint8_t *bytes, size_t n,
                           bool *is_ended)
{
    size_t content_bytes = 0;
    struct stream_step step;
    *is_ended = stream.is_ended;
    while (!*is_ended) {
        enum stream_event event = record_stream_next(&stream, bytes, n, &step);
        if (event == STREAM_CONTENT)
            record_stream_take(&stream, step.content_bytes);
        else if (event != STREAM_REPLY) {
            *is_ended = event == STREAM_END;
            return content_bytes;
        }
        content_bytes += step.content_bytes;
        bytes += step.used_bytes + step.content_bytes;
        n -= step.used_bytes + step.content_bytes;
    }
    return content_bytes;
}

void record_border_pass(struct record_border *border, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        size_t distance = record_border_distance(border),
               wanted = distance > 0 ? distance : RECORD_HEADER_BYTES,
               take = n < wanted ? n : wanted;
        if (border->left > 0)
            border->left -= take;
        else {
            memcpy(border->header + border->header_bytes, bytes, take);
            border->header_bytes += take;
        }
        if (border->header_bytes == RECORD_HEADER_BYTES) {
            struct record record = record_parse(border->header);
            border->left = (size_t)record.content_bytes + record.padding_bytes;
            border->header_bytes = 0;
        }
        bytes += take;
        n -= take;
    }
}
