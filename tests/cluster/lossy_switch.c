/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An Ethernet switch in user space that loses, delays, reorders, duplicates packets as it is told.
 *
 *   lossy_switch SEED
 *
 * A line on standard input is a command, each is answered by a line:
 *   port NUMBER DEVICE    all packets of that network device, in place of what had the number
 *   set FROM TO [drop=PERCENT] [over=BYTES] [delay=MS] [jitter=MS] [duplicate=PERCENT]
 *       replaces all that was set for that direction; over: larger packets are dropped
 *   counts FROM TO        what happened in that direction since the start
 *   waiting               how many packets are delayed just now
 * It ends with its input. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 8
#define PACKET_MAX (65536 + sizeof(struct virtio_net_hdr))
#define WAITING_MAX 20000u /* packets that are delayed at one time; more are dropped */
#define BURST 64           /* packets taken from one port before the next has its turn */
#define LINE_MAX_SIZE 256

enum setting { DROP, OVER, DELAY, JITTER, DUPLICATE, SETTINGS };
static const char *const setting_names[] = {"drop", "over", "delay", "jitter", "duplicate"};

enum count { PASSED, DROPPED, OVERSIZE, DELAYED, REORDERED, DUPLICATED, COUNTS };
static const char *const count_names[] = {"passed",  "dropped",   "oversize",
                                          "delayed", "reordered", "duplicated"};

/* What happens to packets on their way from one port to another, and what did happen. */
struct direction {
    unsigned settings[SETTINGS];
    uint64_t counts[COUNTS];
    uint64_t last_due; /* when the last packet that had to wait goes out, microseconds */
};

struct packet {
    struct packet *next;
    uint64_t due; /* microseconds */
    int port;
    size_t size; /* with the header that says what the kernel left undone: checksums */
    uint8_t data[];
};

struct port {
    int fd;     /* 0: none */
    bool known; /* the address of who is behind it */
    uint8_t address[ETH_ALEN];
};

struct network {
    struct port ports[PORTS_MAX];
    struct direction directions[PORTS_MAX][PORTS_MAX];
    struct packet *waiting; /* in order of their time */
    unsigned waiting_count;
};

static uint64_t now_microseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* False, with errno: there is no such device, or it cannot be had. */
static bool open_port(struct port *port, const char *name)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)if_nametoindex(name)};
    struct packet_mreq all = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    int one = 1;
    int room = 64 << 20; /* a burst of corosync's, with the kernel's share for each packet */
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (port->fd)
        close(port->fd);
    *port = (struct port){.fd = fd > 0 ? fd : 0};
    return fd > 0 && address.sll_ifindex != 0 &&
           !setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) &&
           !setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) &&
           !setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) &&
           !setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) &&
           !bind(fd, (struct sockaddr *)&address, sizeof(address));
}

/* What a port does not take (it is down, full, too narrow) is lost, as on any switch. */
static void send_packet(struct network *network, int port, const uint8_t *data, size_t size)
{
    ssize_t sent = send(network->ports[port].fd, data, size, 0);

    (void)sent;
}

static void send_later(struct network *network, struct direction *direction, int port,
                       const uint8_t *data, size_t size, uint64_t due)
{
    struct packet **place = &network->waiting;
    struct packet *packet = malloc(sizeof(*packet) + size);

    if (!packet || network->waiting_count == WAITING_MAX) {
        free(packet);
        direction->counts[DROPPED]++;
        return;
    }
    direction->counts[DELAYED]++;
    direction->counts[REORDERED] += due < direction->last_due;
    direction->last_due = due;
    *packet = (struct packet){.due = due, .port = port, .size = size};
    memcpy(packet->data, data, size);
    while (*place && (*place)->due <= due)
        place = &(*place)->next;
    packet->next = *place;
    *place = packet;
    network->waiting_count++;
}

static void send_due(struct network *network)
{
    uint64_t now = now_microseconds();

    while (network->waiting && network->waiting->due <= now) {
        struct packet *packet = network->waiting;
        network->waiting = packet->next;
        network->waiting_count--;
        send_packet(network, packet->port, packet->data, packet->size);
        free(packet);
    }
}

static bool happens(unsigned percent)
{
    return percent && (unsigned)random() % 100 < percent;
}

static void pass(struct network *network, int from, int to, const uint8_t *data, size_t size)
{
    struct direction *direction = &network->directions[from][to];
    const unsigned *settings = direction->settings;
    size_t length = size - sizeof(struct virtio_net_hdr) - ETH_HLEN;

    if (settings[OVER] && length > settings[OVER]) {
        direction->counts[OVERSIZE]++;
        return;
    }
    if (happens(settings[DROP])) {
        direction->counts[DROPPED]++;
        return;
    }
    unsigned copies = happens(settings[DUPLICATE]) ? 2 : 1;
    direction->counts[PASSED]++;
    direction->counts[DUPLICATED] += copies - 1;
    for (unsigned i = 0; i < copies; i++) {
        uint64_t wait = settings[DELAY] * 1000u;
        if (settings[JITTER])
            wait += (unsigned)random() % (settings[JITTER] * 1000);
        if (wait)
            send_later(network, direction, to, data, size, now_microseconds() + wait);
        else
            send_packet(network, to, data, size);
    }
}

/* To whom it is for, or to all others if nobody has heard of that address. */
static void forward(struct network *network, int from, const uint8_t *data, size_t size)
{
    const uint8_t *target = data + sizeof(struct virtio_net_hdr);
    struct port *ports = network->ports;
    int only = -1;

    memcpy(ports[from].address, target + ETH_ALEN, ETH_ALEN);
    ports[from].known = true;
    for (int to = 0; to < PORTS_MAX; to++)
        if (ports[to].known && memcmp(ports[to].address, target, ETH_ALEN) == 0)
            only = to;
    for (int to = 0; to < PORTS_MAX; to++)
        if (to != from && ports[to].fd && (only < 0 || to == only))
            pass(network, from, to, data, size);
}

static void receive(struct network *network, int from)
{
    static uint8_t data[PACKET_MAX];

    for (int i = 0; i < BURST; i++) {
        ssize_t size = recv(network->ports[from].fd, data, sizeof(data), 0);
        if (size < (ssize_t)(sizeof(struct virtio_net_hdr) + ETH_HLEN))
            return; /* nothing more; or the port went down, which is told once */
        forward(network, from, data, (size_t)size);
    }
}

static struct direction *find_direction(struct network *network, int from, int to)
{
    bool known = from >= 1 && from <= PORTS_MAX && to >= 1 && to <= PORTS_MAX;

    return known ? &network->directions[from - 1][to - 1] : NULL;
}

static bool set_direction(struct direction *direction, const char *text)
{
    char name[16];
    unsigned value;
    int used;

    memset(direction->settings, 0, sizeof(direction->settings));
    for (; sscanf(text, " %15[a-z]=%u%n", name, &value, &used) == 2; text += used) {
        int i = 0;
        while (i < SETTINGS && strcmp(setting_names[i], name) != 0)
            i++;
        if (i == SETTINGS)
            return false;
        direction->settings[i] = value;
    }
    return text[strspn(text, " \n")] == '\0';
}

static void obey(struct network *network, const char *line)
{
    int from, to, used = 0;
    char name[IFNAMSIZ];
    struct direction *direction;

    if (sscanf(line, "port %d %15s", &from, name) == 2 && find_direction(network, from, from)) {
        printf("%s\n", open_port(&network->ports[from - 1], name) ? "done" : strerror(errno));
    } else if (sscanf(line, "set %d %d%n", &from, &to, &used) == 2 &&
               (direction = find_direction(network, from, to)) &&
               set_direction(direction, line + used)) {
        printf("done\n");
    } else if (sscanf(line, "counts %d %d", &from, &to) == 2 &&
               (direction = find_direction(network, from, to))) {
        for (int i = 0; i < COUNTS; i++)
            printf("%s=%lu%c", count_names[i], direction->counts[i], i + 1 < COUNTS ? ' ' : '\n');
    } else if (strcmp(line, "waiting\n") == 0) {
        printf("%u\n", network->waiting_count);
    } else {
        printf("not understood\n");
    }
    fflush(stdout);
}

/* False: the input has ended. Commands come one at a time, since each waits for its answer. */
static bool read_command(struct network *network)
{
    char line[LINE_MAX_SIZE];
    ssize_t size = read(STDIN_FILENO, line, sizeof(line) - 1);

    if (size <= 0)
        return false;
    line[size] = '\0';
    obey(network, line);
    return true;
}

/* Until a port or the input has something, or a packet has waited long enough. */
static void wait_for_work(struct network *network, struct pollfd *wanted)
{
    uint64_t now = now_microseconds();
    uint64_t due = network->waiting ? network->waiting->due : 0;
    uint64_t left = due > now ? due - now : 0;
    struct timespec wait = {(time_t)(left / 1000000), (long)(left % 1000000 * 1000)};

    for (int i = 0; i < PORTS_MAX; i++)
        wanted[i].fd = network->ports[i].fd ? network->ports[i].fd : -1;
    if (ppoll(wanted, PORTS_MAX + 1, network->waiting ? &wait : NULL, NULL) < 0)
        abort();
}

int main(int argc, char **argv)
{
    static struct network network;
    struct pollfd wanted[PORTS_MAX + 1];

    srandom(argc == 2 ? (unsigned)atoi(argv[1]) : 0);
    for (int i = 0; i <= PORTS_MAX; i++)
        wanted[i] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        wait_for_work(&network, wanted);
        send_due(&network);
        for (int i = 0; i < PORTS_MAX; i++)
            if (wanted[i].revents)
                receive(&network, i);
        if (wanted[PORTS_MAX].revents && !read_command(&network))
            return 0;
    }
}
