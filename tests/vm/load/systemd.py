# SPDX-License-Identifier: Apache-2.0
"""The daemon as a service of systemd, and what can befall it."""
import os
import random
import signal
import subprocess
import threading
import time

from row import Row

UNIT, SOCKET = "mrleased.service", "/run/mrlease/mrleased.sock"
POLL = 0.002


def systemctl(*words):
    return subprocess.run(["systemctl", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=120).stdout.strip()


def shown(name):
    return systemctl("show", "-P", name, UNIT)


def pid_of_daemon():
    """The running daemon, or 0: what systemd has forked and not yet made it does not count. Not from systemctl, which takes
    longer here than the daemon lives."""
    try:
        with open(f"/sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs") as f:
            for pid in f.read().split():
                with open(f"/proc/{pid}/comm") as comm:
                    if comm.read() == "mrleased\n":
                        return int(pid)
    except OSError:  # ENOENT, ESRCH, ENODEV: the group or the process has just gone
        pass
    return 0


def wait_until(holds, seconds):
    """What `holds` gives when it holds; TimeoutError."""
    end = time.monotonic() + seconds
    while True:
        got = holds()
        if got:
            return got
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(POLL)


def serves():
    return shown("ActiveState") == "active" and shown("SubState") == "running"


class Trouble(threading.Thread):
    """`count` times, at random moments. seconds: all of it; away: the longest time in which nobody may have served, in seconds."""
    pauses = (0.05, 1.0)

    def __init__(self, count, seed):
        super().__init__(daemon=True)
        self.count, self.done, self.problems, self.random = count, 0, [], random.Random(seed)
        self.seconds = self.away = 0.0

    def run(self):
        start = time.monotonic()
        try:
            while self.done < self.count and not self.problems:
                time.sleep(self.random.uniform(*self.pauses))
                began = time.monotonic()
                self.strike()
                self.done += 1
                self.away = max(self.away, time.monotonic() - began)
        except TimeoutError:
            self.problems.append(f"after {self.done} times nobody served")
        self.seconds = time.monotonic() - start

    def judge(self):
        return list(self.problems)


class Killer(Trouble):
    """As fast as it can be done: here it hardly ever gets so far as to serve."""
    pauses = (0.0, 0.15)
    seconds_max = 20  # 7 to 10 in the rig, as its host is; a start that is put off (RestartSec=, a start limit) is far above

    def __init__(self, count, seed):
        super().__init__(count, seed)
        self.last = 0

    def run(self):
        began = time.monotonic()
        super().run()
        try:
            wait_until(serves, 60)
        except TimeoutError:
            self.problems.append("it does not serve after the last kill")
        self.away = time.monotonic() - began

    def strike(self):
        def struck():
            pid = pid_of_daemon()
            if pid in (0, self.last):
                return False
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
            self.last = pid
            return True
        wait_until(struck, 30)

    def judge(self):
        bad = super().judge()
        if int(shown("NRestarts") or 0) < self.done:
            bad.append("systemd has not restarted it as often as it was killed")
        # For 20 kills; more of them in proportion.
        if self.seconds > self.seconds_max * self.count / 20:
            bad.append(f"{self.count} kills took {self.seconds:.1f} s")
        return bad


class ServedKiller(Trouble):
    """Each daemon serves for a while before it is killed."""
    def strike(self):
        before = wait_until(pid_of_daemon, 30)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: pid_of_daemon() not in (0, before), 60)
        wait_until(serves, 60)


class Upgrader(Trouble):
    """One package after the other; the first one is installed."""
    def __init__(self, count, seed, packages):
        super().__init__(count, seed)
        self.packages = packages

    def strike(self):
        before, package = pid_of_daemon(), self.packages[(self.done + 1) % len(self.packages)]
        got = subprocess.run(["dpkg", "-i", package], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if got.returncode:
            self.problems.append("dpkg -i: " + " / ".join(got.stdout.strip().splitlines()[-3:]))
        elif not serves() or pid_of_daemon() == before:
            self.problems.append("after dpkg -i the old daemon runs, or none")


class Restarter(Trouble):
    """systemctl restart and reload in turn."""
    def strike(self):
        before = pid_of_daemon()
        verb = ("restart", "reload")[self.done % 2]
        said = systemctl(verb, UNIT)
        if said or not serves():
            self.problems.append(f"systemctl {verb}: {said or 'it does not serve'}")
        elif (pid_of_daemon() == before) != (verb == "reload"):
            self.problems.append(f"systemctl {verb}: the daemon was {before}, it is {pid_of_daemon()}")


class Staller(Trouble):
    """The daemon stops in its tracks: the watchdog's to end."""
    def strike(self):
        before = wait_until(pid_of_daemon, 30)
        os.kill(before, signal.SIGSTOP)
        wait_until(lambda: pid_of_daemon() not in (0, before), 60)
        wait_until(serves, 60)


class UnderSystemd(Row):
    """A row whose daemon is the service; `trouble` befalls it while the peers stream, and one cycle comes after that."""
    trouble = None
    calm_cycles = 0

    def start_daemon(self):
        self.socket = SOCKET
        print(systemctl("start", "mrleased.socket", UNIT) or "started", flush=True)
        return ["--socket", SOCKET]

    def start_peers(self):
        super().start_peers()
        if self.trouble:
            self.trouble.start()

    def check_cycle(self, number):
        """A sync is asked for anew of each successor, and may need longer than any of them lives: not in each cycle."""
        if self.trouble is None or not self.trouble.is_alive() or number % 8 == 7:
            super().check_cycle(number)

    def goes_on(self, cycles_done):
        if self.trouble and not self.trouble.is_alive():
            self.calm_cycles += 1
        return super().goes_on(cycles_done) or (self.trouble is not None and self.calm_cycles < 2)
