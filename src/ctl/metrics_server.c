/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The daemon's metrics over HTTP, by libmicrohttpd. */
#include "ctl/metrics_server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ctl/metrics_text.h"

#define CONNECTIONS_MAX 16u
#define IDLE_SECONDS 30u
#define LOOPBACK "127.0.0.1"
#define OPEN_METRICS "application/openmetrics-text"

/* ---- Answers ---- */

/* Takes over `text`. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int code, char *text,
                              const char *type)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);

    g_free(text);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_metrics(struct MHD_Connection *connection,
                                      const struct context *context)
{
    const char *accepted =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    char *text = metrics_text_ask(context);

    if (accepted && strstr(accepted, OPEN_METRICS))
        return answer(connection, MHD_HTTP_OK, text, OPEN_METRICS "; version=1.0.0; charset=utf-8");
    char *plain = metrics_text_plain(text);
    g_free(text);
    return answer(connection, MHD_HTTP_OK, plain, "text/plain; version=0.0.4; charset=utf-8");
}

static enum MHD_Result handle(void *closure, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    static const char type[] = "text/plain; charset=utf-8";
    const struct context *context = closure;

    (void)version;
    (void)upload;
    (void)upload_size;
    (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, g_strdup("only GET\n"), type);
    if (strcmp(url, "/metrics") == 0)
        return answer_metrics(connection, context);
    if (strcmp(url, "/") == 0)
        return answer(connection, MHD_HTTP_OK, g_strdup("pmxcfs: /metrics\n"), type);
    return answer(connection, MHD_HTTP_NOT_FOUND, g_strdup("only /metrics is here\n"), type);
}

/* ---- Where ---- */

/* An address as a number, in brackets if it has colons; freeaddrinfo() it. NULL: it is none, which
 * is told. */
static struct addrinfo *parse_address(const char *listen)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    const char *colon = strrchr(listen, ':');
    struct addrinfo *found = NULL;
    g_autofree char *address = g_strndup(listen, colon ? (gsize)(colon - listen) : 0);
    size_t length = strlen(address);
    guint64 port;

    bool good = colon && g_ascii_string_to_unsigned(colon + 1, 10, 1, UINT16_MAX, &port, NULL);
    if (length > 1 && address[0] == '[' && address[length - 1] == ']') {
        address[length - 1] = '\0';
        memmove(address, address + 1, length - 1);
    } else {
        good = good && !strchr(address, ':');
    }
    if (!good || getaddrinfo(*address ? address : LOOPBACK, colon + 1, &hints, &found) != 0) {
        fprintf(stderr,
                "error: '%s' is no [ADDRESS]:PORT, as :9787, 192.0.2.1:9787 or [::1]:9787\n",
                listen);
        return NULL;
    }
    return found;
}

/* ---- The server ---- */

static void wait_for_end(void)
{
    sigset_t ends;
    int number;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigwait(&ends, &number);
}

/* In this thread and those that it makes, so that the main one hears them. */
static void block_ends(void)
{
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
}

int metrics_serve(const struct context *context, const char *listen)
{
    struct addrinfo *address = parse_address(listen);

    if (!address)
        return EXIT_WRONG_USE;
    block_ends();
    unsigned int flags = MHD_USE_AUTO_INTERNAL_THREAD;
    flags |= address->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0;
    errno = 0;
    struct MHD_Daemon *server =
        MHD_start_daemon(flags, 0, NULL, NULL, handle, (void *)context, MHD_OPTION_SOCK_ADDR,
                         address->ai_addr, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
    int error = errno;
    freeaddrinfo(address);
    if (!server) {
        fprintf(stderr, "error: cannot listen at %s: %s\n", listen,
                error ? g_strerror(error) : "the server does not start");
        return EXIT_FAILED;
    }
    wait_for_end();
    MHD_stop_daemon(server);
    return EXIT_DONE;
}
