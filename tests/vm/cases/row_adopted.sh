# SPDX-License-Identifier: Apache-2.0
# mrl_reg_mr: a mapping that the application has made is leased where it is, and is the file's again afterwards.
# kernels: 6.1 7.3
# full: 6.12
# limit: 200
. "$(dirname "$0")/case.inc"
row adopted-bounce bounce 5 --adopt --unaligned --expect "backing=bounce keys_same=True" || exit 1
# Its path is closed to it: the daemon opens what is mapped.
row adopted-closed bounce 2 --adopt --out-of-reach --unaligned --expect "backing=bounce keys_same=True" || exit 1
! kernel_at_least 6.12 || kernel_at_least 7.3 || exit 0
kernel_at_least 7.3 || { row adopted-direct direct 5 --adopt --unaligned --expect "backing=direct"; exit; }
row adopted-odp odp 10 --adopt --quirk --expect "backing=odp transparent=True keys_same=True" &&
  row adopted-odp-cooperative odp-cooperative 5 --adopt --quirk --expect "backing=odp transparent=False keys_same=True"
