# SPDX-License-Identifier: Apache-2.0
"""Every call of mrleasectl, its exit status, and its two outputs."""
import json
import os
import shutil
import signal
import subprocess
import tempfile

import host


class Calls(host.HostTest):
    def test_leases_and_files(self):
        self.assertEqual(self.ctl("leases"), "no leases\n")
        client, lease = self.lease()
        self.lease(self.make_file("other"))
        self.assertEqual({int(x["id"]) for x in self.ctl_json("leases")["leases"]}, {lease, lease + 1})
        self.assertEqual([int(x["id"]) for x in self.ctl_json("leases", "--file", self.path)["leases"]], [lease])
        self.assertEqual([int(x["id"]) for x in self.ctl_json("leases", "--pid", str(client.popen.pid))["leases"]], [lease])
        self.assertEqual(len(self.ctl_json("leases", "--user", "nobody", "--backing", "bounce", "--state", "active")["leases"]), 2)
        self.assertEqual(self.ctl_json("leases", "--user", "root")["leases"], [])
        self.assertEqual(self.ctl_json("leases", "--backing", "direct", "--backing", "odp_transparent")["leases"], [])
        table = self.ctl("leases")
        self.assertLessEqual(max(map(len, table.splitlines())), 80)
        self.assertIn("bounce", table)
        self.assertIn("data", table)
        one = self.ctl("lease", str(lease))
        self.assertIn(self.path, one)
        self.assertIn("uid 65534", one)
        self.assertIn("GUARD", self.ctl_json("lease", str(lease))["guard"])
        files = self.ctl_json("files", self.path)["files"]
        self.assertEqual([int(x["id"]) for x in files[0]["leases"]], [lease])
        key = os.stat(self.path)
        inode = f"{os.major(key.st_dev)}:{os.minor(key.st_dev)}:{key.st_ino}"
        self.assertIn("data", self.ctl("files", inode))

    def test_more_leases_than_a_page(self):
        # A page has 1000; the users' limit is 4096. One client holds one lease a file here, so: a small number, all there.
        clients = [self.lease(self.make_file(f"file{i}"))[1] for i in range(8)]
        self.assertEqual(sorted(int(x["id"]) for x in self.ctl_json("leases")["leases"]), sorted(clients))

    def test_exit_statuses(self):
        self.assertIn("no lease 4711", self.ctl("lease", "4711", expect=1))
        self.ctl("thaw", "4711", expect=1)
        self.ctl("nonsense", expect=2)
        self.ctl("sync", expect=2)
        self.assertIn("one of direct", self.ctl("leases", "--backing", "paper", expect=2))
        self.assertIn("duration", self.ctl("freeze", self.path, "--hold", "soon", expect=2))
        self.ctl("freeze", self.path, "--hold", "10h", "--detach", expect=2)  # INVALID_ARGUMENT: more than is allowed
        self.ctl("thaw", "1", "--", "true", expect=2)
        self.address = self.directory + "/nobody.sock"
        self.assertIn("is mrleased running? systemctl status mrleased", self.ctl("leases", expect=3))
        self.address = self.directory + "/admin.sock"
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", host.MRLEASECTL, "--address", self.address, "leases"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("as root", done.stderr)

    def test_sync_brings_bounce_pages_to_the_file(self):
        client, _ = self.lease()
        client.say("write 8192 WRITTEN")
        client.out.wait("written")
        self.assertIn("1 lease", self.ctl("sync", self.path))
        with open(self.path, "rb") as f:
            self.assertEqual(os.pread(f.fileno(), 7, 8192), b"WRITTEN")
        self.assertEqual(self.ctl_json("sync", self.path, "--range", "4096:8K")["leases"], 1)

    def test_revoke(self):
        client, lease = self.lease()
        self.assertEqual(self.ctl_json("revoke", str(lease))["revoked"], 1)
        self.assertEqual(self.ctl("leases"), "no leases\n")
        self.lease()
        self.assertIn("1 lease revoked", self.ctl("revoke", "--file", self.path))
        self.ctl("revoke", expect=2)

    def test_drain(self):
        self.lease()
        self.assertTrue(self.ctl_json("drain", self.directory)["drained"])
        refused = host.Process([host.LEASE_HOLDER, self.directory + "/mrleased.sock", self.path, "bounce"])
        self.assertEqual(refused.wait(), 1)
        self.ctl("undrain", self.directory)
        self.lease()

    def test_host(self):
        probe = self.ctl_json("probe", self.directory)
        self.assertTrue(probe["kernel"])
        self.assertIn(self.directory, [f["path"] for f in probe["filesystems"]])
        self.assertIn("kernel " + os.uname().release, self.ctl("probe"))
        self.lease()
        stats = self.ctl_json("stats")
        self.assertEqual((stats["leases"], stats["leasesGranted"]), ("1", "1"))
        self.assertIn("leases granted", self.ctl("stats"))
        self.assertLessEqual(max(map(len, self.ctl("stats").splitlines())), 80)

    def test_watch(self):
        watch = self.ctl_process("watch", "--json")
        self.assertEqual(json.loads(watch.out.wait("epoch"))["head"], "0")
        _, lease = self.lease()
        event = json.loads(watch.out.wait("leaseGranted"))["event"]
        self.assertEqual(int(event["leaseGranted"]["id"]), lease)
        self.ctl("sync", self.path)
        watch.out.wait("breakDone")
        watch.popen.send_signal(signal.SIGINT)
        self.assertEqual(watch.wait(), 0)
        again = self.ctl("watch", "--from", "0", "--type", "lease_granted", "--count", "1")
        self.assertIn(f"lease_granted: lease {lease} of {self.path} granted", again)
        self.ctl("watch", "--from", "1000000", expect=1)
        self.ctl("watch", "--type", "nonsense", expect=2)

    def test_completion(self):
        def completed(*words):
            script = 'source "$1/daemon/ctl/mrleasectl.bash"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mrleasectl; printf "%s\\n" "${COMPREPLY[@]}"'
            return subprocess.run(["bash", "-c", script, "bash", os.environ["MRLEASE_SOURCE"], host.MRLEASECTL, *words],
                                  capture_output=True, text=True, check=True).stdout.split()
        self.assertEqual(completed("fr"), ["freeze"])
        self.assertEqual(completed("leases", "--sta"), ["--state"])
        self.assertIn("odp_transparent", completed("leases", "--backing", ""))
        self.assertEqual(completed("watch", "--type", "break_d"), ["break_done"])
        self.assertIn("thaw", completed(""))


class OverTcp(host.HostTest):
    def setUp(self):
        self.certificates = tempfile.mkdtemp(prefix="mrlease-certs-")
        self.addCleanup(shutil.rmtree, self.certificates)
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca", "-days", "2")
        for name in ("server", "client"):
            self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
            with open(self.file("extensions"), "w", encoding="ascii") as f:
                f.write("subjectAltName=IP:127.0.0.1\n")
            self.openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", name + ".pem",
                         "-days", "2", "-extfile", "extensions")
        self.options = ["--admin-listen", "127.0.0.1:0", "--admin-tls-cert", self.file("server.pem"), "--admin-tls-key", self.file("server.key"),
                        "--admin-tls-client-ca", self.file("ca.pem")]
        super().setUp()
        self.address = self.daemon.err.wait("(mutual TLS)").split("serving ")[1].split()[0]

    def file(self, name):
        return os.path.join(self.certificates, name)

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.certificates, check=True, capture_output=True)

    def test_certificates_decide(self):
        right = ["--ca", self.file("ca.pem"), "--certificate", self.file("client.pem"), "--key", self.file("client.key")]
        self.assertEqual(self.ctl(*right, "leases"), "no leases\n")
        self.assertIn("wants certificates", self.ctl("leases", expect=2))
        self.assertIn("cannot read", self.ctl(*right[:4], "--key", self.file("none"), "leases", expect=2))
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=other", "-days", "2")
        self.ctl("--ca", self.file("ca.pem"), "--certificate", self.file("other.pem"), "--key", self.file("other.key"), "leases", expect=3)


class Reload(host.HostTest):
    def setUp(self):
        self.options = ["--config", f"/var/tmp/mrlease-test-{os.getpid()}.toml"]
        self.config = self.options[1]
        self.write("recall-deadline-ms = 1500\n")
        self.addCleanup(os.unlink, self.config)
        super().setUp()

    def write(self, text):
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text)

    def test_config_and_reload(self):
        options = {o["name"]: o for o in self.ctl_json("config")["options"]}
        recall = options["recall-deadline-ms"]
        self.assertEqual((recall["values"], recall["defaults"], recall["source"], recall["reloadable"]), (["1500"], ["2000"], "file", True))
        self.assertEqual(options["socket"]["source"], "command line")
        self.assertEqual(options["passing-bound-ms"]["source"], "default")
        self.assertLessEqual(max(map(len, self.ctl("config").splitlines())), 80)
        watch = self.ctl_process("watch", "--json")
        watch.out.wait("epoch")
        self.write("recall-deadline-ms = 1700\nadmin-events-max = 5\n")
        self.assertEqual(self.ctl("reload"), "reloaded: changed: recall-deadline-ms\nneeds a restart: admin-events-max\n")
        self.assertEqual(json.loads(watch.out.wait("configReloaded"))["event"]["configReloaded"]["changed"], ["recall-deadline-ms"])
        self.write(f"recall-deadline-ms = 1700\n[[rule]]\npath = '{self.path}'\nfence-deadline-ms = 50\n")
        _, lease = self.lease()
        tried = self.ctl("reload", "--dry-run").splitlines()
        self.assertEqual(tried[:3], ["dry run: would change: rule", "from recall within 1.7 s, fence within 500 ms, on timeout fence",
                                     "to   recall within 1.7 s, fence within 50 ms, on timeout fence (rule 1):"])
        self.assertRegex(tried[4], rf"^ +{lease}  .*")
        self.assertLessEqual(max(map(len, tried)), 80)
        self.assertEqual(self.ctl_json("reload", "--dry-run")["leases"][0]["then"]["rule"], 1)
        self.assertNotIn("rule 1", self.ctl("lease", str(lease)))
        self.write("recall-deadline-ms = 1\n")
        self.assertIn(f"{self.config}:1:22: recall-deadline-ms: '1' is not allowed", self.ctl("reload", "--dry-run", expect=1))
        self.assertIn(f"{self.config}:1:22: recall-deadline-ms: '1' is not allowed", self.ctl("reload", expect=1))
        options = {o["name"]: o for o in self.ctl_json("config")["options"]}
        self.assertEqual(options["recall-deadline-ms"]["values"], ["1700"])


if __name__ == "__main__":
    host.main()
