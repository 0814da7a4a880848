// No probe: what the kernel spends on calling a program at all. The benchmark subtracts it.

int empty(struct bpf_raw_tracepoint_args *ctx) {
    return 0;
}
