# SPDX-License-Identifier: Apache-2.0
# The problem, without mrlease: 6.1 loses, newer kernels refuse.
# kernels: 6.1 6.12 7.3
# limit: 120
. "$(dirname "$0")/case.inc"
row plain plain 5
