# SPDX-License-Identifier: Apache-2.0
# One file, two clients, a backing each; others read and write it by workers of io_uring, whom nobody can tell from who truncates.
# kernels: 6.1 7.3
# limit: 240
. "$(dirname "$0")/case.inc"
cycles=1; [ -z "${MRLEASE_FULL:-}" ] || cycles=20
status=0; mkdir -p "$VM_RESULTS/rows"
# mixed FIRST SECOND: the backings of the halves; the second one is truncated.
mixed() {
  local name=mixed-$1-$2 half halves=()
  RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$cases/../load/mixed.py" "$1" "$2" --size 262144 --cycles $cycles --quirk --name "$name" \
    --bin "$MRLEASE_BUILD/tests/vm/load" --daemon "$MRLEASE_BUILD/daemon/loop/mrleased" --out "$VM_RESULTS/rows/$name" || status=1
  for half in first second; do
    halves+=("$VM_RESULTS/rows/$name.$half.json")
    for log in /run/load/"${name}_$half"/*.log; do cp "$log" "$VM_RESULTS/rows/$name.$half.$(basename "$log")"; done
  done
  python3 -B "$cases/../judge_rows.py" "${halves[@]}" || status=1
}
if kernel_at_least 7.3; then
  mixed bounce odp; mixed odp bounce; mixed odp-cooperative bounce
else
  mixed direct bounce; mixed bounce direct
fi
exit $status
