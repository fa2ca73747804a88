# SPDX-License-Identifier: Apache-2.0
# odp and bounce on xfs.
# kernels: 7.3
# limit: 200
. "$(dirname "$0")/case.inc"
mkdir -p /mnt/x && truncate -s 600M /mnt/xfs.img && mkfs.xfs -q /mnt/xfs.img &&
  mount -o loop /mnt/xfs.img /mnt/x || exit 1
row odp-xfs odp 5 --quirk --dir /mnt/x --expect "transparent=True guard=precontent" && row bounce-xfs bounce 5 --unaligned --dir /mnt/x
