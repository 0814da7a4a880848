// What every probe starts with. Compiled by BCC; one probe's source, or several, follow in the same text.
//
// No kernel header and no layout of a kernel structure is written down here or in the probes: where a field lies comes as
// a -D macro (SKB_DEV, DEV_IFINDEX, ...), read from the running kernel's BTF just before.

#define FETCH(into, address) bpf_probe_read_kernel(&(into), sizeof(into), (void *)(address))

// Numbers of network namespaces start here (include/linux/proc_ns.h); a pointer that was no device does not lead to one.
#define FIRST_NETNS 0xeffffff0

struct place {
    u32 netns;
    u32 ifindex;
};

// What did not fit into a map, hence was not counted: by probe, in the order path, drops, tcp.
BPF_ARRAY(lost, u64, 3);

static inline void lose(int probe) {
    u64 *count = lost.lookup(&probe);
    if (count)
        __sync_fetch_and_add(count, 1);
}

// Fields that lie near each other are fetched at once: a call costs 30 ns, 200 bytes more cost 5 (measured).
#define LOWER(a, b) ((a) < (b) ? (a) : (b))
#define UPPER(a, b) ((a) < (b) ? (b) : (a))
#define FROM(a, b) (LOWER(a, b) & ~7)
#define SPAN(a, b, size) ((UPPER(a, b) + (size) - FROM(a, b) + 7) & ~7)
#define NEAR(a, b) (UPPER(a, b) - LOWER(a, b) <= 224)

#ifdef DEV_NET
// Which device `device` points to. False when it is none.
static inline bool find_place(u64 device, struct place *at) {
    u64 net = 0;
#if NEAR(DEV_NET, DEV_IFINDEX)
    u8 near[SPAN(DEV_NET, DEV_IFINDEX, 8)] __attribute__((aligned(8)));
    if (FETCH(near, device + FROM(DEV_NET, DEV_IFINDEX)))
        return 0;
    net = *(u64 *)(near + DEV_NET - FROM(DEV_NET, DEV_IFINDEX));
    at->ifindex = *(u32 *)(near + DEV_IFINDEX - FROM(DEV_NET, DEV_IFINDEX));
#else
    if (FETCH(net, device + DEV_NET) || FETCH(at->ifindex, device + DEV_IFINDEX))
        return 0;
#endif
    return !FETCH(at->netns, net + NET_INUM) && at->netns >= FIRST_NETNS;
}
#endif

// The i for which value is in [2^i, 2^(i+1)); 31 for all that is longer.
static inline u32 power_of_two(u64 value) {
    u32 low = value, power = 0, shift;
    if (value >> 32)
        return 31;
    shift = (low > 0xffff) << 4; low >>= shift; power |= shift;
    shift = (low > 0xff) << 3; low >>= shift; power |= shift;
    shift = (low > 0xf) << 2; low >>= shift; power |= shift;
    shift = (low > 0x3) << 1; low >>= shift; power |= shift;
    return power | (low >> 1);
}
