#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""metrics_test.py MRLEASED MONITORING: what the daemon shows to Prometheus, as Prometheus' own tool sees it.

promtool checks the names and units of a scrape and the alert rules; every metric that the rules and the dashboard ask
for must be one that the daemon has; and prometheus itself scrapes the daemon."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

DEADLINE_S = 30


def fail(text):
    sys.exit(f"metrics_test: {text}")


def wait_for(what, probe):
    """Asked again until it is so: neither program tells when it is ready otherwise."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    fail(f"{what}: not within {DEADLINE_S} s")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def promtool(*arguments, text=None):
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True)
    print(done.stdout, done.stderr, sep="", end="")
    if done.returncode != 0:
        fail(f"promtool {' '.join(arguments)} does not accept it")


def asked_for(monitoring):
    names = set()
    rules = open(os.path.join(monitoring, "mrlease-alerts.yml"), encoding="utf-8").read()
    dashboard = json.load(open(os.path.join(monitoring, "mrlease-dashboard.json"), encoding="utf-8"))
    expressions = [t["expr"] for p in dashboard["panels"] for t in p["targets"]]
    if len(expressions) < 10:
        fail("the dashboard has lost its panels")
    for text in [rules, *expressions]:
        names.update(re.findall(r"\b(?:mrlease|process)_[a-z_]+(?:total|seconds|bytes|seconds_bucket)\b|\bmrlease_(?:leases|leased_files|sessions"
                                r"|freezes_holding|breaks_pending)\b", text))
    return {re.sub(r"_bucket$", "", name) for name in names}


def scraped_by_prometheus(folder, port):
    config = os.path.join(folder, "prometheus.yml")
    with open(config, "w", encoding="utf-8") as f:
        f.write("global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: mrlease\n    static_configs:\n"
                f"      - targets: ['127.0.0.1:{port}']\n")
    log = open(os.path.join(folder, "prometheus.log"), "w+", encoding="utf-8")
    server = subprocess.Popen(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb",
                               "--web.listen-address=127.0.0.1:0"], stderr=log, stdout=log)
    try:
        def its_port():
            # ss names the port that the kernel chose; prometheus' log shows the one that was asked for.
            table = subprocess.run(["ss", "-tlnpH"], capture_output=True, text=True).stdout
            found = re.search(rf"127\.0\.0\.1:(\d+) .*pid={server.pid},", table)
            return found and found.group(1)
        own = wait_for("prometheus listens", its_port)

        def ask(expression):
            try:
                answer = json.loads(get(f"http://127.0.0.1:{own}/api/v1/query?query={expression}"))
            except urllib.error.HTTPError as e:
                if e.code == 503:  # it is still starting
                    return []
                raise
            return answer["data"]["result"]
        wait_for("prometheus has scraped the daemon", lambda: ask("mrlease_build_info"))
        if ask("up")[0]["value"][1] != "1":
            fail("prometheus says that the daemon is down")
        if len(ask("mrlease_leases")) != 4:
            fail("mrlease_leases does not have its four backings")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(DEADLINE_S)
        log.close()


def main():
    daemon, monitoring = sys.argv[1:3]
    promtool("check", "rules", os.path.join(monitoring, "mrlease-alerts.yml"))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        log = os.path.join(folder, "log")
        with open(log, "w", encoding="utf-8") as out:
            process = subprocess.Popen([daemon, "--foreground", "--socket", f"{folder}/mrleased.sock", "--metrics-listen", "127.0.0.1:0"],
                                       stderr=out)
        try:
            url = wait_for("the daemon serves", lambda: re.search(r"metrics: serving (http://127\.0\.0\.1:(\d+)/metrics)", open(log).read()))
            text = get(url.group(1))
            promtool("check", "metrics", text=text)
            known = set(re.findall(r"^# TYPE (\S+)", text, flags=re.M))
            missing = asked_for(monitoring) - known
            if missing:
                fail(f"rules or dashboard ask for what the daemon does not have: {sorted(missing)}; it has {sorted(known)}")
            started = float(re.search(r"^process_start_time_seconds (\S+)", text, flags=re.M).group(1))
            if abs(started - time.time()) > 60:
                fail(f"process_start_time_seconds is {started}")
            scraped_by_prometheus(folder, url.group(2))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)
    print("metrics_test: passed")


main()
