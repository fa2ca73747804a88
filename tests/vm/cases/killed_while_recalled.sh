# SPDX-License-Identifier: Apache-2.0
# SIGKILL while a truncate is held: it goes on at once.
# kernels: 7.3
# limit: 60
. "$(dirname "$0")/case.inc"
scenario killed_while_recalled odp --quirk
