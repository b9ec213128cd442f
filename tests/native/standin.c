/* A stand-in for librocketmq 2.x: the C functions that rocketmq-client-python 2.0.0 binds, on a broker in memory.
 *
 * It behaves as the real one was seen to: what segfaults there is recorded here as a *crime* (and answered with
 * garbage), what hangs there at exit hangs here, sends fail after a fork, a body ends at its first NUL byte. Callbacks
 * come on threads of C. The functions named standin_* are for the tests: they play broken cases, let time pass (delay
 * levels are recorded, not waited for) and tell what callbacks returned.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { OK = 0, NULL_POINTER = 1, START_FAILED = 10, SEND_FAILED = 11, SEND_TRANSACTION_FAILED = 15,
       CONSUMER_START_FAILED = 20, NOT_SUPPORTED = -1 };
enum { PLAIN = 0, ORDERLY = 1, TRANSACTIONAL = 2 };
enum { COMMIT = 0, ROLLBACK = 1 };
enum { MOST = 65536, PROPERTIES = 32, ATTEMPTS = 5, LEVELS = 18 };

typedef struct { char *name, *value; } Property;
typedef struct {
    int received;                 /* MQMessageExt: has an id and all fields; else MQMessage: has not */
    char *topic, *keys, *tags, *body, *id, *group;
    Property properties[PROPERTIES];
    int property_count, level, attempts, checks;
    long long born;
} Message;
typedef struct { int sendStatus; char msgId[256]; long long offset; } SendResult;
typedef int (*TransactionCallback)(void *producer, void *message, void *data);
typedef int (*MessageCallback)(void *consumer, void *message);
typedef struct {
    int kind, started, stopped, timeout;
    pid_t pid;
    char *group, *instance, *servers;
    TransactionCallback check;
} Producer;
typedef struct {
    int started, stopped, threads, batch, callbacks, untraced;
    pid_t pid;
    char *group, *instance, *servers, *topic;
    MessageCallback callback;
} Consumer;
typedef struct { Consumer *consumer; Message *message; } Errand;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char crimes[8192];
static __thread char trouble[512];
static int live_messages, next_id, busy;
static Message *halves[MOST], *delayed[MOST];
static Producer *producers[MOST];
static Consumer *consumers[MOST];
static int half_count, delayed_count, producer_count, consumer_count;
static int returned[3][MOST], returned_count[3]; /* by kind: local execute, check, consume */
static int levels[MOST], level_count;
static int send_status, send_error, start_error, hang, resolve_error, skip_callback, refusals;
static char version[64] = "CPP CORE VERSION: 2.2.0, BUILD TIME: -";

static void crime(const char *what, const char *detail) {
    pthread_mutex_lock(&lock);
    size_t used = strlen(crimes);
    snprintf(crimes + used, sizeof crimes - used, "%s%s;", what, detail);
    pthread_mutex_unlock(&lock);
}
static void record(int kind, int value) {
    pthread_mutex_lock(&lock);
    if (returned_count[kind] < MOST) returned[kind][returned_count[kind]++] = value;
    pthread_mutex_unlock(&lock);
}
static char *copy(const char *text) { return strdup(text ? text : ""); }
static long long now_ms(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return now.tv_sec * 1000LL + now.tv_usec / 1000;
}
static void replace(char **place, const char *text) { free(*place); *place = copy(text); }
static int fail(int code, const char *why) { snprintf(trouble, sizeof trouble, "msg: %s", why); return code; }

/* messages */
void *CreateMessage(const char *topic) {
    Message *message = calloc(1, sizeof *message);
    message->topic = copy(topic);
    message->keys = copy(""), message->tags = copy(""), message->body = copy(""), message->id = copy("");
    pthread_mutex_lock(&lock);
    live_messages++;
    pthread_mutex_unlock(&lock);
    return message;
}
static void drop(Message *message) {
    for (int i = 0; i < message->property_count; i++) free(message->properties[i].name), free(message->properties[i].value);
    free(message->topic), free(message->keys), free(message->tags), free(message->body), free(message->id);
    free(message->group), free(message);
}
int DestroyMessage(Message *message) {
    if (!message) return NULL_POINTER;
    pthread_mutex_lock(&lock);
    live_messages--;
    pthread_mutex_unlock(&lock);
    drop(message);
    return OK;
}
int SetMessageKeys(Message *message, const char *keys) { replace(&message->keys, keys); return OK; }
int SetMessageTags(Message *message, const char *tags) { replace(&message->tags, tags); return OK; }
int SetMessageBody(Message *message, const char *body) { replace(&message->body, body); return OK; }
int SetByteMessageBody(Message *message, const char *body, int length) {
    free(message->body);
    message->body = strndup(body, (size_t)length); /* what is read is a C string again */
    return OK;
}
int SetMessageProperty(Message *message, const char *name, const char *value) {
    for (const char *c = value; *c; c++)
        if (*c == 1 || *c == 2) crime("a property that tears the others apart: ", name);
    if (!strcmp(name, "KEYS") || !strcmp(name, "TAGS")) crime("a property of RocketMQ's own: ", name);
    if (message->property_count == PROPERTIES) return NOT_SUPPORTED;
    Property *property = &message->properties[message->property_count++];
    property->name = copy(name), property->value = copy(value);
    return OK;
}
int SetDelayTimeLevel(Message *message, int level) { message->level = level; return OK; }
const char *GetMessageTopic(Message *message) { return message->topic; }
const char *GetMessageTags(Message *message) { return message->tags; }
const char *GetMessageKeys(Message *message) { return message->keys; }
const char *GetMessageBody(Message *message) { return message->body; }
static int garbage(Message *message, const char *field) {
    if (message->received) return 0;
    crime("read of an unreceived message: ", field);
    return 1;
}
const char *GetMessageProperty(Message *message, const char *name) {
    if (garbage(message, name)) return "garbage";
    for (int i = 0; i < message->property_count; i++)
        if (!strcmp(message->properties[i].name, name)) return message->properties[i].value;
    return "";
}
const char *GetMessageId(Message *message) { return garbage(message, "id") ? "garbage" : message->id; }
#define GETTER(type, name, field, value) \
    type name(Message *message) { return garbage(message, field) ? (type)0x7ead : (type)(value); }
GETTER(int, GetMessageDelayTimeLevel, "level", message->level)
GETTER(int, GetMessageQueueId, "queue", 0)
GETTER(int, GetMessageReconsumeTimes, "reconsume times", message->attempts)
GETTER(int, GetMessageStoreSize, "size", 1)
GETTER(long long, GetMessageBornTimestamp, "born", message->born)
GETTER(long long, GetMessageStoreTimestamp, "stored", message->born)
GETTER(long long, GetMessageQueueOffset, "offset", 0)
GETTER(long long, GetMessageCommitLogOffset, "commit log offset", 0)
GETTER(long long, GetMessagePreparedTransactionOffset, "prepared offset", 0)
void *CreateBatchMessage(void) { return NULL; }
int AddMessage(void *batch, void *message) { (void)batch, (void)message; return NOT_SUPPORTED; }
int DestroyBatchMessage(void *batch) { (void)batch; return NOT_SUPPORTED; }

static Message *stored(const Message *sent, const char *group) {
    Message *message = calloc(1, sizeof *message);
    *message = *sent;
    message->received = 1;
    message->topic = copy(sent->topic), message->keys = copy(sent->keys), message->tags = copy(sent->tags);
    message->body = copy(sent->body), message->group = copy(group), message->born = now_ms();
    message->id = malloc(33);
    pthread_mutex_lock(&lock);
    snprintf(message->id, 33, "C0A80001%024d", next_id++);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < sent->property_count; i++) {
        message->properties[i].name = copy(sent->properties[i].name);
        message->properties[i].value = copy(sent->properties[i].value);
    }
    return message;
}

/* delivery: each group's first live consumer of the topic, on a thread of C's own */
static void *deliver_one(void *argument) {
    Errand *errand = argument;
    int status = 1;
    for (int attempt = 0; attempt < ATTEMPTS && status && !errand->consumer->stopped; attempt++) {
        errand->message->attempts = attempt;
        status = errand->consumer->callback(errand->consumer, errand->message);
        record(2, status);
    }
    drop(errand->message);
    free(errand);
    pthread_mutex_lock(&lock);
    busy--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}
static void deliver(const Message *message) {
    for (int i = 0; i < consumer_count; i++) {
        Consumer *consumer = consumers[i];
        if (!consumer->started || consumer->stopped || !consumer->topic || strcmp(consumer->topic, message->topic)) continue;
        Errand *errand = malloc(sizeof *errand);
        errand->consumer = consumer;
        errand->message = stored(message, message->group);
        pthread_t thread;
        pthread_mutex_lock(&lock);
        busy++;
        pthread_mutex_unlock(&lock);
        pthread_create(&thread, NULL, deliver_one, errand);
        pthread_detach(thread);
    }
}

/* producers */
static Producer *create(const char *group, int kind, TransactionCallback check) {
    Producer *producer = calloc(1, sizeof *producer);
    producer->kind = kind, producer->check = check, producer->group = copy(group);
    producer->instance = copy("DEFAULT"), producer->servers = copy("");
    pthread_mutex_lock(&lock);
    producers[producer_count++] = producer;
    pthread_mutex_unlock(&lock);
    return producer;
}
void *CreateProducer(const char *group) { return create(group, PLAIN, NULL); }
void *CreateOrderlyProducer(const char *group) { return create(group, ORDERLY, NULL); }
void *CreateTransactionProducer(const char *group, TransactionCallback check, void *data) {
    (void)data;
    return create(group, TRANSACTIONAL, check);
}
int DestroyProducer(Producer *producer) { (void)producer; return OK; }
int StartProducer(Producer *producer) {
    if (start_error) return fail(START_FAILED, "no route to the name server");
    if (producer->stopped) crime("a producer started again", "");
    for (int i = 0; i < producer_count; i++) {
        Producer *other = producers[i];
        if (other != producer && other->started && !other->stopped && other->pid == getpid() &&
            !strcmp(other->group, producer->group) && !strcmp(other->instance, producer->instance))
            return fail(START_FAILED, "the producer group has been created before");
        if (other->started && !other->stopped && other->pid == getpid() && !strcmp(other->group, producer->group) &&
            (other->kind == TRANSACTIONAL) != (producer->kind == TRANSACTIONAL))
            crime("a producer that can't answer is in a group that is asked: ", producer->group);
    }
    if (!*producer->servers) return fail(START_FAILED, "no name server");
    producer->started = 1, producer->pid = getpid();
    return OK;
}
static void quiet(void) { /* until no callback runs */
    pthread_mutex_lock(&lock);
    while (busy) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}
int ShutdownProducer(Producer *producer) {
    if (producer->pid != getpid()) crime("a parent's producer shut down in its child", "");
    if (producer->stopped) crime("a producer shut down twice", "");
    producer->stopped = 1;
    return OK;
}
int SetProducerNameServerAddress(Producer *producer, const char *servers) { replace(&producer->servers, servers); return OK; }
int SetProducerNameServerDomain(Producer *producer, const char *domain) { (void)producer, (void)domain; return OK; }
int SetProducerGroupName(Producer *producer, const char *group) { replace(&producer->group, group); return OK; }
int SetProducerInstanceName(Producer *producer, const char *name) { replace(&producer->instance, name); return OK; }
int SetProducerSendMsgTimeout(Producer *producer, int timeout) { producer->timeout = timeout; return OK; }
#define SETTER(name, ...) int name(void *object, ##__VA_ARGS__) { (void)object; return OK; }
SETTER(SetProducerSessionCredentials)
SETTER(SetProducerLogPath)
SETTER(SetProducerLogFileNumAndSize)
SETTER(SetProducerLogLevel)
SETTER(SetProducerCompressLevel)
SETTER(SetProducerMaxMessageSize)

static int refused(Producer *producer, int code) {
    pthread_mutex_lock(&lock);
    while (hang) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    if (!producer->started || producer->stopped) return fail(code, "not started");
    if (producer->pid != getpid()) return fail(code, "sent after a fork");
    if (send_error) refusals++;
    if (send_error) return fail(code, "<rocketmq-client-cpp/src/x.cpp:1> no route info of this topic");
    return OK;
}
static void result_of(const Message *message, SendResult *result) {
    result->sendStatus = send_status, result->offset = 0;
    snprintf(result->msgId, sizeof result->msgId, "%s", message->id);
}
int SendMessageSync(Producer *producer, Message *sent, SendResult *result) {
    if (producer->kind == TRANSACTIONAL) crime("a plain send on a transactional producer", "");
    int code = refused(producer, SEND_FAILED);
    if (code) return code;
    if (!*sent->body) return fail(SEND_FAILED, "the message body is empty");
    Message *message = stored(sent, producer->group);
    result_of(message, result);
    pthread_mutex_lock(&lock);
    levels[level_count++] = sent->level;
    if (sent->level) delayed[delayed_count++] = message;
    pthread_mutex_unlock(&lock);
    if (!sent->level) deliver(message), drop(message);
    return OK;
}
int SendMessageOneway(Producer *producer, void *message) { (void)producer, (void)message; return NOT_SUPPORTED; }
int SendBatchMessage(Producer *producer, void *batch, SendResult *result) {
    (void)producer, (void)batch, (void)result;
    return NOT_SUPPORTED;
}
int SendMessageOrderlyByShardingKey(Producer *producer, void *message, const char *key, SendResult *result) {
    (void)producer, (void)message, (void)key, (void)result;
    return NOT_SUPPORTED;
}
int SendMessageTransaction(Producer *producer, Message *sent, TransactionCallback callback, void *data, SendResult *result) {
    int code = refused(producer, SEND_TRANSACTION_FAILED);
    if (code) return code;
    if (!*sent->body) return fail(SEND_TRANSACTION_FAILED, "the message body is empty");
    Message *message = stored(sent, producer->group);
    result_of(message, result);
    if (send_status || skip_callback) { /* stored or not: the client rolls it back, and reports OK */
        drop(message);
        return OK;
    }
    pthread_mutex_lock(&lock);
    int place = half_count++;
    halves[place] = message;
    pthread_mutex_unlock(&lock);
    int status = callback(producer, sent, data);
    record(0, status);
    if (resolve_error) return fail(SEND_TRANSACTION_FAILED, "the connection broke");
    if (status == COMMIT) deliver(message);
    if (status == COMMIT || status == ROLLBACK) {
        pthread_mutex_lock(&lock);
        halves[place] = NULL;
        pthread_mutex_unlock(&lock);
        drop(message);
    }
    return OK;
}

/* consumers */
void *CreatePushConsumer(const char *group) {
    Consumer *consumer = calloc(1, sizeof *consumer);
    consumer->group = copy(group), consumer->instance = copy("DEFAULT"), consumer->servers = copy("");
    pthread_mutex_lock(&lock);
    consumers[consumer_count++] = consumer;
    pthread_mutex_unlock(&lock);
    return consumer;
}
int DestroyPushConsumer(Consumer *consumer) { (void)consumer; return OK; }
/* Whether printf would take what follows "%RETRY%" for a conversion that reads or writes where a pointer leads. */
static int read_as_format(const char *group) {
    group += strspn(group, "-+ #0'");
    group += strspn(group, "0123456789.");
    group += strspn(group, "hlqLjztZ");
    return *group && strchr("snS", *group);
}
const char *ShowPushConsumerVersion(Consumer *consumer) { (void)consumer; return version; }
int StartPushConsumer(Consumer *consumer) {
    /* up to 2.1.0 its first rebalance logs the name of the retry topic as a format */
    if (strstr(version, " 2.1.") && read_as_format(consumer->group)) crime("a format in the log: %RETRY%", consumer->group);
    if (start_error) return fail(CONSUMER_START_FAILED, "no route to the name server");
    if (consumer->stopped) crime("a consumer started again", "");
    consumer->started = 1, consumer->pid = getpid();
    return OK;
}
int ShutdownPushConsumer(Consumer *consumer) {
    if (consumer->pid != getpid()) crime("a parent's consumer shut down in its child", "");
    if (consumer->stopped) crime("a consumer shut down twice", "");
    if (consumer->started && !consumer->untraced) crime("a consumer shut down with its message trace on", "");
    consumer->stopped = 1;
    quiet();
    return OK;
}
int SetPushConsumerGroupID(Consumer *consumer, const char *group) { replace(&consumer->group, group); return OK; }
const char *GetPushConsumerGroupID(Consumer *consumer) { return consumer->group; }
int SetPushConsumerNameServerAddress(Consumer *consumer, const char *servers) { replace(&consumer->servers, servers); return OK; }
int SetPushConsumerNameServerDomain(Consumer *consumer, const char *domain) { (void)consumer, (void)domain; return OK; }
int Subscribe(Consumer *consumer, const char *topic, const char *expression) {
    (void)expression;
    if (consumer->topic) crime("a second subscription of one consumer: ", topic);
    consumer->topic = copy(topic);
    return OK;
}
int RegisterMessageCallback(Consumer *consumer, MessageCallback callback) {
    if (consumer->callbacks++) crime("a second callback of one consumer", "");
    consumer->callback = callback;
    return OK;
}
int RegisterMessageCallbackOrderly(Consumer *consumer, MessageCallback callback) { (void)consumer, (void)callback; return NOT_SUPPORTED; }
int UnregisterMessageCallbackOrderly(Consumer *consumer) { (void)consumer; return NOT_SUPPORTED; }
int UnregisterMessageCallback(Consumer *consumer) { (void)consumer; return NOT_SUPPORTED; }
int SetPushConsumerThreadCount(Consumer *consumer, int threads) { consumer->threads = threads; return OK; }
int SetPushConsumerMessageBatchMaxSize(Consumer *consumer, int size) { consumer->batch = size; return OK; }
int SetPushConsumerMessageTrace(Consumer *consumer, int on) { consumer->untraced = !on; return OK; }
int SetPushConsumerInstanceName(Consumer *consumer, const char *name) { replace(&consumer->instance, name); return OK; }
SETTER(SetPushConsumerSessionCredentials)
SETTER(SetPushConsumerLogPath)
SETTER(SetPushConsumerLogFileNumAndSize)
SETTER(SetPushConsumerLogLevel)
SETTER(SetPushConsumerMessageModel)
const char *GetLatestErrorMessage(void) { return trouble; }

/* for the tests */
typedef struct { Producer *producer; Message *message; int status; } Question;
static void *ask(void *argument) {
    Question *question = argument;
    question->status = question->producer->check(question->producer, question->message, NULL);
    return NULL;
}
/* Check back the half message at `place`, on a thread of C, with the group's last live producer; return its answer. */
int standin_check(int place) {
    Message *message = halves[place];
    if (!message) return -2;
    for (int i = producer_count - 1; i >= 0; i--) {
        Producer *producer = producers[i];
        if (producer->kind != TRANSACTIONAL || !producer->started || producer->stopped || strcmp(producer->group, message->group)) continue;
        char checks[16];
        snprintf(checks, sizeof checks, "%d", ++message->checks);
        for (int p = 0; p < message->property_count; p++)
            if (!strcmp(message->properties[p].name, "TRANSACTION_CHECK_TIMES")) free(message->properties[p].name), message->properties[p].name = copy("old");
        SetMessageProperty(message, "TRANSACTION_CHECK_TIMES", checks);
        Question question = {producer, message, -1};
        pthread_t thread;
        pthread_create(&thread, NULL, ask, &question);
        pthread_join(thread, NULL);
        record(1, question.status);
        if (question.status == COMMIT) deliver(message);
        if (question.status == COMMIT || question.status == ROLLBACK) halves[place] = NULL;
        return question.status;
    }
    return -3;
}
/* A half message of another client: no envelope, these properties. Return its place. */
int standin_foreign_half(const char *group, const char *tx_id, const char *deliver_if) {
    Message *made = CreateMessage("order_rollback");
    SetMessageBody(made, "{}"), SetMessageKeys(made, "7001 7002"), SetMessageTags(made, "rollback");
    SetMessageProperty(made, "tx_id", tx_id);
    if (*deliver_if) SetMessageProperty(made, "deliver_if", deliver_if);
    Message *message = stored(made, group);
    DestroyMessage(made);
    halves[half_count] = message;
    return half_count++;
}
/* Break the envelope of the half message at `place`. */
void standin_spoil(int place) {
    Message *message = halves[place];
    for (int i = 0; i < message->property_count; i++)
        if (!strcmp(message->properties[i].name, "orders_envelope")) replace(&message->properties[i].value, "{");
}
/* Let the delays of all delayed messages be over. Return how many there were. */
int standin_let_time_pass(void) {
    int count = delayed_count;
    delayed_count = 0;
    for (int i = 0; i < count; i++) {
        Message *message = delayed[i];
        deliver(message), drop(message);
    }
    return count;
}
void standin_hang(int on) {
    pthread_mutex_lock(&lock);
    hang = on;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}
void standin_break(int status, int error, int start, int resolve, int skip) {
    send_status = status, send_error = error, start_error = start, resolve_error = resolve, skip_callback = skip;
}
void standin_be(const char *number) { snprintf(version, sizeof version, "CPP CORE VERSION: %s, BUILD TIME: -", number); }
const char *standin_crimes(void) { return crimes; }
int standin_live_messages(void) { return live_messages; }
int standin_returned(int kind, int place) { return place < returned_count[kind] ? returned[kind][place] : -9; }
int standin_level(int place) { return place < level_count ? levels[place] : -9; }
int standin_refused(void) { return refusals; }
int standin_halves(void) { return half_count; }
int standin_timeout(int place) { return producers[place]->timeout; }
/* What is started and not shut down in this process. */
int standin_running(void) {
    int running = 0;
    for (int i = 0; i < producer_count; i++) running += producers[i]->started && !producers[i]->stopped && producers[i]->pid == getpid();
    for (int i = 0; i < consumer_count; i++) running += consumers[i]->started && !consumers[i]->stopped && consumers[i]->pid == getpid();
    return running;
}
int standin_consumer_threads(int place) { return consumers[place]->threads; }
void standin_reset(void) {
    quiet();
    crimes[0] = 0;
    live_messages = refusals = half_count = delayed_count = producer_count = consumer_count = level_count = 0;
    memset(returned_count, 0, sizeof returned_count);
    standin_break(0, 0, 0, 0, 0);
    standin_hang(0);
    standin_be("2.2.0");
}
/* The real library's threads keep a process that did not shut down from ending. */
__attribute__((destructor)) static void linger(void) {
    while (standin_running()) sleep(1);
}
