# SPDX-License-Identifier: Apache-2.0
# ./run test --device, as an owner of a device would run it: every backing that this one has passes, the others are told with the
# kernel's word; what is not there is said.
# kernels: 6.1 7.3
# limit: 240
. "$(dirname "$0")/case.inc"
work=/run/load/devices; mkdir -p "$work"
fail() { echo "NOT OK: $*"; cat "$work"/*.out; exit 1; }
device=$cases/../../support/device
$RECV_NS "$device" rxe0 --dir /mnt/e --cycles 2 --quirk --json "$work/device.json" > "$work/whole.out" 2>&1 || fail "it ended with $?"
passed=$(python3 -c "import json; print(*sorted(r['backing'] for r in json.load(open('$work/device.json'))['results'] if r['result'] == 'passed'))")
wanted="bounce direct"; ! kernel_at_least 7.3 || wanted="bounce odp odp-cooperative"
[ "$passed" = "$wanted" ] || fail "passed: $passed, not: $wanted"
$RECV_NS "$device" no_such --dir /mnt/e > "$work/none.out" 2>&1; [ $? = 2 ] || fail "a device that is not there"
grep -q 'there are: .*rxe0' "$work/none.out" || fail "it does not say which there are"
[ "$(wc -L < "$work/whole.out")" -le 80 ] || fail "wider than 80 columns"
cat "$work/whole.out"
