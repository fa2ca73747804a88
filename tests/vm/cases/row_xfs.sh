# SPDX-License-Identifier: Apache-2.0
# odp and bounce on xfs.
# kernels: 7.3
# limit: 200
. "$(dirname "$0")/case.inc"
umount /mnt/e && setup_disk xfs || exit 1
trap "umount /mnt/e && setup_disk ext4" EXIT
row odp-xfs odp 5 --quirk && row bounce-xfs bounce 5 --unaligned
