# SPDX-License-Identifier: Apache-2.0
# Clients with direct leases of a file on a disk killed at random moments while others truncate, punch, freeze and sync: no page leaves
# the page cache while a memory region is over it. Then the same with a daemon that lets everything through at once: the
# observer sees it.
# kernels: 6.1
# limit: 180
. "$(dirname "$0")/case.inc"
count=8; [ -z "${MRLEASE_FULL:-}" ] || count=200
crash() {
  python3 -B "$cases/../load/crashes.py" clients "$@" --size 1048576 --backing direct --bin "$MRLEASE_BUILD/tests/vm/load" \
    --daemon "$MRLEASE_BUILD/daemon/loop/mrleased" --out /dev/null
}
crash $count --name dying-direct || exit 1
if crash 4 --name unprotected --break-something > /run/control.log 2>&1 || ! grep -q "left the page cache under" /run/control.log; then
  cat /run/control.log; echo "NOT OK: the observer has seen nothing of a daemon that lets everything through"; exit 1
fi
grep observed /run/control.log | sed 's/^/control: /'
