/* The gate in front of libfcgi: has a complete request head arrived, and is it safe? */
#include "protocol/gate.h"

#include <string.h>

static enum gate_verdict refuse(struct gate_result *result, const char *reason)
{
    result->reason = reason;
    return GATE_REFUSE;
}

static enum gate_verdict cut(struct gate_result *result, size_t offset, size_t bytes)
{
    result->cut_offset = offset;
    result->cut_bytes = bytes;
    return GATE_CUT;
}

static void reply_end(struct gate_result *result, uint16_t id, enum record_protocol_status status)
{
    result->reply_bytes = (size_t)(record_put_end(result->reply, id, status) - result->reply);
}

/* A cursor over the parameters' bytes, which are spread over several records. */
struct parameter_reader {
    const uint8_t *next_record; /* the header after the current content */
    const uint8_t *p, *end;     /* what is left of the current content */
    size_t skip;                /* padding after it */
};

static bool next_content(struct parameter_reader *reader)
{
    while (reader->p == reader->end) {
        struct record record = record_parse(reader->next_record);
        if (record.content_bytes == 0)
            return false;
        reader->p = reader->next_record + RECORD_HEADER_BYTES;
        reader->end = reader->p + record.content_bytes;
        reader->next_record = reader->end + record.padding_bytes;
    }
    return true;
}

static bool read_any_length(struct parameter_reader *reader, size_t *length)
{
    if (!next_content(reader))
        return false;
    size_t value = *reader->p++;
    if (value >= 0x80) {
        value &= 0x7f;
        for (int i = 0; i < 3; i++) {
            if (!next_content(reader))
                return false;
            value = value << 8 | *reader->p++;
        }
    }
    *length = value;
    return true;
}

static inline bool read_length(struct parameter_reader *reader, size_t *length)
{
    if (reader->p == reader->end || *reader->p >= 0x80)
        return read_any_length(reader, length);
    *length = *reader->p++;
    return true;
}

/* Skips length bytes; false if some are missing, or one is NUL or forbidden. */
static bool pass_clean(struct parameter_reader *reader, size_t length, int forbidden)
{
    while (length > 0) {
        if (!next_content(reader))
            return false;
        size_t n = (size_t)(reader->end - reader->p);
        if (n > length)
            n = length;
        if (memchr(reader->p, 0, n) != NULL ||
            (forbidden != 0 && memchr(reader->p, forbidden, n) != NULL))
            return false;
        reader->p += n;
        length -= n;
    }
    return true;
}

static bool pass_pair(struct parameter_reader *reader, size_t name_bytes, size_t value_bytes)
{
    const uint8_t *name = reader->p;
    if (name_bytes + value_bytes > (size_t)(reader->end - name))
        return pass_clean(reader, name_bytes, '=') && pass_clean(reader, value_bytes, 0);
    /* The usual case: both lie within one record. */
    reader->p += name_bytes + value_bytes;
    return memchr(name, '=', name_bytes) == NULL &&
           memchr(name, 0, name_bytes + value_bytes) == NULL;
}

/* first_record: the header of the first FCGI_PARAMS record; all records have arrived. */
static bool are_parameters_clean(const uint8_t *first_record, size_t *count)
{
    struct parameter_reader reader = {.next_record = first_record};
    while (next_content(&reader)) {
        size_t name_bytes, value_bytes;
        if (!read_length(&reader, &name_bytes) || !read_length(&reader, &value_bytes) ||
            !pass_pair(&reader, name_bytes, value_bytes))
            return false;
        ++*count;
    }
    return true;
}

/* The first record when no request is in progress. */
static enum gate_verdict examine_first(const uint8_t *bytes, size_t n,
                                       const struct gate_limits *limits, struct gate_result *result)
{
    if (n < RECORD_HEADER_BYTES)
        return n > 0 && bytes[0] != RECORD_VERSION ? refuse(result, "not FastCGI version 1")
                                                   : GATE_MORE;
    struct record record = record_parse(bytes);
    if (record.version != RECORD_VERSION)
        return refuse(result, "not FastCGI version 1");
    size_t total = record_total_bytes(&record);
    if (record.id == 0 && record.content_bytes > RECORD_MANAGEMENT_BYTES)
        return refuse(result, "a management record of more than 4096 bytes");
    if (record.type == RECORD_BEGIN_REQUEST &&
        (record.id == 0 || record.content_bytes != RECORD_BEGIN_BYTES))
        return refuse(result, "a begin-request record of the wrong length or with request id 0");
    if (n < total)
        return GATE_MORE;
    if (record.id == 0) {
        result->reply_bytes = record_answer(&record, bytes + RECORD_HEADER_BYTES,
                                            limits->max_connections, result->reply);
        return cut(result, 0, total);
    }
    if (record.type == RECORD_STDIN || record.type == RECORD_DATA || record.type == RECORD_PARAMS ||
        record.type == RECORD_ABORT_REQUEST)
        return cut(result, 0, total); /* of a finished request: section 3.3 says to ignore it */
    if (record.type != RECORD_BEGIN_REQUEST)
        return refuse(result, "a record that only an application sends");
    const uint8_t *body = bytes + RECORD_HEADER_BYTES;
    result->id = record.id;
    result->role = (uint16_t)(body[0] << 8 | body[1]);
    result->is_kept = (body[2] & RECORD_FLAG_KEEP_CONNECTION) != 0;
    if (result->role > 31 || !(limits->roles & 1u << result->role)) {
        reply_end(result, record.id, STATUS_UNKNOWN_ROLE);
        result->is_last = !result->is_kept;
        return cut(result, 0, total);
    }
    result->head_bytes = total;
    return GATE_WHOLE;
}

/* A record at offset that does not belong to the current head. */
static enum gate_verdict examine_other(const struct record *record, const uint8_t *content,
                                       const struct gate_limits *limits, struct gate_result *result)
{
    size_t total = record_total_bytes(record), offset = result->head_bytes;
    if (record->id == 0) {
        result->reply_bytes =
            record_answer(record, content, limits->max_connections, result->reply);
        return cut(result, offset, total);
    }
    if (record->id != result->id) {
        if (record->type == RECORD_BEGIN_REQUEST)
            reply_end(result, record->id, STATUS_CANT_MPX_CONN);
        return cut(result, offset, total);
    }
    if (record->type == RECORD_ABORT_REQUEST) {
        reply_end(result, record->id, STATUS_REQUEST_COMPLETE);
        result->is_last = !result->is_kept;
        return cut(result, 0, offset + total);
    }
    return refuse(result, "a record out of order before the end of the parameters");
}

enum gate_verdict gate_examine(const uint8_t *bytes, size_t n, const struct gate_limits *limits,
                               struct gate_result *result)
{
    memset(result, 0, offsetof(struct gate_result, reply));
    result->reply_bytes = 0;
    enum gate_verdict first = examine_first(bytes, n, limits, result);
    if (first != GATE_WHOLE)
        return first;
    size_t parameters_offset = result->head_bytes;
    for (;;) {
        size_t offset = result->head_bytes;
        if (offset > limits->head_bytes)
            return refuse(result, "its parameters are larger than [limits] request_head");
        if (n - offset < RECORD_HEADER_BYTES)
            return GATE_MORE;
        struct record record = record_parse(bytes + offset);
        if (record.version != RECORD_VERSION)
            return refuse(result, "not FastCGI version 1");
        if (record.id == 0 && record.content_bytes > RECORD_MANAGEMENT_BYTES)
            return refuse(result, "a management record of more than 4096 bytes");
        size_t total = record_total_bytes(&record);
        bool is_ours = record.id == result->id && record.type == RECORD_PARAMS;
        if (is_ours && offset + total > limits->head_bytes)
            return refuse(result, "its parameters are larger than [limits] request_head");
        if (n - offset < total)
            return GATE_MORE;
        if (!is_ours)
            return examine_other(&record, bytes + offset + RECORD_HEADER_BYTES, limits, result);
        result->head_bytes += total;
        if (record.content_bytes > 0)
            continue;
        if (!are_parameters_clean(bytes + parameters_offset, &result->param_count))
            return refuse(result,
                          "a parameter that is cut short, or with NUL, or with '=' in its name");
        return GATE_WHOLE;
    }
}
