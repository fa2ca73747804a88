# SPDX-License-Identifier: Apache-2.0
# The guards on this kernel, not only on the host's: the lease guard, and where there is FAN_PRE_ACCESS, that one and io_uring.
# kernels: 6.1 6.12 7.3
# limit: 240
. "$(dirname "$0")/case.inc"
mkdir -p /mnt/e/guards; chmod 1777 /mnt/e/guards
tests=lease; ! kernel_at_least 7.3 || tests="lease precontent"
for each in $tests; do
  MRLEASE_TEST_DIR=/mnt/e/guards "$MRLEASE_BUILD/tests/integration/guard/integration_guard_$each" > "/run/guards-$each" 2>&1
  status=$?
  grep -E '^\[  (FAILED|SKIPPED) |Failure$|PASSED' "/run/guards-$each"
  [ $status = 0 ] || { cat "/run/guards-$each"; echo "NOT OK: integration_guard_$each ended with $status"; exit 1; }
  ! grep -q '^\[  SKIPPED \]' "/run/guards-$each" || { echo "NOT OK: integration_guard_$each skipped something"; exit 1; }
done
