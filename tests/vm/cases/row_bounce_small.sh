# SPDX-License-Identifier: Apache-2.0
# A small file: each page is written many times a second, and nearly every truncate cuts one in two.
# kernels: 7.3
# full: 6.1
# limit: 300
. "$(dirname "$0")/case.inc"
row bounce-small bounce 30 --unaligned --size 262144 --odd-cuts 0.9 --seed 11 --expect "backing=bounce keys_same=True"
