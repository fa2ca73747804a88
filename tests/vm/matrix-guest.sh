# SPDX-License-Identifier: Apache-2.0
# In the guest: the matrix's cells on every file system. MRLEASE_MATRIX: which ones (matrix.py --only).
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/rig/guest.sh"
setup_rdma && setup_disk || exit 1
export RECV_NS SEND_NS
for fs in xfs btrfs; do
  mkdir -p "/mnt/$fs" && truncate -s 600M "/mnt/e/$fs.img" && "mkfs.$fs" -q "/mnt/e/$fs.img" && mount -o loop "/mnt/e/$fs.img" "/mnt/$fs" || exit 1
done
mkdir -p /mnt/tmpfs /mnt/dax && mount -t tmpfs -o size=64M none /mnt/tmpfs || exit 1
mkfs.ext4 -qF -b 4096 /dev/pmem0 && mount -o dax /dev/pmem0 /mnt/dax || exit 1
python3 -B "$here/matrix/matrix.py" --out "$VM_RESULTS/cells.jsonl" --only "${MRLEASE_MATRIX:-}" --keep "$VM_RESULTS/failed" \
  --fs ext4=/mnt/e --fs xfs=/mnt/xfs --fs btrfs=/mnt/btrfs --fs tmpfs=/mnt/tmpfs --fs dax=/mnt/dax \
  --bin "$MRLEASE_BUILD/tests/vm/load" --daemon "$MRLEASE_BUILD/daemon/loop/mrleased"
