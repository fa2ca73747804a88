# SPDX-License-Identifier: Apache-2.0
# Example 01 as its own user: it says what it leased, and is told of a truncate.
# kernels: 6.1 6.12 7.3
# limit: 60
. "$(dirname "$0")/case.inc"
set -o pipefail
work=/run/load/examples file=/mnt/e/example
mkdir -p "$work"; chmod 1777 "$work"
truncate -s 1M "$file"; chown 65534:65500 "$file"; chmod 660 "$file"
"$MRLEASE_BUILD/daemon/loop/mrleased" --foreground --socket "$work/sock" --root /mnt/e \
  > "$work/daemon.log" 2>&1 & daemon=$!
mkfifo "$work/in"
for _ in $(seq 200); do [ ! -S "$work/sock" ] || break; sleep 0.05; done
# shellcheck disable=SC2086  # words
$RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$MRLEASE_BUILD/examples/01_register_and_recall" \
  "$file" "$work/sock" < "$work/in" > "$work/out" 2>&1 &
example=$!
exec 9> "$work/in"
wait_for() {
  for _ in $(seq 200); do grep -q "$1" "$work/out" && return; sleep 0.05; done
  echo "never said $1"; return 1
}
wait_for '^leased 1048576 bytes'; a=$?
# not truncate(1): it opens with O_NONBLOCK, which is EAGAIN while a lease is being broken
as 65533 65500 python3 -c "import os; os.truncate('$file', 65536)"
wait_for 'TRIMMED\|RESTORED'; b=$?
echo >&9; exec 9>&-
wait "$example"; c=$?
kill "$daemon"; wait "$daemon"
cat "$work/out" "$work/daemon.log"
echo "leased $a, told $b, ended $c"
[ "$a$b$c" = 000 ]
