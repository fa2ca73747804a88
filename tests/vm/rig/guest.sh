# SPDX-License-Identifier: Apache-2.0
# What scripts in the guest share; source it. Everything here runs as root in the guest.

kernel_at_least() { [ "$(printf '%s\n' "$1" "${VM_KERNEL%%-*}" | sort -V | head -n 1)" = "$1" ]; }

# Two peers. From 7.3: a network namespace each, over veth, with a device each (created in the namespace; moving one
# there leaves it without its management QP, and rdma_cm then fails). Before, rxe cannot do that: one device on a dummy netdev
# serves both. MTU 9000, or rxe falls below a path MTU of 4096.
: "${RECV_NS:=}" "${SEND_NS:=}"  # prefixes of commands; set by setup_rdma
setup_rdma() {
  if ! kernel_at_least 7.3; then
    ip link add dummy0 type dummy 2>/dev/null  # the module may have made it
    ip link set dummy0 mtu 9000 up; ip addr add 10.99.0.1/24 dev dummy0
    rdma link add rxe0 type rxe netdev dummy0
    return
  fi
  ip netns add recv; ip netns add send
  ip link add veth0 netns recv type veth peer name veth1 netns send
  ip -n recv addr add 10.99.0.1/24 dev veth0; ip -n send addr add 10.99.0.2/24 dev veth1
  for side in recv:veth0:rxe0 send:veth1:rxe1; do
    IFS=: read -r ns dev rxe <<< "$side"
    ip -n "$ns" link set lo up; ip -n "$ns" link set "$dev" mtu 9000 up
    ip netns exec "$ns" rdma link add "$rxe" type rxe netdev "$dev"
  done
  # nsenter, not "ip netns exec": that makes a mount namespace too, and the daemon must know the mount of a leased file.
  RECV_NS="nsenter --net=/run/netns/recv" SEND_NS="nsenter --net=/run/netns/send"
}

# setup_disk [ext4|xfs|btrfs] [DIR]: a fresh file system on /dev/vda.
setup_disk() {
  local fs=${1:-ext4} dir=${2:-/mnt/e}
  mkdir -p "$dir"
  case $fs in
    ext4) mkfs.ext4 -qF /dev/vda;;
    xfs) mkfs.xfs -qf /dev/vda;;
    btrfs) mkfs.btrfs -qf /dev/vda;;
  esac
  mount -t "$fs" /dev/vda "$dir"
}

# as UID GID COMMAND...: unprivileged, with memlock as the caller's (unlimited in the rig).
as() { local uid=$1 gid=$2; shift 2; setpriv --reuid="$uid" --regid="$gid" --clear-groups "$@"; }
as_nobody() { as 65534 65534 "$@"; }
nobody_dir() { mkdir -p "$1"; chown 65534:65534 "$1"; }
