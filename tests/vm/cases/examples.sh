# SPDX-License-Identifier: Apache-2.0
# The examples 01, 02 and 04, as their own users, while somebody else truncates their file: 01 says what it leased and is told; 02 receives a
# file that arrives whole; 04 does it all in one loop.
# kernels: 6.1 6.12 7.3
# limit: 120
work=/run/load/examples
. "$(dirname "$0")/examples.inc"
start_daemon /mnt/e

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

stop_daemon
cat "$work"/*.out
echo "$cuts truncates while 02 received"
