# SPDX-License-Identifier: Apache-2.0
# Odd offsets and odd lengths through bounce pages.
# kernels: 6.1 6.12 7.3
# limit: 600
. "$(dirname "$0")/case.inc"
row bounce bounce 100 --unaligned
