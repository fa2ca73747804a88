# SPDX-License-Identifier: Apache-2.0
# Example 03: four senders, processes of their own, write checkpoints into one file on xfs and btrfs, while snapshots are taken by
# mrleasectl freeze and cp --reflink=always: checkpoints.py says what each must hold.
# kernels: 7.3
# full: 6.1 6.12
# limit: 240
work=/run/load/examples_03
. "$(dirname "$0")/examples.inc"
slot=262144 want=5
[ -z "${MRLEASE_FULL:-}" ] || want=$((want * 10))

snapshot() {  # FILE SNAPSHOT; while the freeze holds, the snapshot shares all with the file
  "$MRLEASE_BUILD/daemon/ctl/mrleasectl" --address "$work/admin.sock" freeze "$1" -- \
    bash -c 'cp --reflink=always "$1" "$2" && filefrag -v "$2"' - "$1" "$2" > "$work/freeze.out" 2>&1
}
told() { sed -n 's/^durable //p' "$1" | tail -n 1; }

run() {  # FILESYSTEM PORT
  local fs=$1 port=$2 dir=/mnt/snap_$1 store senders=() n by_slot taken=0
  mkdir -p "$dir" && truncate -s 512M "/mnt/$fs.snap" && "mkfs.$fs" -q "/mnt/$fs.snap" > /dev/null && mount -o loop "/mnt/$fs.snap" "$dir" || fail "no $fs"
  start_daemon "$dir"
  own_file "$dir/store" $((4 * slot))
  $RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/03_checkpoint_store" store "$dir/store" 10.99.0.1 "$port" 4 "$slot" "$work/sock" \
    > "$work/$fs.store.out" 2>&1 & store=$!
  wait_for "$fs.store" '^listening'
  for n in 1 2 3 4; do
    $SEND_NS setpriv --reuid=65532 --regid=65532 --clear-groups "$bin/03_checkpoint_store" send 10.99.0.1 "$port" 1000000 \
      > "$work/$fs.$n.out" 2>&1 & senders+=($!)
  done
  for n in 1 2 3 4; do wait_for "$fs.$n" '^durable 1$'; done
  by_slot=($(for n in 1 2 3 4; do echo "$(sed -n 's/^slot //p' "$work/$fs.$n.out") $work/$fs.$n.out"; done | sort | awk '{print $2}'))
  while [ $taken -lt $want ]; do
    echo "$dir/snapshot$taken $(for n in "${by_slot[@]}"; do told "$n"; done | paste -sd ' ')" >> "$work/$fs.snapshots"
    snapshot "$dir/store" "$dir/snapshot$taken" || fail "$fs: snapshot $taken: $(cat "$work/freeze.out")"
    grep -q shared "$work/freeze.out" || fail "$fs: snapshot $taken is no clone: $(cat "$work/freeze.out")"
    taken=$((taken + 1))
  done
  kill -0 "${senders[@]}" || fail "$fs: a sender has ended"
  kill "${senders[@]}"; wait "${senders[@]}"
  wait "$store" || fail "$fs: the store ended with $?"
  stop_daemon
  cat "$work/$fs.store.out"
  grep 'stands still' "$work/freeze.out"
  for n in "${by_slot[@]}"; do told "$n"; done | paste -sd ' ' | sed "s/^/$fs: rounds /"
  python3 -B "$cases/../load/checkpoints.py" "$slot" < "$work/$fs.snapshots" || fail "$fs: a snapshot"
  umount "$dir"; rm "/mnt/$fs.snap"
}

# Of two file systems, to spare time, where the same guard and backing see the same of both.
{ kernel_at_least 6.12 && ! kernel_at_least 7.3; } || run xfs 7474
! kernel_at_least 6.12 || run btrfs 7475
