# SPDX-License-Identifier: Apache-2.0
# The same while a forked child keeps the RDMA context open.
# kernels: 6.1 7.3
# full: 6.12
# limit: 60
. "$(dirname "$0")/case.inc"
scenario killed bounce --unaligned --fork-child
