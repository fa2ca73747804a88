# SPDX-License-Identifier: Apache-2.0
# In the guest: the matrix. MRLEASE_MATRIX: which cells of it (matrix.py --only).
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/rig/guest.sh"; . "$here/matrix.inc"
setup_rdma && setup_disk || exit 1
run_matrix "$VM_RESULTS/cells.jsonl" "${MRLEASE_MATRIX:-}"
