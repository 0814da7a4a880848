"""Kernel headers for BCC without a kernel: the exported (uapi) headers and a few stand-ins.

BCC compiles against $BCC_KERNEL_SOURCE, laid out like a kernel tree. A probe that uses only tracepoint arguments,
packets and helpers needs no kernel-internal header; without them it compiles in a third of the time, on any kernel.
Decision: 7 MB of stand-ins instead of linux-headers (50 MB, one exact version). The price: kernel-internal headers such
as net/sock.h cannot be included.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rollout.lab.image.errors import ImageError

GUEST_FOLDER = Path("usr/share/bcc-headers")
# BCC brings a bpf.h of its own under the kernel's guard; the exported header is guarded by another name.
BPF_GUARD = re.compile(r"\b(?:_UAPI)?__LINUX_BPF_H__\b")
WANTED = ("asm-generic", "linux")

TYPES = """\
#ifndef STAND_IN_LINUX_TYPES_H
#define STAND_IN_LINUX_TYPES_H
#include <uapi/linux/types.h>
#include <linux/stddef.h>
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;
enum { false = 0, true = 1 };
typedef __kernel_size_t size_t;
typedef __kernel_ssize_t ssize_t;
typedef __kernel_ptrdiff_t ptrdiff_t;
typedef unsigned long uintptr_t;
typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
typedef __s8 int8_t;
typedef __s16 int16_t;
typedef __s32 int32_t;
typedef __s64 int64_t;
typedef __kernel_pid_t pid_t;
typedef __kernel_uid32_t uid_t;
typedef __kernel_gid32_t gid_t;
typedef __u32 dev_t;
typedef unsigned short umode_t;
typedef unsigned long ino_t;
typedef __kernel_loff_t loff_t;
typedef __kernel_clockid_t clockid_t;
typedef __u64 sector_t;
typedef __u64 blkcnt_t;
typedef unsigned int gfp_t;
typedef unsigned short sa_family_t;
typedef struct { int counter; } atomic_t;
typedef struct { __s64 counter; } atomic64_t;
struct list_head { struct list_head *next, *prev; };
#endif
"""

STDDEF = """\
#ifndef STAND_IN_LINUX_STDDEF_H
#define STAND_IN_LINUX_STDDEF_H
#include <uapi/linux/stddef.h>
#undef NULL
#define NULL ((void *)0)
#undef offsetof
#define offsetof(TYPE, MEMBER) __builtin_offsetof(TYPE, MEMBER)
#endif
"""

# The kernel's names of the registers (di), which BCC's macros use; the exported header has the debugger's (rdi).
PTRACE = """\
#ifndef STAND_IN_ASM_X86_PTRACE_H
#define STAND_IN_ASM_X86_PTRACE_H
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#endif
"""

COMPILER = """\
#ifndef STAND_IN_LINUX_COMPILER_H
#define STAND_IN_LINUX_COMPILER_H
#define __user
#define __kernel
#define __force
#define __iomem
#define __percpu
#define __rcu
#define __must_check
#undef __always_inline
#define __always_inline inline __attribute__((__always_inline__))
#ifndef __packed
#define __packed __attribute__((__packed__))
#endif
#define __aligned(x) __attribute__((__aligned__(x)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
"""

KCONFIG = """\
#ifndef __LINUX_KCONFIG_H
#define __LINUX_KCONFIG_H
#define CONFIG_64BIT 1
#define CONFIG_X86_64 1
#define CONFIG_BPF 1
#define CONFIG_BPF_SYSCALL 1
#define CONFIG_BPF_JIT 1
#define CONFIG_NET 1
#define CONFIG_INET 1
#define CONFIG_CGROUPS 1
#include <linux/compiler.h>
#endif
"""

PAGE = """\
#ifndef STAND_IN_ASM_X86_PAGE_H
#define STAND_IN_ASM_X86_PAGE_H
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#endif
"""

VERSION = """\
#define LINUX_VERSION_CODE 0x060c00
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
"""

BYTEORDER = """\
#ifndef STAND_IN_ASM_X86_BYTEORDER_H
#define STAND_IN_ASM_X86_BYTEORDER_H
#include <linux/byteorder/little_endian.h>
#ifndef htons
#define htons(x) __builtin_bswap16(x)
#define ntohs(x) __builtin_bswap16(x)
#define htonl(x) __builtin_bswap32(x)
#define ntohl(x) __builtin_bswap32(x)
#endif
#endif
"""

STAND_INS = {
    "include/linux/types.h": TYPES,
    "include/linux/stddef.h": STDDEF,
    "include/linux/compiler.h": COMPILER,
    "include/linux/compiler_types.h": "#include <linux/compiler.h>\n",
    "include/linux/compiler-clang.h": "",
    "include/linux/kconfig.h": KCONFIG,
    "include/linux/version.h": VERSION,
    "include/linux/log2.h": "",
    "include/linux/kernel.h": "#include <linux/types.h>\n",
    "include/linux/init.h": "",
    "include/linux/module.h": "",
    "include/linux/bpf.h": "#include <uapi/linux/bpf.h>\n",
    "include/linux/ptrace.h": "#include <uapi/linux/ptrace.h>\n",
    "include/linux/autoconf.h": "",
    "include/generated/autoconf.h": "",
    "include/generated/uapi/linux/version.h": VERSION,
    "arch/x86/include/asm/page.h": PAGE,
    "arch/x86/include/asm/ptrace.h": PTRACE,
    "arch/x86/include/asm/byteorder.h": BYTEORDER,
}


def build_headers(package: Path, target: Path) -> None:
    """Lay out the stub headers in `target` from an unpacked linux-libc-dev in `package`. Raises ImageError."""
    exported = package / "usr/include"
    machine = exported / "x86_64-linux-gnu/asm"
    if not machine.is_dir() or not (exported / "linux/bpf.h").is_file():
        raise ImageError(f"cannot build the lab image: step headers: {package} is no linux-libc-dev for amd64")
    for name in WANTED:
        shutil.copytree(exported / name, target / "include/uapi" / name)
    # A link to a folder of another package in some releases, hence the copy of what it points to.
    shutil.copytree(machine.resolve(), target / "arch/x86/include/uapi/asm")
    bpf = target / "include/uapi/linux/bpf.h"
    bpf.write_text(BPF_GUARD.sub("_UAPI__LINUX_BPF_H__", bpf.read_text()))
    for name, text in STAND_INS.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
