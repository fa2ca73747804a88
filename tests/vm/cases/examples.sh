# SPDX-License-Identifier: Apache-2.0
# The examples, as their own users, while somebody else truncates their file: 01 says what it leased and is told; 02 receives a
# file that arrives whole; 04 does it all in one loop.
# kernels: 6.1 6.12 7.3
# limit: 120
. "$(dirname "$0")/case.inc"
work=/run/load/examples bin=$MRLEASE_BUILD/examples
rm -rf "$work"; mkdir -p "$work"; chmod 1777 "$work"
fail() { echo "NOT OK: $*"; tail -n 20 "$work"/*.out "$work/daemon.log"; exit 1; }
own_file() { truncate -s "$2" "$1"; chown 65534:65500 "$1"; chmod 660 "$1"; }
# not truncate(1): it opens with O_NONBLOCK, which is EAGAIN while a lease is being broken
cut() { as 65533 65500 python3 -c "import os; os.truncate('$1', $2)"; }
wait_for() {  # NAME WORDS: until the example has said that
  for _ in $(seq 400); do grep -q "$2" "$work/$1.out" 2> /dev/null && return; sleep 0.05; done
  fail "$1 never said: $2"
}

"$MRLEASE_BUILD/daemon/loop/mrleased" --foreground --socket "$work/sock" --root /mnt/e > "$work/daemon.log" 2>&1 & daemon=$!
for _ in $(seq 200); do [ ! -S "$work/sock" ] || break; sleep 0.05; done

own_file /mnt/e/one 1M
mkfifo "$work/in"
$RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/01_register_and_recall" /mnt/e/one "$work/sock" \
  < "$work/in" > "$work/one.out" 2>&1 & example=$!
exec 9> "$work/in"
wait_for one '^leased 1048576 bytes'
cut /mnt/e/one 65536
wait_for one 'TRIMMED\|RESTORED'
echo >&9; exec 9>&-
wait "$example" || fail "01 ended with $?"

own_file /mnt/e/two 16M
head -c 12M /dev/urandom > "$work/sent"; chmod 644 "$work/sent"
$RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/02_file_receiver" receive /mnt/e/two 10.99.0.1 7471 "$work/sock" \
  > "$work/two.out" 2>&1 & example=$!
wait_for two '^listening'
$SEND_NS setpriv --reuid=65532 --regid=65532 --clear-groups "$bin/02_file_receiver" send "$work/sent" 10.99.0.1 7471 \
  > "$work/sender.out" 2>&1 & sender=$!
wait_for two '^connected'
cuts=0
while kill -0 "$sender" 2> /dev/null; do
  cut /mnt/e/two $((12 * 1048576 + 4096 * (cuts % 2))) || fail "a truncate"
  cuts=$((cuts + 1))
done
wait "$sender" || fail "the sender of 02 ended with $?"
wait "$example" || fail "02 ended with $?"
grep -q 'it is on the disk' "$work/two.out" || fail "02 did not sync"
cmp -n $((12 * 1048576)) "$work/sent" /mnt/e/two || fail "02: the file is another"

own_file /mnt/e/four 1M
$RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/04_own_event_loop" /mnt/e/four "$work/sock" > "$work/four.out" 2>&1 &
example=$!
wait_for four '^leased 1048576 bytes'
wait_for four '^durable'
cut /mnt/e/four 65536
wait_for four 'TRIMMED\|RESTORED'
kill -TERM "$example"; wait "$example" || fail "04 ended with $?"

kill "$daemon"; wait "$daemon"
cat "$work"/*.out
echo "$cuts truncates while 02 received"
