# SPDX-License-Identifier: Apache-2.0
# Unmodified verbs programs with libmrlease-preload.so in front: the load's receiver that registers plainly, judged byte by byte;
# perftest and fio, while others truncate, punch, sync and freeze their file; and all of it without a daemon.
# kernels: 7.3
# full: 6.1 6.12
# limit: 300
. "$(dirname "$0")/case.inc"
preload=$MRLEASE_BUILD/client-lib/libmrlease-preload.so
row preload plain 5 --preload "$preload" --unaligned --phases freeze --expect "keys_same=True" || exit 1
grep -q 'leased .* backing bounce' /run/load/preload/mrl_receiver.log || { echo "NOT OK: the receiver has no lease"; exit 1; }

work=/run/load/preloaded file=/mnt/e/preloaded size=4194304
rm -rf "$work"; mkdir -p "$work"; chmod 1777 "$work"
truncate -s $size "$file"; chown 65534:65500 "$file"; chmod 660 "$file"
fail() { echo "NOT OK: $*"; grep -hiE "fail|error|problem|could|libmrlease" "$work/$name"*.out; tail -n 20 "$work"/*.out "$work/daemon.log"; exit 1; }
owner() { $RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups env LD_PRELOAD="$preload" MRLEASE_SOCKET="$work/sock" MRLEASE_PRELOAD_VERBOSE=1 timeout 60 "$@"; }
peer() { $SEND_NS setpriv --reuid=65532 --regid=65532 --clear-groups timeout 60 "$@"; }
listens() { for _ in $(seq 400); do { $RECV_NS ss -Hltn; $RECV_NS rdma resource show cm_id; } | grep -q ":$1 *\($\|[^0-9]\)" && return; sleep 0.05; done; fail "nobody listens on $1"; }

# The server maps the file, its peer knows nothing. NAME PORT COMMAND-OF-SERVER -- COMMAND-OF-PEER. 1: one of the two has ended
# with an error and not a word of why.
attempt() {
  local name=$1 port=$2 server=() owned client trouble freezes=0 of_peer of_owner; shift 2
  while [ "$1" != -- ]; do server+=("$1"); shift; done; shift
  rm -f "$work/$name".*
  owner "${server[@]}" > "$work/$name.out" 2>&1 & owned=$!
  listens "$port"
  peer "$@" > "$work/$name.peer.out" 2>&1 & client=$!
  # perftest registers after somebody has come
  for _ in $(seq 400); do grep -q 'libmrlease-preload: \(leased\|no daemon\)' "$work/$name.out" && break; sleep 0.05; done
  mkfifo "$work/$name.in"
  as 65533 65500 python3 -B "$cases/../load/trouble.py" "$file" $size 16384 < "$work/$name.in" > "$work/$name.trouble.out" 2>&1 & trouble=$!
  exec 8> "$work/$name.in"
  if [ -n "$daemon" ]; then
    while kill -0 "$client" 2> /dev/null; do
      "$ctl" --address "$work/admin.sock" freeze "$file" -- true > "$work/$name.freeze.out" 2>&1 || fail "$name: a freeze"
      freezes=$((freezes + 1))
    done
  fi
  wait "$client"; of_peer=$?
  [ $of_peer = 0 ] || kill "$owned" 2> /dev/null
  wait "$owned"; of_owner=$?
  exec 8>&-; wait "$trouble" || fail "$name: the trouble ended with $?"
  [ -z "$daemon" ] || grep -q 'libmrlease-preload: leased .* backing bounce' "$work/$name.out" || fail "$name: no lease"
  if [ $of_peer != 0 ] || [ $of_owner != 0 ]; then
    # Whom the peer has left without a word complains of that.
    ! grep -qiE 'error|fail|problem|fenced' "$work/$name$([ $of_peer = 0 ] || echo .peer).out" || fail "$name: the two ended with $of_owner and $of_peer"
    echo "$name: the two ended with $of_owner and $of_peer, and said no more than"
    head -n 4 "$work/$name.out" "$work/$name.peer.out"
    return 1
  fi
  echo "$name: $(cat "$work/$name.trouble.out"), $freezes freezes; $(grep -h "$BANDWIDTH" "$work/$name.peer.out" | tail -n 1)"
}
# When all is over perftest compares the processor's counter with the clock; where these do not agree, as in software emulation now and
# then, it ends with "Correlation coefficient r^2: ... Can't produce a report", without any lease too. -F lets it go on where it only
# warns. What it reports of the transfer counts at once.
session() {
  local try
  for try in 1 2 3 4 5 6; do ! attempt "$@" || return 0; done
  fail "$1 has ended $try times without a word"
}
BANDWIDTH="^ 65536"

# PREFIX TOOLS...
everything() {
  local tool tools=("${@:2}")
  for tool in "${tools[@]}"; do
    session "$1$tool" 18515 $tool -F -s 65536 -n 2000 --mmap="$file" -- $tool -F -s 65536 -n 2000 10.99.0.1
  done
  # fio's server makes the file as long as it wants it
  BANDWIDTH='WRITE:' session "$1fio" 9077 fio --thread --name=server --ioengine=rdma --port=9077 --rw=read --bs=64k --size=24m --iodepth=4 --mem=mmapshared:"$file" -- \
    fio --thread --name=peer --ioengine=rdma --hostname=10.99.0.1 --port=9077 --verb=write --rw=write --bs=64k --size=24m --iodepth=4 --iodepth_batch_complete=1
}

ctl=$MRLEASE_BUILD/daemon/ctl/mrleasectl
serve --root /mnt/e
# 6.1 would pin the pages anyway, and there perftest's peers end so one time in three.
tools= without=
! kernel_at_least 6.12 || tools=ib_send_bw without=ib_write_bw
! kernel_at_least 7.3 || tools="ib_write_bw ib_read_bw ib_send_bw"
everything leased- $tools
kill "$daemon"; wait "$daemon"; daemon=

everything plain- $without
cat "$work"/plain-*.out | grep -q 'libmrlease-preload: no daemon' || fail "without a daemon nothing is said"
