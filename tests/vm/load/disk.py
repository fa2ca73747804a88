# SPDX-License-Identifier: Apache-2.0
"""A small ext4 of its own, on a loop device below device-mapper, that can get full, fail and go read-only."""
import os
import re
import subprocess

MIB = 1 << 20
SECTOR, BLOCK = 512, 4096
FILLER = 65531  # a user of its own


def run(*command, text=None):
    env = dict(os.environ, DM_DISABLE_UDEV="1")  # nobody else makes its nodes in the rig
    done = subprocess.run(command, input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, check=False,
                          timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.strip()}")
    return done.stdout.strip()


class Disk:
    def __init__(self, name, mib):
        self.name, self.mount, self.image = name, "/mnt/" + name, f"/mnt/{name}.img"
        with open(self.image, "wb") as f:
            f.truncate(mib * MIB)
        self.loop = run("losetup", "--find", "--show", self.image)
        self.sectors = mib * MIB // SECTOR
        self.whole = f"0 {self.sectors} linear {self.loop} 0\n"
        run("dmsetup", "create", name, text=self.whole)
        # Nothing is kept back for root, whom the daemon runs as; no journal, which would end with the first error.
        run("mkfs.ext4", "-qF", "-b", str(BLOCK), "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=0", "/dev/mapper/" + name)
        os.makedirs(self.mount, exist_ok=True)
        run("mount", "-o", "errors=remount-ro", "/dev/mapper/" + name, self.mount)
        os.chmod(self.mount, 0o1777)
        self.beside = self.mount + "/beside"
        with open(self.beside, "wb") as f:
            f.write(bytes(BLOCK))
            os.fsync(f.fileno())

    def fill(self):
        """By somebody else, to the last block."""
        child = os.fork()
        if child == 0:
            os.setresgid(FILLER, FILLER, FILLER)
            os.setresuid(FILLER, FILLER, FILLER)
            fd = os.open(self.mount + "/filler", os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                while True:
                    os.write(fd, bytes(BLOCK))
            except OSError as error:
                os._exit(0 if error.errno == 28 else 1)
        if os.waitpid(child, 0)[1]:
            raise RuntimeError("the file system does not get full")
        os.sync()  # what was delayed has its blocks

    def make_room(self):
        os.unlink(self.mount + "/filler")

    def table(self, table):
        run("dmsetup", "reload", self.name, text=table)
        run("dmsetup", "suspend", "--noflush", "--nolockfs", self.name)
        run("dmsetup", "resume", self.name)

    def break_blocks(self, file):
        """Whatever is written to the file's blocks fails; the rest of the file system does not."""
        table, at = "", 0
        for begin, length in sorted((int(m[1]), int(m[2])) for m in
                                    re.finditer(r"^ *\d+: +\d+\.\. +\d+: +(\d+)\.\. +\d+: +(\d+):", run("filefrag", "-v", file), re.M)):
            begin, end = begin * BLOCK // SECTOR, (begin + length) * BLOCK // SECTOR
            if begin > at:
                table += f"{at} {begin - at} linear {self.loop} {at}\n"
            table += f"{begin} {end - begin} error\n"
            at = end
        if not at:
            raise RuntimeError("the file has no blocks")
        self.table(table + f"{at} {self.sectors - at} linear {self.loop} {at}\n")

    def mend(self):
        self.table(self.whole)

    def hang(self):
        """It neither takes nor refuses anything."""
        run("dmsetup", "suspend", "--noflush", "--nolockfs", self.name)

    def go_on(self):
        run("dmsetup", "resume", self.name)

    def error_found(self):
        """As ext4 does when it finds its structures damaged: errors=remount-ro."""
        number = os.stat("/dev/mapper/" + self.name).st_rdev
        with open(f"/sys/fs/ext4/dm-{os.minor(number)}/trigger_fs_error", "w") as f:
            f.write("tried by a test\n")

    def truncate_beside(self):
        """The errno that a truncate gets of a file that nobody leases, or 0."""
        try:
            os.truncate(self.beside, 0)
            return 0
        except OSError as refused:
            return refused.errno

    def close(self):
        run("umount", self.mount)
        run("dmsetup", "remove", "--retry", self.name)
        run("losetup", "--detach", self.loop)
        os.unlink(self.image)
