# SPDX-License-Identifier: Apache-2.0
# A daemon that answers guards without recalling must lose something, or the counts mean nothing. What it loses is left to
# chance, about one page in two or three cycles (a flush that brings back what a truncate had cut off): it goes on until then.
# kernels: 7.3
# limit: 400
. "$(dirname "$0")/case.inc"
run_row "$VM_RESULTS/rows/control.json" control bounce --cycles 60 --unaligned --break-something &&
  python3 -B "$cases/../judge_rows.py" --control "$VM_RESULTS/rows/control.json"
