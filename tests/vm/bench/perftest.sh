# SPDX-License-Identifier: Apache-2.0
# In the guest: perftest.sh SOCKET [PAIRS]. perftest with the interposer against perftest without it; which comes first is drawn for
# each pair. A lease is bounce there: pages of a memfd, pinned. Without it the file is on a tmpfs: the same kind of pages, pinned by
# perftest itself. (Of a file on a disk these kernels pin nothing, so without a lease there would be nothing to compare with.)
# Exit 1: a ratio's interval does not hold 1, or leaves [0.95, 1.05].
. "$(dirname "${BASH_SOURCE[0]}")/../rig/guest.sh"
socket=$1 pairs=${2:-15} leased=/mnt/e/perftest plain=/dev/shm/perftest work=$(mktemp -d) left_out=0
: "${MRLEASE_BUILD:?is not set: the folder of the build}"
for file in "$leased" "$plain"; do truncate -s 4M "$file"; chown 65534:65534 "$file"; done
RANDOM=1

# once leased|plain TOOL OPTIONS...: prints what the peer's table says. The two sides have a processor each.
once() {
  local how=$1 tool=$2 front=() file=$plain owner status; shift 2
  if [ "$how" = leased ]; then
    file=$leased
    front=(env LD_PRELOAD="$MRLEASE_BUILD/client-lib/libmrlease-preload.so" MRLEASE_SOCKET="$socket" MRLEASE_PRELOAD_VERBOSE=1)
  fi
  $RECV_NS taskset -c 0 setpriv --reuid=65534 --regid=65534 --clear-groups "${front[@]}" \
    timeout 60 "$tool" -F "$@" --mmap="$file" > "$work/owner" 2>&1 & owner=$!
  # Port 18515, listening, in the owner's network; ss would take longer than the run.
  for _ in $(seq 400); do ! grep -qs ':4853 .* 0A ' "/proc/$owner/net/tcp" "/proc/$owner/net/tcp6" || break; sleep 0.02; done
  $SEND_NS taskset -c 1 setpriv --reuid=65532 --regid=65532 --clear-groups \
    timeout 60 "$tool" -F "$@" 10.99.0.1 > "$work/peer" 2>&1; status=$?
  [ $status = 0 ] || kill "$owner" 2> /dev/null
  wait "$owner" && [ $status = 0 ] || return 1
  if [ "$how" = leased ]; then
    grep -q 'libmrlease-preload: leased .* backing bounce' "$work/owner" ||
      { echo "perftest: no lease" >&2; cat "$work/owner" >&2; exit 2; }
  fi
  grep '^ [0-9]' "$work/peer" | tail -n 1
}

# compare NAME COLUMN TOOL OPTIONS...
compare() {
  local name=$1 column=$2 made=0 a b list=$VM_RESULTS/perftest-$3.pairs; shift 2
  : > "$list"
  while [ $made -lt "$pairs" ]; do
    if [ $((RANDOM % 2)) = 0 ]; then
      a=$(once leased "$@") && b=$(once plain "$@")
    else
      b=$(once plain "$@") && a=$(once leased "$@")
    fi || {
      # perftest on rxe ends without a word now and then, without any lease too
      left_out=$((left_out + 1))
      [ $left_out -lt 10 ] || { echo "perftest: ten runs have failed"; head -n 40 "$work/owner" "$work/peer"; exit 2; }
      continue
    }
    awk -v a="$a" -v b="$b" -v c="$column" 'BEGIN {split(a, x, " "); split(b, y, " "); print x[c], y[c]}' >> "$list"
    made=$((made + 1))
  done
  "$MRLEASE_BUILD/tests/vm/bench/vm_judge" "$name" < "$list"
}

status=0
compare "ib_write_bw, 64 K, MB/s" 4 ib_write_bw -s 65536 -n 1000 || status=$?
# Not ib_write_lat: both its sides poll, and in the rig one of them would wait for the processor of rxe's workers.
compare "ib_read_lat, 4 K, us" 5 ib_read_lat -s 4096 -n 1000 || status=$?
[ $left_out = 0 ] || echo "(perftest: $left_out pairs left out, whose runs ended with an error)"
rm -rf "$work"
exit $status
