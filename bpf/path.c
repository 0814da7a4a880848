// Probe `path`: packets per network device, and the time from one device's transmit to another's receive.
//
// Counted is what a device's driver took (net_dev_xmit with result 0), by network namespace and index. A packet that a
// netkit program redirects to a NIC is never received on the host link, but it was transmitted on the pod's device.
// Packets here are the driver's: a large one that is segmented later counts once.

#define PATH_LOST 0

struct transmitted {
    u64 packets;
    u64 bytes;
    u64 refused;
    u64 device;
};
BPF_TABLE("percpu_hash", struct place, struct transmitted, path_devices, 2048);

// Packets on their way, by a digest of the packet's address. A later one takes the slot of an earlier one: what is lost
// is a sample of the hop time, never a count.
struct flight {
    u64 packet;
    u64 device;
    u64 begun;
};
BPF_ARRAY(path_flights, struct flight, 4096);

struct pair {
    u64 from;
    u64 to;
};
struct hops {
    struct place from;
    struct place to;
    u64 log2_ns[32];
};
BPF_HASH(path_hops, struct pair, struct hops, 2048);

static inline struct flight *flight_of(u64 packet) {
    int slot = (packet * 0x9e3779b97f4a7c15ULL) >> 52;
    return path_flights.lookup(&slot);
}

// net:net_dev_start_xmit(skb, dev)
int path_begun(struct bpf_raw_tracepoint_args *ctx) {
    u64 packet = ctx->args[0];
    struct flight *flight = flight_of(packet);
    if (!flight)
        return 0;
    flight->device = ctx->args[1];
    flight->begun = bpf_ktime_get_ns();
    flight->packet = packet;
    return 0;
}

// net:net_dev_xmit(skb, rc, dev, len)
int path_sent(struct bpf_raw_tracepoint_args *ctx) {
    struct place at = {};
    u64 device = ctx->args[2];
    if (!find_place(device, &at))
        return 0;
    struct transmitted *found = path_devices.lookup(&at);
    if (!found) {
        struct transmitted none = {};
        none.device = device;
        found = path_devices.lookup_or_try_init(&at, &none);
        if (!found) {
            lose(PATH_LOST);
            return 0;
        }
    }
    if ((int)ctx->args[1]) {
        found->refused += 1;
    } else {
        found->packets += 1;
        found->bytes += (u32)ctx->args[3];
    }
    return 0;
}

// net:netif_receive_skb(skb). The address may be stale (a packet that left through a NIC was freed elsewhere): who reads
// the map keeps only pairs of devices that are each other's peers.
int path_arrived(struct bpf_raw_tracepoint_args *ctx) {
    u64 packet = ctx->args[0];
    struct pair pair = {};
    struct flight *flight = flight_of(packet);
    if (!flight || flight->packet != packet)
        return 0;
    u64 took = bpf_ktime_get_ns() - flight->begun;
    pair.from = flight->device;
    flight->packet = 0;
    if (FETCH(pair.to, packet + SKB_DEV) || pair.from == pair.to)
        return 0;
    struct hops *found = path_hops.lookup(&pair);
    if (!found) {
        struct hops none = {};
        if (!find_place(pair.from, &none.from) || !find_place(pair.to, &none.to))
            return 0;
        found = path_hops.lookup_or_try_init(&pair, &none);
        if (!found) {
            lose(PATH_LOST);
            return 0;
        }
    }
    u32 power = power_of_two(took);
    if (power < 32)
        __sync_fetch_and_add(&found->log2_ns[power], 1);
    return 0;
}
