# SPDX-License-Identifier: Apache-2.0
"""Child programs that talk in JSON lines, each wait with a deadline."""
import json
import os
import select
import socket
import subprocess
import time


class Died(Exception):
    pass


class Program:
    def __init__(self, what, command, log):
        self.what, self.buffer, self.log = what, b"", log
        with open(log, "wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def line(self, seconds):
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Died(f"{self.what} said nothing for {seconds} s")
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                self.process.wait()
                raise Died(f"{self.what} ended ({self.process.returncode}): {self.last_words()}")
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(text)

    def tell(self, command):
        try:
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Died(f"{self.what} is gone: {self.last_words()}") from None

    def said(self):
        """Whether an answer waits."""
        return bool(self.buffer or select.select([self.process.stdout], [], [], 0)[0])

    def ask(self, command, seconds):
        self.tell(command)
        try:
            return self.line(seconds)
        except Died as died:
            raise Died(f"{command}: {died}") from None

    def says(self):
        """All that it has written to its log."""
        with open(self.log, errors="replace") as f:
            return f.read()

    def last_words(self):
        return " / ".join(self.says().strip().splitlines()[-3:])

    def wait(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Died(f"{self.what} did not end within {seconds} s") from None

    def end(self, seconds):
        """Ask it to go, then make it."""
        if not self.alive():
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_for_socket(path, program, seconds):
    """Until somebody accepts there."""
    end = time.monotonic() + seconds
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            try:
                s.connect(path)
                return
            except OSError as error:
                if not program.alive():
                    raise Died(f"{program.what} ended ({program.process.returncode}): {program.last_words()}") from None
                if time.monotonic() > end:
                    raise Died(f"{program.what} does not listen on {path}: {error}") from None
        time.sleep(0.02)
