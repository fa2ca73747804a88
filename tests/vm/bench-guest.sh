# SPDX-License-Identifier: Apache-2.0
# In the guest: the benchmark on real verbs.
. "$(dirname "${BASH_SOURCE[0]}")/rig/guest.sh"
setup_rdma && setup_disk || exit 1
truncate -s 2M /mnt/e/bench; chown 65534:65534 /mnt/e/bench
"$MRLEASE_BUILD/daemon/loop/mrleased" --foreground --socket /run/bench.sock --root /mnt/e > "$VM_RESULTS/daemon.log" 2>&1 & daemon=$!
for _ in $(seq 200); do [ ! -S /run/bench.sock ] || break; sleep 0.05; done
$RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$MRLEASE_BUILD/tests/vm/bench/vm_bench" /mnt/e/bench /run/bench.sock; status=$?
kill "$daemon"; wait "$daemon"
exit $status
