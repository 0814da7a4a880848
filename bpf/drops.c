// Probe `drops`: packets that the kernel freed for a reason other than having been consumed, by reason, device, protocol.

#define DROPS_LOST 1

// By the device's address, which spares two fetches; which device that was is found out at its first drop.
struct dropped {
    u64 device;
    u32 reason;
    u16 protocol;
    u8 next;
    u8 unused;
};
struct count {
    u64 packets;
    struct place at;
};
BPF_HASH(drops_counts, struct dropped, struct count, 4096);

#define IPV4 0x0800
#define IPV6 0x86dd

// Where the packet was, what it was.
static inline void describe(u64 packet, struct dropped *what) {
    u64 head = 0;
    u16 network = 0;
#define INSIDE(field) (SKB_DEV < (field) && (field) < SKB_HEAD)
#if NEAR(SKB_DEV, SKB_HEAD) && INSIDE(SKB_PROTOCOL) && INSIDE(SKB_NETWORK_HEADER)
    u8 near[SPAN(SKB_DEV, SKB_HEAD, 8)] __attribute__((aligned(8)));
    FETCH(near, packet + SKB_DEV);
    what->device = *(u64 *)near;
    what->protocol = *(u16 *)(near + SKB_PROTOCOL - SKB_DEV);
    network = *(u16 *)(near + SKB_NETWORK_HEADER - SKB_DEV);
    head = *(u64 *)(near + SKB_HEAD - SKB_DEV);
#else
    FETCH(what->device, packet + SKB_DEV);
    FETCH(what->protocol, packet + SKB_PROTOCOL);
    FETCH(network, packet + SKB_NETWORK_HEADER);
    FETCH(head, packet + SKB_HEAD);
#endif
    what->protocol = bpf_ntohs(what->protocol);
    if (what->protocol == IPV4)
        FETCH(what->next, head + network + 9);
    else if (what->protocol == IPV6)
        FETCH(what->next, head + network + 6);
}

// skb:kfree_skb(skb, location, reason, ...). Packets that were delivered go through skb:consume_skb instead.
int drops_freed(struct bpf_raw_tracepoint_args *ctx) {
    struct dropped what = {};
    what.reason = ctx->args[2];
    describe(ctx->args[0], &what);
    struct count *count = drops_counts.lookup(&what);
    if (!count) {
        struct count none = {};
        // A socket's queue keeps other things where the device was: then the place is unknown, not wrong.
        if (!what.device || !find_place(what.device, &none.at)) {
            what.device = 0;
            none.at.netns = 0;
            none.at.ifindex = 0;
        }
        count = drops_counts.lookup_or_try_init(&what, &none);
    }
    if (count)
        __sync_fetch_and_add(&count->packets, 1);
    else
        lose(DROPS_LOST);
    return 0;
}
