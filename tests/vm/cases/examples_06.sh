# SPDX-License-Identifier: Apache-2.0
# Example 06 on persistent memory (the tier boots with memmap=): more peers than buffers, while somebody else truncates the pool's
# file and makes it longer again. No peer reads anything but what it wrote; each buffer on the file holds what one peer wrote.
# kernels: 6.12 7.3
# full: 6.1
# limit: 120
[ -b /dev/pmem0 ] || { echo "no /dev/pmem0: the kernel command line has no memmap="; exit 77; }
work=/run/load/examples_06
. "$(dirname "$0")/examples.inc"
# 4096: DAX wants blocks of a page.
mkdir -p /mnt/dax && mkfs.ext4 -qF -b 4096 /dev/pmem0 && mount -o dax /dev/pmem0 /mnt/dax || fail "no ext4 with DAX"
start_daemon /mnt/dax
own_file /mnt/dax/pool 1M
mkfifo "$work/in"
$RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/06_dax_pool" serve /mnt/dax/pool 10.99.0.1 7476 262144 "$work/sock" \
  < "$work/in" > "$work/pool.out" 2>&1 & pool=$!
exec 9> "$work/in"
wait_for pool '^listening'
kernel_at_least 7.3 && backing='odp, transparent, guard precontent' || backing='bounce, guard lease'
grep -q "^4 buffers, backing $backing" "$work/pool.out" || fail "not $backing"
peers=()
for n in 1 2 3 4 5 6; do
  $SEND_NS setpriv --reuid=65532 --regid=65532 --clear-groups "$bin/06_dax_pool" use 10.99.0.1 7476 12 \
    > "$work/peer$n.out" 2>&1 9>&- & peers+=($!)
done
cuts=0
while kill -0 "${peers[@]}" 2> /dev/null; do  # all of them are there
  cut /mnt/dax/pool $((524288 * (cuts % 2 + 1))) || fail "a truncate"
  cuts=$((cuts + 1))
done
for peer in "${peers[@]}"; do wait "$peer" || fail "a peer ended with $?"; done
cut /mnt/dax/pool 524288 && cut /mnt/dax/pool 1048576 || fail "a truncate"
$SEND_NS setpriv --reuid=65532 --regid=65532 --clear-groups "$bin/06_dax_pool" use 10.99.0.1 7476 1 > "$work/last.out" 2>&1 ||
  fail "the last peer ended with $?"
wait_for pool 'the file has grown'
exec 9>&-
wait "$pool" || fail "the pool ended with $?"
python3 -B - /mnt/dax/pool <<'PYTHON' || fail "a buffer holds what nobody wrote whole"
import array, sys
with open(sys.argv[1], "rb") as file:
    buffers = [set(array.array("Q", file.read(262144))) for _ in range(4)]
print("buffers (time, number):", *[sorted((w >> 32, w & 0xffffffff) for w in b) for b in buffers])
sys.exit(any(len(b) != 1 or max(b) & 0xffffffff not in (0, n + 1) for n, b in enumerate(buffers)) or not max(buffers[0]))
PYTHON
stop_daemon
umount /mnt/dax
cat "$work"/*.out
echo "$cuts truncates while peers used the pool"
