# SPDX-License-Identifier: Apache-2.0
# A client that names the memory region of another user, and is fenced: tests/vm/fence.
# kernels: 6.1 6.12 7.3
# limit: 120
. "$(dirname "$0")/case.inc"
mkdir -p /mnt/e/stranger
MRLEASE_TEST_DIR=/mnt/e/stranger exec $RECV_NS "$MRLEASE_BUILD/tests/vm/fence/vm_stranger_test"
