#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""outside_test.py BUILD PROJECT: install the library into a prefix, and build somebody else's project with it: by CMake and by
pkg-config, in C and C++, against the shared library and the archive; every one of the programs runs."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD, PROJECT = sys.argv[1:3]
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


def run(*command, **more):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240, check=False, **more)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}")
    return done.stdout


class Outside(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="mrlease-outside-", dir="/var/tmp")
        cls.prefix = cls.work + "/prefix"
        run("cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", "library")
        # Others see the prefix alone: neither our sources nor our build.
        cls.project = shutil.copytree(PROJECT, cls.work + "/project")
        found = [folder for folder, _, names in os.walk(cls.prefix) if "mrlease.pc" in names]
        assert len(found) == 1, found
        cls.library = os.path.dirname(found[0])
        cls.environment = dict(os.environ, PKG_CONFIG_PATH=found[0], LD_LIBRARY_PATH=cls.library)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work)

    def says_what_is_wrong(self, program, shared):
        said = run(program, self.work + "/nobody.sock", env=self.environment)
        self.assertRegex(said, r"^bounce 1 .*nobody\.sock")
        linked = re.search(r"libmrlease\.so\.0 => (\S+)", run("ldd", program, env=self.environment))
        self.assertEqual(bool(linked), shared)
        if shared:
            self.assertTrue(linked.group(1).startswith(self.prefix), linked.group(0))

    def test_by_cmake(self):
        build = self.work + "/by-cmake"
        run("cmake", "-S", self.project, "-B", build, "-DCMAKE_PREFIX_PATH=" + self.prefix)
        run("cmake", "--build", build)
        for language in ("c", "cxx"):
            for kind in ("shared", "static"):
                with self.subTest(language=language, kind=kind):
                    self.says_what_is_wrong(f"{build}/{language}_{kind}", kind == "shared")

    def pkg_config(self, *words):
        return run("pkg-config", *words, "mrlease", env=self.environment).split()

    def test_by_pkg_config(self):
        for compiler, source, standard in (("cc", "main.c", "-std=c99"), ("c++", "main.cxx", "-std=c++17"), ("c++", "main.cxx", "-std=c++20")):
            for kind in ("shared", "static"):
                with self.subTest(standard=standard, kind=kind):
                    out = f"{self.work}/{source}{standard}.{kind}"
                    libs = self.pkg_config("--libs")
                    if kind == "static":  # the archive of ours, the shared libraries of others
                        libs = [self.library + "/libmrlease.a" if word == "-lmrlease" else word for word in self.pkg_config("--libs", "--static")]
                    run(compiler, standard, *STRICT, f"{self.project}/{source}", *self.pkg_config("--cflags"), *libs, "-o", out)
                    self.says_what_is_wrong(out, kind == "shared")

    def test_nothing_else_is_installed(self):
        names = sorted(name for _, _, files in os.walk(self.prefix) for name in files)
        self.assertEqual([n for n in names if not n.startswith(("libmrlease.", "libmrlease-preload.", "mrlease", "mrl_", "peers.h"))], [])
        for wanted in ("libmrlease.a", "libmrlease.so.0", "mrlease.h", "mrlease.hpp", "peers.h", "peers.hpp", "mrlease.pc", "mrleaseConfig.cmake", "mrlease.7", "mrlease-preload.7", "mrl_reg_file.3"):
            self.assertIn(wanted, names)

    def test_the_preload_library_stands_in_front_of_these_only(self):
        preload = self.library + "/libmrlease-preload.so"
        listing = run("nm", "-D", "--defined-only", "--with-symbol-versions", preload)
        names = sorted(line.split()[2] for line in listing.splitlines() if line.split()[1] not in "Aa")
        self.assertEqual(names, ["fdatasync", "fsync", "ibv_dereg_mr@@IBVERBS_1.1", "ibv_reg_mr@@IBVERBS_1.1", "ibv_reg_mr_iova2@@IBVERBS_1.8",
                                 "ibv_reg_mr_iova@@IBVERBS_1.7", "ibv_rereg_mr@@IBVERBS_1.1", "msync"])
        # A program without any RDMA goes on as it did, and its own fsync(2) too.
        said = run(sys.executable, "-c", "import os; f = os.open('" + self.work + "/f', os.O_RDWR | os.O_CREAT); os.fsync(f); os.fdatasync(f); print('done')",
                   env=dict(os.environ, LD_PRELOAD=preload))
        self.assertEqual(said, "done\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
