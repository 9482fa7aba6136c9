/* A whole connection: the same bytes give the same requests, bodies and answers, in one piece or
 * cut anywhere, also if between two pieces the connection is handed over to another process. Byte
 * 0: 1, plain HTTP too; 2, one protocol alone; 4, which; 8, handed over. Bytes 1 and 2: where it is
 * cut.
 *
 * links: connection.c hold.c receiver.c fastcgi.c scgi.c http.c sender.c input.c socket_io.c gate.c
 * record.c libfcgi_os.c scgi_head.c http_head.c meta_variables.c path_info.c request.c request_body.c
 * spool.c descriptors.c arena.c reply.c response.c fork.c log.c log_gather.c
 * log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c log_standard.c log_syslog.c own_file.c */
#include "fuzz.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection/connection.h"
#include "http/meta_variables.h"
#include "http/reply.h"
#include "protocol/libfcgi_os.h"
#include "protocol/record.h"

enum {
    HEAD_BYTES = 2048,
    FLAG_BYTES = 3,
    SPEAKS_HTTP = 1,
    ONE_PROTOCOL = 2,
    IS_SCGI = 4,
    IS_HANDED_OVER = 8
};

struct strbuf {
    uint8_t *bytes;
    size_t n, capacity;
};

static void put(struct strbuf *text, const void *bytes, size_t n)
{
    if (text->n + n > text->capacity) {
        text->capacity = 2 * (text->n + n) + 256;
        text->bytes = realloc(text->bytes, text->capacity);
        MUST(text->bytes != NULL);
    }
    if (n > 0)
        memcpy(text->bytes + text->n, bytes, n);
    text->n += n;
}

/* What came of a connection. */
struct outcome {
    struct strbuf requests; /* their parameters and bodies */
    struct strbuf answers;
    const char *refusal;
    bool is_stranger; /* its protocol was not recognised, or is HTTP: what is told depends on how
                         much has come */
    unsigned served;
};

static struct config config = {
    .request_head_bytes = HEAD_BYTES, .io_timeout_ms = 1000, .body_memory_bytes = 1 << 20};
static const struct gate_limits gate_limits = {.head_bytes = HEAD_BYTES,
                                               .max_connections = 511,
                                               .roles =
                                                   1u << ROLE_RESPONDER | 1u << ROLE_AUTHORIZER};
static const struct path_route anywhere = {.program = PATH_MODULE},
                               nobody = {.program = PATH_MODULE, .takes_no_body = true};
static const struct route_table routes = {
    .roles = {[ROLE_RESPONDER] = {.items = &anywhere, .count = 1},
              [ROLE_AUTHORIZER] = {.items = &nobody, .count = 1, .some_take_no_body = true}},
    .role_bits = 1u << ROLE_RESPONDER | 1u << ROLE_AUTHORIZER};
static atomic_bool is_draining, is_handing_over;
static struct receiver receiver;

struct delivery {
    struct connection *connection; /* NULL: it is over */
    int peer;
    struct outcome *outcome;
};

static void note_request(struct outcome *outcome, struct request *request)
{
    enum meta_result result = meta_prepare(request, &routes.roles[request->role]);
    uint8_t facts[] = {(uint8_t)request->role, request->is_keep_wanted, (uint8_t)result,
                       (uint8_t)(request->content_length >= 0)};
    put(&outcome->requests, facts, sizeof(facts));
    for (size_t i = 0; i < request->param_count; i++) {
        const struct param *param = &request->params[i];
        MUST(strlen(param->name) == param->name_bytes &&
             strlen(param->value) == param->value_bytes);
        put(&outcome->requests, param->name, param->name_bytes + 1);
        put(&outcome->requests, param->value, param->value_bytes + 1);
    }
}

/* As an application that asks for all of it. */
static void note_body(struct outcome *outcome, struct request *request)
{
    uint8_t piece[100];
    long n;
    if (!request->is_body_here)
        return;
    uint64_t total = 0;
    while ((n = request_read_body(request, piece, sizeof(piece))) > 0) {
        put(&outcome->requests, piece, (size_t)n);
        total += (uint64_t)n;
    }
    MUST(request->content_length < 0 || total <= (uint64_t)request->content_length);
    MUST(n == 0 || request->body_failure != BODY_FINE); /* it never has to wait */
    uint8_t failure = (uint8_t)request->body_failure;
    put(&outcome->requests, &failure, 1);
}

static void serve(struct delivery *delivery)
{
    struct request *request = delivery->connection->request;
    char page[32];
    note_request(delivery->outcome, request);
    note_body(delivery->outcome, request);
    snprintf(page, sizeof(page), "answer %u", ++delivery->outcome->served);
    reply_send_page(request, "200 OK", page);
}

static void take_answers(struct delivery *delivery)
{
    uint8_t bytes[4096];
    ssize_t n;
    while ((n = recv(delivery->peer, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        put(&delivery->outcome->answers, bytes, (size_t)n);
}

static void release(struct connection *connection)
{
    if (connection->request != NULL) {
        connection->request->ops->release(connection->request);
        receiver_give_request(&receiver, connection->request);
    }
    connection_free(connection);
}

/* As a worker does when something has come. */
static void advance(struct delivery *delivery)
{
    struct connection *connection = delivery->connection;
    if (connection == NULL)
        return;
    atomic_store(&connection->hold.state, HOLD_OWNED);
    enum connection_step step = connection_advance(&receiver, connection);
    while (step == CONNECTION_READY) {
        serve(delivery);
        MUST(connection_leave_rest(connection) == CONNECTION_REST_NONE);
        step = connection_finish_request(&receiver, connection);
    }
    take_answers(delivery);
    if (step == CONNECTION_CLOSE) {
        delivery->outcome->refusal = connection->refusal;
        delivery->outcome->is_stranger = connection->ops == NULL || receiver.speaks_http;
        release(connection);
        delivery->connection = NULL;
        return;
    }
    MUST(connection->input.is_owned ||
         connection->input.data == NULL); /* the buffer is the next connection's */
    memset(receiver.buffer, 0xa5, 256);
    atomic_store(&connection->is_lingering, connection->is_answered);
    atomic_store(&connection->hold.state, HOLD_FREE);
}

/* Another process takes it over, as at a retirement, and looks at what came along. It recognises
 * the protocol anew, which a peer has no reason to change, and a fuzzer has: here it keeps it. */
static void hand_over(struct delivery *delivery)
{
    struct connection *connection = delivery->connection;
    struct handover_connection left;
    const struct transport_ops *ops = connection != NULL ? connection->ops : NULL;
    if (connection == NULL || !connection_can_move(connection))
        return;
    MUST(connection_describe(connection, &left) == 0);
    left.fd = dup(connection->fd);
    MUST(left.fd >= 0);
    release(connection);
    delivery->connection = connection_take_over(&left);
    MUST(delivery->connection != NULL);
    delivery->connection->ops = ops;
    bool has_input = left.input.bytes > 0;
    free((void *)(uintptr_t)left.input.data);
    if (has_input)
        advance(delivery);
    else
        atomic_store(&delivery->connection->hold.state, HOLD_FREE);
}

/* As epoll tells: again and again, until all that is there has been received. */
static void heed(struct delivery *delivery)
{
    for (int i = 0; i < 100 && delivery->connection != NULL; i++) {
        struct pollfd ready = {.fd = delivery->connection->fd, .events = POLLIN};
        if (poll(&ready, 1, 0) == 0)
            return;
        advance(delivery);
    }
    MUST(delivery->connection == NULL); /* it does not keep a thread busy with nothing */
}

static void deliver(const uint8_t *data, size_t n, uint32_t cuts, bool is_handed_over,
                    struct outcome *outcome)
{
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    struct delivery delivery = {connection_new(ends[0]), ends[1], outcome};
    MUST(delivery.connection != NULL);
    for (size_t p = 0; p < n && delivery.connection != NULL;) {
        size_t piece = n - p;
        if (cuts != 0) {
            cuts = cuts * 1103515245 + 12345;
            size_t most = (size_t)1 << (cuts >> 16) % 9;
            piece = 1 + (cuts >> 20) % most;
            piece = piece < n - p ? piece : n - p;
        }
        MUST(send(ends[1], data + p, piece, MSG_NOSIGNAL) == (ssize_t)piece);
        p += piece;
        heed(&delivery);
        if (is_handed_over)
            hand_over(&delivery);
    }
    shutdown(ends[1], SHUT_WR);
    heed(&delivery);
    MUST(delivery.connection == NULL); /* it ends when its peer has ended */
    take_answers(&delivery);
    close(ends[1]);
}

/* Records of a stream are joined; answers to management records, which may stand anywhere, are put
 * apart. */
static void sort_answers(struct strbuf *answers, struct strbuf *management)
{
    struct strbuf sorted = {0};
    for (size_t p = 0; p + RECORD_HEADER_BYTES <= answers->n;) {
        struct record record = record_parse(answers->bytes + p);
        size_t total = record_total_bytes(&record);
        MUST(total <= answers->n - p);
        if (record.id == 0)
            put(management, answers->bytes + p, total);
        else if (record.type == RECORD_STDOUT && record.content_bytes > 0)
            put(&sorted, answers->bytes + p + RECORD_HEADER_BYTES, record.content_bytes);
        else
            put(&sorted, answers->bytes + p, total);
        p += total;
    }
    free(answers->bytes);
    *answers = sorted;
}

static void compare(struct outcome *whole, struct outcome *cut)
{
    struct strbuf management[2] = {{0}, {0}};
    if (whole->answers.n > 0 && whole->answers.bytes[0] == RECORD_VERSION) {
        sort_answers(&whole->answers, &management[0]);
        sort_answers(&cut->answers, &management[1]);
    }
    MUST(cut->served == whole->served);
    MUST(cut->requests.n == whole->requests.n);
    MUST(whole->requests.n == 0 ||
         memcmp(cut->requests.bytes, whole->requests.bytes, whole->requests.n) == 0);
    MUST(cut->answers.n == whole->answers.n);
    MUST(whole->answers.n == 0 ||
         memcmp(cut->answers.bytes, whole->answers.bytes, whole->answers.n) == 0);
    MUST((cut->refusal == NULL) == (whole->refusal == NULL));
    MUST(whole->refusal == NULL || whole->is_stranger || strcmp(cut->refusal, whole->refusal) == 0);
    /* While a response is on its way, or after it, none has to come. */
    size_t n = management[0].n < management[1].n ? management[0].n : management[1].n;
    MUST(n == 0 || memcmp(management[0].bytes, management[1].bytes, n) == 0);
    free(management[0].bytes);
    free(management[1].bytes);
}

static void set_up(uint8_t flags)
{
    static bool is_set_up;
    if (!is_set_up) {
        MUST(libfcgi_os_init() == 0 && request_seed_hash() == 0);
        receiver = (struct receiver){.config = &config,
                                     .gate_limits = &gate_limits,
                                     .routes = &routes,
                                     .is_draining = &is_draining,
                                     .is_handing_over = &is_handing_over};
        MUST(receiver_init(&receiver) == 0);
        is_set_up = true;
    }
    receiver.speaks_http = (flags & SPEAKS_HTTP) != 0;
    config.protocol = (flags & ONE_PROTOCOL) == 0 ? PROTOCOL_AUTO
                      : (flags & IS_SCGI) != 0    ? PROTOCOL_SCGI
                                                  : PROTOCOL_FASTCGI;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < FLAG_BYTES || n > 8192)
        return 0;
    set_up(data[0]);
    struct outcome whole = {.served = 0}, cut = {.served = 0};
    deliver(data + FLAG_BYTES, n - FLAG_BYTES, 0, false, &whole);
    deliver(data + FLAG_BYTES, n - FLAG_BYTES, 1 + data[1] + 256u * data[2],
            (data[0] & IS_HANDED_OVER) != 0, &cut);
    compare(&whole, &cut);
    free(whole.requests.bytes);
    free(whole.answers.bytes);
    free(cut.requests.bytes);
    free(cut.answers.bytes);
    return 0;
}
