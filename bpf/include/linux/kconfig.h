// Stand-ins for kernel headers: just what BCC's own headers ask for, so that a node needs none. See rollout/onnode/bpfcompile.py.
#define CONFIG_BPF_SYSCALL 1
