# SPDX-License-Identifier: Apache-2.0
# A part of the matrix: each backing with every break, on one file system or two. ./run matrix has all of it, and so has --full.
# kernels: 6.1 6.12 7.3
# limit: 240
. "$(dirname "$0")/case.inc"; . "$(dirname "$0")/../matrix.inc"
only="tmpfs direct"
kernel_at_least 6.12 || only="ext4 direct,xfs bounce"
kernel_at_least 7.3 && only="ext4 odp,xfs odp-cooperative,btrfs bounce,dax odp"
[ -z "${MRLEASE_FULL:-}" ] || only=
mkdir -p "$VM_RESULTS/matrix"
run_matrix "$VM_RESULTS/matrix/cells.jsonl" "$only" && python3 -B "$matrix/table.py" "$VM_RESULTS/matrix/cells.jsonl"
