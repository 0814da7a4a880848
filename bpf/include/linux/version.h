// Nothing of ours depends on the kernel's version; BCC's headers want to compare one.
#define LINUX_VERSION_CODE 0x060c00
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
