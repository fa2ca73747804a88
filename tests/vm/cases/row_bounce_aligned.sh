# SPDX-License-Identifier: Apache-2.0
# Whole pages through bounce pages.
# kernels: 7.3
# limit: 200
. "$(dirname "$0")/case.inc"
row bounce-aligned bounce 10
