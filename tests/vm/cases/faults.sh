# SPDX-License-Identifier: Apache-2.0
# Disks that are full, fail, hang or go read-only under a lease; limits of the daemon; many that wait at once, and for a daemon that stands still.
# Each on one kernel; --full: all on each.
# kernels: 6.1 7.3
# limit: 300
. "$(dirname "$0")/case.inc"
status=0
faults() {
  local names=$1; shift
  RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$cases/../load/faults.py" "$names" --size 1048576 "$@" \
    --bin "$MRLEASE_BUILD/tests/vm/load" --daemon "$MRLEASE_BUILD/daemon/loop/mrleased" --out /dev/null || status=1
  for log in /run/load/fault_*/*.log; do cp "$log" "$VM_RESULTS/cases/faults.$(basename "$(dirname "$log")").$(basename "$log")"; done
}
# direct: what is pinned has its blocks, so that a full disk changes nothing; its keys change with each recall.
bounce=full,failing,read_only,limits odp=full_frozen,full_settled,full_reattached,failing_frozen,failing,failing_unasked,hanging,read_only,limits,pressure
cooperative=full_frozen,full_reattached,failing_frozen,read_only direct=failing_frozen,pressure
! kernel_at_least 7.3 || bounce=$bounce,queue
if [ -z "${MRLEASE_FULL:-}" ]; then
  direct=failing_frozen; cooperative=full_frozen; odp=full_frozen,full_settled,full_reattached,failing_frozen,failing_unasked,hanging,read_only,pressure
  if kernel_at_least 7.3; then bounce=failing,limits,queue; else bounce=full; fi
fi
faults $bounce --backing bounce
kernel_at_least 7.3 || faults $direct --backing direct
! kernel_at_least 7.3 || faults $odp --backing odp --quirk
! kernel_at_least 7.3 || faults $cooperative --backing odp-cooperative --quirk
exit $status
