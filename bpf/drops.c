// Probe `drops`: packets that the kernel freed for a reason other than having been consumed, by reason, device, protocol.

#define DROPS_LOST 1

struct dropped {
    struct place at;
    u32 reason;
    u16 protocol;
    u8 next;
    u8 unused;
};
BPF_HASH(drops_counts, struct dropped, u64, 4096);

#define IPV4 0x0800
#define IPV6 0x86dd

// skb:kfree_skb(skb, location, reason, ...). Packets that were delivered go through skb:consume_skb instead.
int drops_freed(struct bpf_raw_tracepoint_args *ctx) {
    u64 packet = ctx->args[0], device = 0, head = 0;
    u16 network = 0;
    struct dropped what = {};
    what.reason = ctx->args[2];
    // A socket's queue keeps other things where the device was: then the place is unknown, not wrong.
    if (!FETCH(device, packet + SKB_DEV) && !find_place(device, &what.at)) {
        what.at.netns = 0;
        what.at.ifindex = 0;
    }
    FETCH(what.protocol, packet + SKB_PROTOCOL);
    what.protocol = bpf_ntohs(what.protocol);
    FETCH(head, packet + SKB_HEAD);
    FETCH(network, packet + SKB_NETWORK_HEADER);
    if (what.protocol == IPV4)
        FETCH(what.next, head + network + 9);
    else if (what.protocol == IPV6)
        FETCH(what.next, head + network + 6);
    u64 none = 0, *count = drops_counts.lookup_or_try_init(&what, &none);
    if (count)
        __sync_fetch_and_add(count, 1);
    else
        lose(DROPS_LOST);
    return 0;
}
