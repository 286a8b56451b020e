"""Gets the official resource types, once, into a folder: the data that the Bicep compiler itself checks templates with.

Microsoft ships it inside the npm package of its MCP server for Azure (MIT): a .NET program in one file, and in it a
library whose resources are the generated types of nearly every resource and API version. The package of one platform
is read as data on every platform, nothing in it is run. The types of alerts are left out there; they come from the
models of Microsoft's Python client (MIT), which are generated from the same specifications.

Nothing but the registries of npm and PyPI is contacted, through their ordinary clients.
"""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

SERVER = "@azure/mcp-linux-x64@2.0.5"
SERVER_SHA256 = "59e49713045a8c78c4915a6368bfc7688e7e9032a74d1fdf6caaa24d05a4dbdb"
LIBRARY = "Microsoft.Azure.Mcp.AzTypes.Internal.Compact.dll"
# Two versions of the client: each has the models of one API version of a type.
CLIENT = "azure-mgmt-monitor"
CLIENT_VERSIONS = ("6.0.2", "7.0.0")

# How a single-file .NET program marks the place that says where its directory is.
BUNDLE_MARK = bytes.fromhex("8b1202b96a612038727b930214d7a03213f5b9e6efae3318ee3b2dce24b36aae")


def fetch(folder: pathlib.Path):
    """Puts types.zip and the client's wheels into the folder, all or nothing."""
    place = folder.with_name(folder.name + ".part")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for version in CLIENT_VERSIONS:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--dest", place, f"{CLIENT}=={version}"], check=True)
    packed = subprocess.run(["npm", "pack", "--silent", SERVER], cwd=place, check=True, stdout=subprocess.PIPE, text=True)
    archive = place / packed.stdout.split()[-1]
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SERVER_SHA256:
        raise SystemExit(f"{SERVER} is not the package that was looked at: its checksum differs")
    with tarfile.open(archive) as tar:
        program = tar.extractfile("package/dist/azmcp").read()
    write_types(library(program), place / "types.zip")
    archive.unlink()
    place.rename(folder)


def library(program: bytes) -> bytes:
    """The library with the types, out of the program's directory (dotnet/designs, accepted/2020/single-file)."""
    at = struct.unpack_from("<q", program, program.index(BUNDLE_MARK) - 8)[0]
    major, _, count = struct.unpack_from("<IIi", program, at)
    if major != 6:
        raise SystemExit(f"{SERVER}: a directory of version {major}, 6 was expected")
    _, at = counted(program, at + 12)
    at += 40  # places of two configuration files, flags
    for _ in range(count):
        offset, size, packed_size = struct.unpack_from("<qqq", program, at)
        name, at = counted(program, at + 25)
        if name == LIBRARY:
            if packed_size:
                return zlib.decompress(program[offset : offset + packed_size], -15)
            return program[offset : offset + size]
    raise SystemExit(f"{SERVER} has no {LIBRARY}")


def counted(data: bytes, at: int) -> tuple[str, int]:
    """A text with its length before it, seven bits a byte; and where it ends."""
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return data[at : at + length].decode(), at + length


def write_types(dll: bytes, path: pathlib.Path):
    import dnfile  # needed here only, and installed with the tools

    suffix = ".deflated"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for resource in dnfile.dnPE(data=dll).net.resources:
            if (name := str(resource.name)).endswith(suffix):
                made.writestr(name.removesuffix(suffix), zlib.decompress(resource.data, -15))


if __name__ == "__main__":
    fetch(pathlib.Path(sys.argv[1]))
