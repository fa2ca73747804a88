# SPDX-License-Identifier: Apache-2.0
"""Python modules made from .proto files by protoc and gRPC's plugin, in a directory of their own."""
import os
import subprocess
import sys
import tempfile

_directory = tempfile.TemporaryDirectory(prefix="mrlease-stubs-")


def generate(include, *protos):
    subprocess.run(["protoc", f"--proto_path={include}", f"--python_out={_directory.name}", f"--grpc_out={_directory.name}",
                    f"--plugin=protoc-gen-grpc={os.environ['GRPC_PYTHON_PLUGIN']}", *protos], check=True)
    for folder, _, _ in os.walk(_directory.name):
        # A package of its own: "grpc/reflection" would hide in, or hide, the module grpc.
        open(os.path.join(folder, "__init__.py"), "a", encoding="ascii").close()
    if _directory.name not in sys.path:
        sys.path.insert(0, _directory.name)
