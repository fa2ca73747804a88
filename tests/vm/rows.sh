# SPDX-License-Identifier: Apache-2.0
# The rows of the demo, by kernel; source guest.sh first. One row: NAME BACKING and the driver's options.
# plain shows the problem (6.1) or the refusal (6.12, 7.3). rxe's ODP needs the quirk and page-aligned transfers.

rows_of_kernel() {
  if kernel_at_least 7.3; then
    echo "plain plain"
    echo "odp odp --quirk"
    echo "odp-cooperative odp-cooperative --quirk"
    echo "bounce bounce --unaligned"
  elif kernel_at_least 6.12; then
    echo "plain plain"
    echo "bounce bounce --unaligned"
  else
    echo "plain plain"
    echo "bounce bounce --unaligned"
    echo "direct direct --unaligned"
  fi
}

# run_row OUT NAME BACKING OPTIONS...: drive one row; its JSON goes to OUT, its logs beside it.
run_row() {
  local out=$1 name=$2 backing=$3; shift 3
  mkdir -p "$(dirname "$out")"
  RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$(dirname "${BASH_SOURCE[0]}")/load/drive.py" \
    --name "$name" --backing "$backing" --out "$out" --bin "$MRLEASE_BUILD/tests/vm/load" \
    --daemon "$MRLEASE_BUILD/daemon/loop/mrleased" "$@"
  local status=$?
  for log in /run/load/"$name"/*.log; do cp "$log" "${out%.json}.$(basename "$log")"; done
  return $status
}
