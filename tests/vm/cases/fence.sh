# SPDX-License-Identifier: Apache-2.0
# The fence alone, on real memory regions.
# kernels: 6.1 6.12 7.3
# limit: 120
. "$(dirname "$0")/case.inc"
exec "$MRLEASE_BUILD/tests/vm/fence/vm_fence_test"
