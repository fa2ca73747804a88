# SPDX-License-Identifier: Apache-2.0
# In the guest: the benchmarks on real verbs.
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/rig/guest.sh"
setup_rdma && setup_disk || exit 1
export RECV_NS SEND_NS
# What disturbs a pair's halves unequally is kept away: rxe's workers have the first processor, who posts and polls the second;
# and nothing is written back in between.
echo 1 > /sys/devices/virtual/workqueue/cpumask
sysctl -qw vm.dirty_writeback_centisecs=0
truncate -s 2M /mnt/e/bench; chown 65534:65534 /mnt/e/bench
"$MRLEASE_BUILD/daemon/loop/mrleased" --foreground --socket /run/bench.sock --root /mnt/e \
  > "$VM_RESULTS/daemon.log" 2>&1 & daemon=$!
for _ in $(seq 200); do [ ! -S /run/bench.sock ] || break; sleep 0.05; done
status=0
programs=$MRLEASE_BUILD/tests/vm/bench
part() { $RECV_NS taskset -c 1 setpriv --reuid=65534 --regid=65534 --clear-groups "$programs/$1" /mnt/e/bench /run/bench.sock || status=1; }
for part in ${MRLEASE_PARTS:-data fabric perftest}; do
  began=$SECONDS
  echo "-- $part"
  case $part in
    data) part vm_bench;;
    fabric) if [ -x "$programs/vm_fabric" ]; then part vm_fabric; else echo "NOT MEASURED: built without libfabric-dev"; fi;;
    perftest)
      if command -v ib_write_bw > /dev/null; then bash "$here/bench/perftest.sh" /run/bench.sock || status=1
      else echo "NOT MEASURED: perftest is not installed"; fi;;
  esac
  echo "($((SECONDS - began)) s)"
done
kill "$daemon"; wait "$daemon"
exit $status
