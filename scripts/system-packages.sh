#!/usr/bin/env bash
# Installs what the lab and the tests need from the distribution (Debian 12), if anything is missing. No service is started.
set -euo pipefail

packages=(
  python3-venv                                  # the virtual environment
  qemu-system-x86 mmdebstrap busybox-static cpio zstd iproute2 kmod e2fsprogs   # the lab's machines
  linux-libc-dev python3-bpfcc                  # probes: BCC and the headers it compiles with
  openssh-client openssh-server sudo            # SSH tests against a server of their own
  postgresql                                    # the state suite on PostgreSQL
  chromium                                      # the HTML plan is opened, searched and printed in a real browser
)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "error: cannot install ${missing[*]}: not root" >&2
  echo "  next: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 4
fi

# Packages must not start their services here; Debian asks this program whether they may.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
