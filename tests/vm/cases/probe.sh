# SPDX-License-Identifier: Apache-2.0
# What the library finds by trying on this kernel's device: odp (0 no, 2 whole pages only), whether a device fault waits in
# userfaultfd, whether a file mapping can be pinned for writing.
# kernels: 6.1 6.12 7.3
# limit: 60
. "$(dirname "$0")/case.inc"
expected="0 0 1"
! kernel_at_least 6.12 || expected="0 0 0"
! kernel_at_least 7.3 || expected="2 1 0"
truncate -s 1M /mnt/e/probe
device=$($RECV_NS ls /sys/class/infiniband | head -n 1)
# shellcheck disable=SC2086  # words
$RECV_NS "$MRLEASE_BUILD/tests/unit/client/client_probe" "$device" /mnt/e/probe $expected || { echo "NOT OK: expected $expected"; exit 1; }
# What mrleasectl probe runs says the same.
$RECV_NS "$MRLEASE_BUILD/client-lib/mrlease-probe" > /run/probe || { echo "NOT OK: mrlease-probe: $(cat /run/probe)"; exit 1; }
cat /run/probe
odp=false; [ "${expected%% *}" = 0 ] || odp=true
grep -q "{\"name\": \"$device\", \"capabilities\": \[{\"name\": \"odp\", \"supported\": $odp, \"reason\": \".*self-test" /run/probe ||
  { echo "NOT OK: odp of $device is to be $odp"; exit 1; }
! $RECV_NS "$MRLEASE_BUILD/client-lib/mrlease-probe" nobody > /run/probe || { echo "NOT OK: a device that is not there"; exit 1; }
kernel_at_least 7.3 || exit 0
# Not told of the quirk, auto takes bounce; told of it, odp, transparent.
row auto auto 1 --unaligned --expect backing=bounce && row auto-quirk auto 1 --quirk --expect "backing=odp transparent=True" || exit 1
run_row "$VM_RESULTS/rows/odp-unasked.json" odp-unasked odp --cycles 1
grep -q '"refused": .*page' "$VM_RESULTS/rows/odp-unasked.json" ||
  { echo "NOT OK: odp without the quirk: $(grep '"refused"' "$VM_RESULTS/rows/odp-unasked.json")"; exit 1; }
