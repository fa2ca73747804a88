# SPDX-License-Identifier: Apache-2.0
# Example 05, with each backing that the kernel has, while somebody else truncates its file: it writes on, and what it wrote last
# is in the file, as far as that goes.
# kernels: 6.12 7.3
# full: 6.1
# limit: 120
work=/run/load/examples_05
. "$(dirname "$0")/examples.inc"
start_daemon /mnt/e
mkfifo "$work/in"

run() {  # BACKING WORDS: it leases with that backing, and says WORDS of it
  local name=$1 example rounds
  own_file /mnt/e/five 1M
  $RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/05_plain_c" /mnt/e/five "$work/sock" "$name" \
    < "$work/in" > "$work/$name.out" 2>&1 & example=$!
  exec 9> "$work/in"
  wait_for "$name" "^leased 1048576 bytes, backing $2"
  wait_for "$name" '^round 2'
  cut /mnt/e/five 65536 || fail "$name: the truncate"
  wait_for "$name" 'TRIMMED\|RESTORED'
  rounds=$(grep -c '^round' "$work/$name.out")
  wait_for "$name" "^round $((rounds + 2))"
  exec 9>&-
  wait "$example" || fail "05 with $name ended with $?"
  python3 -B - /mnt/e/five "$(sed -n 's/^round //p' "$work/$name.out" | tail -n 1)" <<'PYTHON' || fail "05 with $name: the file is another"
import array, sys
with open(sys.argv[1], "rb") as file:
    words = array.array("Q", file.read())
print(f"{len(words) * 8} bytes of rounds {sorted(set(words))}, the last was {sys.argv[2]}")
sys.exit(len(words) != 8192 or set(words) != {int(sys.argv[2])})
PYTHON
  rm /mnt/e/five
}

run bounce bounce
if kernel_at_least 7.3; then
  run auto 'odp, transparent, guard precontent'
  run odp-cooperative 'odp, guard precontent'
  grep -q '^RECALL' "$work/odp-cooperative.out" || fail "a truncate of cooperative odp asked nobody"
elif ! kernel_at_least 6.12; then
  run direct direct
  grep -q '^RECALL' "$work/direct.out" || fail "a truncate of direct asked nobody"
fi
stop_daemon
grep -hv '^round' "$work"/*.out
grep audit: "$work/daemon.log"
