# SPDX-License-Identifier: Apache-2.0
# Clients that are stopped, killed, forked and locked, in C++ and to the page: tests/vm/hostile.
# kernels: 6.1 7.3
# full: 6.12
# limit: 240
. "$(dirname "$0")/case.inc"
backings=bounce
kernel_at_least 6.12 || backings=direct,bounce
kernel_at_least 7.3 && backings=odp,bounce
mkdir -p /mnt/e/hostile
MRLEASE_BACKINGS=$backings MRLEASE_TEST_DIR=/mnt/e/hostile $RECV_NS "$MRLEASE_BUILD/tests/vm/hostile/vm_hostile_test"
status=$?
[ $status = 0 ] || echo "vm_hostile_test ended with $status"
exit $status
