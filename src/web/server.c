/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accept loop; the only file that knows libfcgi. N threads with small stacks share one non-blocking listener. Each waits for
 * {listener or kept connection, stop}, never inside libfcgi: FCGX_Accept_r does not wake for a stop, and its signal handlers (without
 * SA_RESTART) cut bodies short, so every signal stays blocked in these threads. A stop ends the waiting at once and the work when it is done.
 *
 * Idle threads wait in one epoll set, which wakes one of them for a connection. poll wakes them all: with 256 threads that was 2 to 4 ms of
 * CPU for each request.
 *
 * One request at a time and connection. Where the web server keeps connections (fastcgi_keep_conn), a thread gives up one that
 * was idle for KEPT_IDLE_MS, so that a few quiet connections cannot hold all threads.
 */
#include "config.h"

#include "web/web_int.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/limits.h"
#include "os/log.h"
#include "os/sys.h"

#ifdef CW_SANITIZED
#define STACK_BYTES (2u * 1024u * 1024u) /* the sanitizers' frames are several times larger */
#else
#define STACK_BYTES (512u * 1024u)
#endif
#define THREADS_MAX 1024u
#define KEPT_IDLE_MS 1000
#define PAUSE_MS 100          /* after EMFILE and the like */
#define BUSY_AFTER_MS 250
#define PEER_SECONDS 60       /* a peer that neither sends nor takes bytes for so long is gone */
#define BODY_PIECE 16384u
#define WRITE_PIECE (1u << 30) /* FCGX_PutStr takes an int */

struct cw_wire {
    FCGX_Request fcgx;
};

struct server {
    const struct cw_web_app *app;
    atomic_uint in_hand; /* threads that serve a request now */
    int idle_fd;         /* epoll: {listener, stop}, where idle threads wait */
    int full_fd;         /* written when the last free thread takes a request */
};

/* --- the wire --- */

const char *cw_wire_param(struct cw_wire *wire, const char *name)
{
    return FCGX_GetParam(name, wire->fcgx.envp);
}

enum cw_code cw_wire_read(struct cw_wire *wire, size_t announced, struct cw_str *out, struct cw_err *err)
{
    FCGX_Stream *in = wire->fcgx.in;
    char piece[BODY_PIECE];
    size_t received = 0;
    int n;
    do {
        n = FCGX_GetStr(piece, sizeof piece, in);
        received += n > 0 ? (size_t)n : 0;
        if (n > 0 && received <= announced && cw_str_add(out, piece, (size_t)n) != CW_OK) {
            return cw_err_set(err, cw_str_code(out), "web.body", "the body does not fit its memory");
        }
    } while (n == (int)sizeof piece && received <= announced);
    if (FCGX_GetError(in) != 0 || received != announced) {
        return cw_err_set(err, CW_E_SYNTAX, "web.body", "%zu bytes came, %zu were announced", received, announced);
    }
    return CW_OK;
}

void cw_wire_drop(struct cw_wire *wire)
{
    wire->fcgx.keepConnection = 0;
}

bool cw_wire_write(struct cw_wire *wire, struct cw_span bytes)
{
    while (bytes.len > 0) {
        size_t piece = bytes.len < WRITE_PIECE ? bytes.len : WRITE_PIECE;
        if (FCGX_PutStr(bytes.ptr, (int)piece, wire->fcgx.out) < 0) {
            return false;
        }
        bytes = cw_span_from(bytes, piece);
    }
    return true;
}

bool cw_wire_flush(struct cw_wire *wire)
{
    return FCGX_FFlush(wire->fcgx.out) == 0;
}

/* --- waiting and accepting --- */

/* Sleeps until fd is readable. False when a stop was asked; *ret_ready says whether fd has something. */
static bool wait_for(int fd, int timeout_ms, bool *ret_ready)
{
    struct pollfd fds[] = { { .fd = cw_stop_fd(), .events = POLLIN }, { .fd = fd, .events = POLLIN } };
    int n = poll(fds, CW_ARRAY_LEN(fds), timeout_ms);
    *ret_ready = n > 0 && fds[1].revents != 0;
    return !cw_stop_asked();
}

/* Sleeps until there is a connection to take, for one of all that sleep here. False when a stop was asked. */
static bool wait_for_connection(const struct server *server)
{
    struct epoll_event event;
    (void)epoll_wait(server->idle_fd, &event, 1, -1);
    return !cw_stop_asked();
}

enum accepted { TAKEN, NOTHING, BROKEN };

/* FCGX_Accept_r gives −errno; which of these mean "try again" is from c-libs 1.1 (EMFILE ends naive loops). */
static enum accepted accept_request(struct cw_wire *wire)
{
    int rc = FCGX_Accept_r(&wire->fcgx);
    if (rc == 0) {
        struct timeval patience = { .tv_sec = PEER_SECONDS };
        (void)setsockopt(wire->fcgx.ipcFd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        (void)setsockopt(wire->fcgx.ipcFd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        return TAKEN;
    }
    switch (-rc) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
        return NOTHING;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: {
        bool ready;
        cw_log(CW_LOG_WARNING, "web.accept_pause", CW_INT("errno", -rc));
        (void)wait_for(-1, PAUSE_MS, &ready);
        return NOTHING;
    }
    default:
        return cw_stop_asked() ? NOTHING : BROKEN;
    }
}

/* Waits for the next request and takes it. False when the thread is to end. */
static bool next_request(const struct server *server, struct cw_wire *wire)
{
    for (;;) {
        FCGX_Finish_r(&wire->fcgx); /* sends what is buffered; closes, unless the peer asked to keep */
        bool kept = wire->fcgx.ipcFd >= 0;
        bool ready = true;
        if (!(kept ? wait_for(wire->fcgx.ipcFd, KEPT_IDLE_MS, &ready) : wait_for_connection(server))) {
            return false;
        }
        if (!ready) {
            FCGX_Free(&wire->fcgx, 1);
            continue;
        }
        switch (accept_request(wire)) {
        case TAKEN:
            return true;
        case NOTHING:
            break;
        case BROKEN:
            cw_log(CW_LOG_ERR, "web.accept_failed");
            cw_stop_ask();
            return false;
        }
    }
}

static void count_in(struct server *server)
{
    if (atomic_fetch_add(&server->in_hand, 1) + 1 == server->app->threads) {
        uint64_t one = 1;
        (void)!write(server->full_fd, &one, sizeof one);
    }
}

/* What a thread needs before it can take a request; false when something of it cannot be had. */
static bool furnish(const struct cw_web_app *app, struct cw_wire *wire, struct cw_place_of_work *at)
{
    *at = (struct cw_place_of_work){ .app = app, .arena = cw_arena_new(CW_REQUEST_ARENA_MAX) };
    if (at->arena == NULL || FCGX_InitRequest(&wire->fcgx, app->listen_fd, FCGI_FAIL_ACCEPT_ON_INTR) != 0) {
        return false;
    }
    if (app->thread_new != NULL) {
        at->thread = app->thread_new(app->context);
        return at->thread != NULL;
    }
    return true;
}

static void clear_out(struct cw_place_of_work *at)
{
    if (at->app->thread_free != NULL && at->thread != NULL) {
        at->app->thread_free(at->thread);
    }
    cw_arena_free(at->arena);
}

static void *work(void *arg)
{
    struct server *server = arg;
    struct cw_wire wire = { .fcgx = { .ipcFd = -1 } };
    struct cw_place_of_work at;
    if (!furnish(server->app, &wire, &at)) {
        cw_log(CW_LOG_ERR, "web.thread_failed");
        cw_stop_ask();
    }
    while (next_request(server, &wire)) {
        count_in(server);
        cw_request_serve(&at, &wire, false);
        cw_arena_clear(at.arena);
        atomic_fetch_sub(&server->in_hand, 1);
    }
    FCGX_Free(&wire.fcgx, 1);
    clear_out(&at);
    return NULL;
}

/* --- the main thread: waits for the stop, and answers by the waiting page when all others are busy --- */

static bool is_full(struct server *server)
{
    return atomic_load(&server->in_hand) >= server->app->threads;
}

static void serve_busy(struct server *server, const struct cw_place_of_work *at, struct cw_wire *wire)
{
    bool ready;
    while (is_full(server) && wait_for(server->app->listen_fd, BUSY_AFTER_MS, &ready)) {
        if (ready && is_full(server) && accept_request(wire) == TAKEN) {
            cw_request_serve(at, wire, true);
            FCGX_Finish_r(&wire->fcgx);
            cw_arena_clear(at->arena);
        }
    }
}

static void watch(struct server *server)
{
    struct cw_wire wire;
    struct cw_place_of_work at = { .app = server->app, .arena = cw_arena_new(CW_REQUEST_ARENA_MAX) };
    bool ready;
    bool helps = server->app->busy != NULL && at.arena != NULL &&
                 FCGX_InitRequest(&wire.fcgx, server->app->listen_fd, FCGI_FAIL_ACCEPT_ON_INTR) == 0;
    while (wait_for(helps ? server->full_fd : -1, -1, &ready)) {
        uint64_t count;
        if (ready && read(server->full_fd, &count, sizeof count) > 0 && wait_for(-1, BUSY_AFTER_MS, &ready)) {
            serve_busy(server, &at, &wire);
        }
    }
    if (helps) {
        FCGX_Free(&wire.fcgx, 1);
    }
    cw_arena_free(at.arena);
}

/* --- start and stop --- */

/* libfcgi polls up to 2 s for a peer's first byte and for its close; behind a local web server 200 ms are plenty, and a silent
 * connection then holds a thread no longer than that. It reads these once, in FCGX_Init. */
void cw_web_prepare(void)
{
    (void)setenv("LIBFCGI_IS_AF_UNIX_KEEPER_POLL_TIMEOUT", "200", 0);
    (void)setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "200", 0);
}

static enum cw_code init_library(const struct cw_web_app *app, struct cw_err *err)
{
    int is_listener = 0;
    socklen_t size = sizeof is_listener;
    if (getsockopt(app->listen_fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listener, &size) != 0 || is_listener == 0) {
        return cw_err_sys(err, CW_E_CONFIG, errno, "web.listen",
                          "descriptor %d is not a listening socket: start this program by spawn-fcgi or a systemd socket",
                          app->listen_fd);
    }
    int flags = fcntl(app->listen_fd, F_GETFL);
    if (flags < 0 || fcntl(app->listen_fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return cw_err_sys(err, CW_E_IO, errno, "web.listen", "the listening socket cannot be made non-blocking");
    }
    if (FCGX_Init() != 0) {
        return cw_err_set(err, CW_E_IO, "web.init", "libfcgi cannot start");
    }
    return CW_OK;
}

/* The set of {listener, stop} as an epoll descriptor, or -1. */
static int make_idle_set(const struct cw_web_app *app)
{
    int fds[] = { app->listen_fd, cw_stop_fd() };
    int set = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; set >= 0 && i < CW_ARRAY_LEN(fds); i++) {
        struct epoll_event event = { .events = EPOLLIN };
        if (epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &event) != 0) {
            (void)close(set);
            set = -1;
        }
    }
    return set;
}

/* Starts up to app->threads threads; fewer only when the system refuses, and then a stop is asked. */
static unsigned start_threads(struct server *server, pthread_t *threads, struct cw_err *err, enum cw_code *ret_code)
{
    unsigned started = 0;
    int rc = 0;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    while (started < server->app->threads && rc == 0) {
        rc = pthread_create(&threads[started], &attr, work, server);
        started += rc == 0;
    }
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        *ret_code = cw_err_sys(err, CW_E_IO, rc, "web.threads", "only %u of %u threads could be started", started,
                               server->app->threads);
        cw_stop_ask();
    }
    return started;
}

enum cw_code cw_web_run(const struct cw_web_app *app, struct cw_err *err)
{
    cw_routes_check(app);
    if (app->threads == 0 || app->threads > THREADS_MAX) {
        return cw_err_set(err, CW_E_CONFIG, "web.threads", "1 to %u threads", THREADS_MAX);
    }
    enum cw_code rc = init_library(app, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct server server = { .app = app, .idle_fd = make_idle_set(app), .full_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    pthread_t *threads = calloc(app->threads, sizeof *threads);
    unsigned started = 0;
    if (server.idle_fd < 0 || server.full_fd < 0 || threads == NULL) {
        rc = cw_err_sys(err, threads == NULL ? CW_E_OOM : CW_E_IO, errno, "web.start", "out of memory or descriptors");
        goto out;
    }
    started = start_threads(&server, threads, err, &rc);
    cw_log(CW_LOG_INFO, "web.serving", CW_INT("threads", started));
    watch(&server);
    FCGX_ShutdownPending();
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    cw_log(CW_LOG_INFO, "web.stopped");
out:
    free(threads);
    if (server.full_fd >= 0) {
        close(server.full_fd);
    }
    if (server.idle_fd >= 0) {
        close(server.idle_fd);
    }
    return rc;
}
