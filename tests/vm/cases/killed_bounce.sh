# SPDX-License-Identifier: Apache-2.0
# SIGKILL: acknowledged bounce data is in the file, the memory regions are gone.
# kernels: 6.1 6.12 7.3
# limit: 60
. "$(dirname "$0")/case.inc"
scenario killed bounce --unaligned
