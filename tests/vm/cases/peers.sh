# SPDX-License-Identifier: Apache-2.0
# Remote peers that are held while their file is cut: example 07 as its own users. The sender writes the whole file several times
# while somebody else truncates it: no error there, at least one recall served. Then a sender that is stopped: the truncate
# returns within the recall's deadline, without a fence.
# kernels: 6.1 7.3
# full: 6.12
# limit: 180
. "$(dirname "$0")/case.inc"
work=/run/load/peers bin=$MRLEASE_BUILD/examples
rm -rf "$work"; mkdir -p "$work"; chmod 1777 "$work"
fail() { echo "NOT OK: $*"; tail -n 20 "$work"/*.out "$work/daemon.log"; exit 1; }
# not truncate(1): it opens with O_NONBLOCK, which is EAGAIN while a lease is being broken
cut() {  # FILE SIZE: how long the system call took, in ms
  as 65533 65500 python3 -c "import os, time; t = time.monotonic(); os.truncate('$1', $2); print(int((time.monotonic() - t) * 1000))"
}
wait_for() {  # NAME WORDS: until it has said that
  for _ in $(seq 600); do grep -q "$2" "$work/$1.out" 2> /dev/null && return; sleep 0.05; done
  fail "$1 never said: $2"
}

# Where a recall comes: pinned file pages before 6.5, pages of memory file systems after it, on-demand pages with 7.3.
folder=/mnt/e backing=direct
kernel_at_least 6.12 && ! kernel_at_least 7.3 && folder=/run/tmpfs
kernel_at_least 7.3 && backing=odp-cooperative
[ "$folder" != /run/tmpfs ] || { mkdir -p "$folder"; mount -t tmpfs -o size=64M none "$folder"; }
file=$folder/peers sent=$work/sent size=$((4 * 1048576))
head -c "$size" /dev/urandom > "$sent"; chmod 644 "$sent"

serve --root "$folder"

# begin NAME: receiver and sender, connected. The file is longer than what is sent: that part is cut.
begin() {
  rm -f "$file"; truncate -s $((size + 1048576)) "$file"; chown 65534:65500 "$file"; chmod 660 "$file"
  $RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/07_peers" receive "$file" 10.99.0.1 7473 "$backing" \
    "$work/sock" > "$work/$1.out" 2>&1 & receiver=$!
  wait_for "$1" '^listening'
  $SEND_NS setpriv --reuid=65532 --regid=65532 --clear-groups "$bin/07_peers" send "$sent" 10.99.0.1 7473 \
    > "$work/$1-sender.out" 2>&1 & sender=$!
  wait_for "$1" '^connected'
}

begin pausing
cuts=24
for left in $(seq $((cuts - 1)) -1 0); do  # a page less each time: every cut takes something away
  cut "$file" $((size + 4096 * left)) > /dev/null || fail "a truncate"
done
kill -TERM "$sender"
wait "$sender" || fail "the sender ended with $?"
wait "$receiver" || fail "the receiver ended with $?"
grep -q 'it is on the disk' "$work/pausing.out" || fail "it did not sync"
grep -q '^peers cut: 0$' "$work/pausing.out" || fail "a peer was cut"
recalls=$(grep -c '^event 1$' "$work/pausing.out")
[ "$recalls" -ge 1 ] || fail "no recall came"
[ "$backing" != direct ] || ! grep -q 'generation 1$' "$work/pausing-sender.out" || fail "the keys never changed"
cmp -n "$size" "$sent" "$file" || fail "the file is another"

begin stopped
wait_for stopped-sender '^round 1$'
kill -STOP "$sender"
took=$(cut "$file" "$size") || fail "the truncate under a stopped sender"
kill -KILL "$sender"; wait "$sender" 2> /dev/null
wait "$receiver" || fail "the receiver of a stopped sender ended with $?"
grep -q '^peers cut: 1$' "$work/stopped.out" || fail "the stopped sender was not cut"
grep -q '^event 4$' "$work/stopped.out" && fail "the region was fenced"
[ "$took" -lt 2000 ] || fail "the truncate took $took ms; the recall's deadline is 2000"

kill "$daemon"; wait "$daemon"
tail -n 8 "$work"/*.out
echo "$backing: $cuts truncates while it was sent $(grep -c '^round' "$work/pausing-sender.out") times, $recalls recalls; stopped: $took ms"
