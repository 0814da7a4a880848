// Probe `tcp`: connections per local address: time to connect, smoothed round-trip time, retransmits, resets.

#define TCP_LOST 2

#define ESTABLISHED 1
#define SYN_SENT 2
#define SYN_RECEIVED 3
#define CLOSED 7
#define INET6 10
#define TCP 6

// An IPv6 address; IPv4 as ::ffff:a.b.c.d, which is also how a socket for both families has it.
struct address {
    u32 word[4];
};
struct endpoint {
    u64 connects;
    u64 failures;
    u64 accepts;
    u64 untimed;  // segments of connections without a round-trip time
    u64 retransmits;
    u64 resets_sent;
    u64 resets_received;
    u32 connect_log2_us[32];
    u32 srtt_log2_us[32];
};
BPF_HASH(tcp_endpoints, struct address, struct endpoint, 2048);
// Sockets that have sent their SYN, and when.
BPF_HASH(tcp_connecting, u64, u64, 16384);

static inline void local_address(u64 sock, struct address *local) {
    u16 family = 0;
    u32 source = 0;
#if NEAR(SOCK_SOURCE, SOCK_FAMILY)
    u8 near[SPAN(SOCK_SOURCE, SOCK_FAMILY, 4)] __attribute__((aligned(8)));
    FETCH(near, sock + FROM(SOCK_SOURCE, SOCK_FAMILY));
    family = *(u16 *)(near + SOCK_FAMILY - FROM(SOCK_SOURCE, SOCK_FAMILY));
    source = *(u32 *)(near + SOCK_SOURCE - FROM(SOCK_SOURCE, SOCK_FAMILY));
#else
    FETCH(family, sock + SOCK_FAMILY);
    FETCH(source, sock + SOCK_SOURCE);
#endif
    if (family == INET6) {
        FETCH(*local, sock + SOCK_SOURCE_V6);
    } else {
        local->word[2] = 0xffff0000;
        local->word[3] = source;
    }
}

static inline struct endpoint *endpoint_at(struct address *local) {
    struct endpoint *found = tcp_endpoints.lookup(local);
    if (!found) {
        struct endpoint none = {};
        found = tcp_endpoints.lookup_or_try_init(local, &none);
        if (!found)
            lose(TCP_LOST);
    }
    return found;
}

static inline struct endpoint *endpoint_of(u64 sock) {
    struct address local = {};
    local_address(sock, &local);
    return endpoint_at(&local);
}

// sock:inet_sock_set_state(sk, oldstate, newstate)
int tcp_state(struct bpf_raw_tracepoint_args *ctx) {
    u64 sock = ctx->args[0];
    int before = ctx->args[1], after = ctx->args[2];
    u16 protocol = 0;
    if (after != SYN_SENT && before != SYN_SENT && before != SYN_RECEIVED)
        return 0;
    if (FETCH(protocol, sock + SOCK_PROTOCOL) || protocol != TCP)
        return 0;
    if (after == SYN_SENT) {
        u64 now = bpf_ktime_get_ns();
        if (tcp_connecting.update(&sock, &now))
            lose(TCP_LOST);
        return 0;
    }
    if (before == SYN_RECEIVED) {
        struct endpoint *accepting = after == ESTABLISHED ? endpoint_of(sock) : 0;
        if (accepting)
            __sync_fetch_and_add(&accepting->accepts, 1);
        return 0;
    }
    u64 *begun = tcp_connecting.lookup(&sock);
    u64 took = begun ? (bpf_ktime_get_ns() - *begun) / 1000 : 0;
    struct endpoint *endpoint = endpoint_of(sock);
    if (endpoint && after == ESTABLISHED) {
        __sync_fetch_and_add(&endpoint->connects, 1);
        u32 power = power_of_two(took);
        if (begun && power < 32)
            __sync_fetch_and_add(&endpoint->connect_log2_us[power], 1);
    } else if (endpoint && after == CLOSED) {
        __sync_fetch_and_add(&endpoint->failures, 1);
    }
    tcp_connecting.delete(&sock);
    return 0;
}

static inline int retransmitted(u64 sock) {
    struct endpoint *endpoint = endpoint_of(sock);
    if (endpoint)
        __sync_fetch_and_add(&endpoint->retransmits, 1);
    return 0;
}

// tcp:tcp_retransmit_skb(sk, skb, err): newer kernels tell of those that could not be sent as well.
int tcp_retransmit(struct bpf_raw_tracepoint_args *ctx) {
    return (int)ctx->args[2] ? 0 : retransmitted(ctx->args[0]);
}

// tcp:tcp_retransmit_skb(sk, skb)
int tcp_retransmit_two(struct bpf_raw_tracepoint_args *ctx) {
    return retransmitted(ctx->args[0]);
}

// tcp:tcp_retransmit_synack(sk, req): a request starts like a socket.
int tcp_retransmit_synack(struct bpf_raw_tracepoint_args *ctx) {
    return retransmitted(ctx->args[1]);
}

// tcp:tcp_receive_reset(sk)
int tcp_reset_received(struct bpf_raw_tracepoint_args *ctx) {
    struct endpoint *endpoint = endpoint_of(ctx->args[0]);
    if (endpoint)
        __sync_fetch_and_add(&endpoint->resets_received, 1);
    return 0;
}

// Where a received packet was sent to.
static inline void destination(u64 packet, struct address *local) {
    u64 head = 0;
    u16 network = 0;
    u8 version = 0;
    FETCH(head, packet + SKB_HEAD);
    FETCH(network, packet + SKB_NETWORK_HEADER);
    FETCH(version, head + network);
    if (version >> 4 == 6) {
        FETCH(*local, head + network + 24);
    } else {
        local->word[2] = 0xffff0000;
        FETCH(local->word[3], head + network + 16);
    }
}

// tcp:tcp_send_reset(sk, skb, ...). Without a socket, or with one that listens on any address, the answered packet tells.
int tcp_reset_sent(struct bpf_raw_tracepoint_args *ctx) {
    u64 sock = ctx->args[0], packet = ctx->args[1];
    struct address local = {};
    if (sock)
        local_address(sock, &local);
    if (packet && !local.word[3])
        destination(packet, &local);
    struct endpoint *endpoint = endpoint_at(&local);
    if (endpoint)
        __sync_fetch_and_add(&endpoint->resets_sent, 1);
    return 0;
}

// tcp:tcp_probe(sk, skb): a segment arrived on an established connection. The kernel keeps srtt in eighths.
int tcp_segment(struct bpf_raw_tracepoint_args *ctx) {
    u64 sock = ctx->args[0];
    u32 eighths = 0;
    struct endpoint *endpoint = endpoint_of(sock);
    if (!endpoint)
        return 0;
    if (FETCH(eighths, sock + TCP_SRTT) || !eighths) {
        __sync_fetch_and_add(&endpoint->untimed, 1);
        return 0;
    }
    u32 power = power_of_two(eighths >> 3);
    if (power < 32)
        __sync_fetch_and_add(&endpoint->srtt_log2_us[power], 1);
    return 0;
}
