#!/usr/bin/env python3
"""Who may include whom: the house's table, checked.

Every #include "room/..." below src/ must be allowed by ROOMS, every <...> that is not the C++ or POSIX library by
THIRD_PARTY, which also limits how many files may know a library. Public headers know std and mlops/ only; cli,
examples and tests/tools know mlops/ only; bindings know mlops/, but for its detail, pybind11 and Python. The check is run on a tree with planted violations first (--self-test runs
only that): a check that cannot fail proves nothing. Last line: `layers: <files> files, <includes> includes, <n> violations`.
"""

import pathlib
import re
import sys
import tempfile

ROOMS = {
    "base": {"base"},
    "model": {"model", "base"},
    "journal": {"journal", "model", "base"},
    "buffer": {"buffer", "model", "base"},
    "ledger": {"ledger", "model", "base"},
    "drain": {"drain", "journal", "buffer", "ledger", "model", "base"},
    "http": {"http", "base"},
    "mlflow": {"mlflow", "http", "model", "base"},
    "store": {"store", "http", "base"},
    "sync": {"sync", "buffer", "ledger", "mlflow", "store", "model", "base"},
    "view": {"view", "buffer", "ledger", "model", "base"},
    "probe": {"probe", "base"},
    "client": {"client", "base", "model", "journal", "buffer", "ledger", "drain", "http", "mlflow", "store", "sync", "view",
               "probe"},
    "cli": set(),  # the public headers, and its own
}
# library: (pattern of the header, {room: most files there that may include it})
THIRD_PARTY = {
    "rocksdb (C API)": (r"rocksdb/(c|version)\.h", {"buffer": 1}),
    "protobuf-lite": (r"google/protobuf/.*", {"buffer": 1, "ledger": 1}),
    "zstd": (r"zstd\.h", {"buffer": 1}),
    "spdlog": (r"(spdlog|fmt)/.*", {"base": 1}),
    "OpenSSL, xxHash": (r"(openssl/.*|xxhash\.h)", {"base": 1}),
    "libcurl": (r"curl/.*", {"http": 1}),
    "JSON library": (r"nlohmann/json\.hpp", {"mlflow": 1, "store": 1}),
    "JSON library, forward": (r"nlohmann/json_fwd\.hpp", {"mlflow": 99}),
    "libpng": (r"png\.h", {"client": 1}),
    "libwebp": (r"webp/.*", {"client": 1}),
    "CLI11": (r"CLI/.*", {"cli": 1}),
    "RE2": (r"re2/.*", {"cli": 1}),
    "Abseil": (r"absl/.*", {room: 99 for room in ("base", "buffer", "ledger", "drain", "http", "mlflow", "store", "sync",
                                                  "view", "client")}),
}
BINDINGS = re.compile(r"(pybind11/.*|Python\.h)")
GENERATED = re.compile(r"(buffer|ledger)/\w+\.pb\.h")  # counts as protobuf-lite
SYSTEM = re.compile(r"(c?[a-z_0-9]+|[a-z_0-9]+\.h|(sys|netinet|arpa|net|linux|bits)/[a-z_0-9]+\.h)")  # std and POSIX
NOT_SYSTEM = re.compile(r"(xxhash|zstd|zdict|lz4|snappy|gflags|sqlite3|png|pngconf)\.h")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)
# `mlops::buffer` and friends in sync and view read only: the writing half is not named there.
WRITER = {"sync": re.compile(r"\bbuffer::Buffer\b"), "view": re.compile(r"\bbuffer::Buffer\b")}


def includes(path):
    for match in INCLUDE.finditer(path.read_text(encoding="utf-8", errors="replace")):
        yield match.group(1) or match.group(2), match.group(1) is not None


def check(root):
    """-> (files, includes, violations)"""
    files = count = 0
    bad = []
    knowers = {}  # (library, room) -> files

    def third_party(name, room, where):
        for library, (pattern, allowed) in THIRD_PARTY.items():
            if re.fullmatch(pattern, name):
                if room not in allowed:
                    bad.append(f"{where}: {room} must not include <{name}> ({library})")
                else:
                    knowers.setdefault((library, room), set()).add(where)
                return True
        return False

    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in (".h", ".cc", ".cpp"):
            continue
        where, room = str(path.relative_to(root)), path.relative_to(root / "src").parts[0]
        files += 1
        if room not in ROOMS:
            bad.append(f"{where}: {room} is no room of the house")
            continue
        for name, _ in includes(path):
            count += 1
            first = name.split("/")[0]
            if GENERATED.fullmatch(name):
                if first != room:
                    bad.append(f"{where}: {name} is private to {first}")
                knowers.setdefault(("protobuf-lite", room), set()).add(where)
            elif first == "mlops" or first in ROOMS[room] and "/" in name:
                pass
            elif first in ROOMS and "/" in name:
                if not (room == "cli" and first == "cli"):
                    bad.append(f"{where}: {room} must not include {first} ({name})")
            elif third_party(name, room, where):
                pass
            elif not SYSTEM.fullmatch(name) or NOT_SYSTEM.fullmatch(name):
                bad.append(f"{where}: nobody may include <{name}>")
        if room in WRITER and WRITER[room].search(path.read_text(encoding="utf-8", errors="replace")):
            bad.append(f"{where}: {room} reads the buffer only, and must not name its writing half")
    for (library, room), who in sorted(knowers.items()):
        most = THIRD_PARTY[library][1].get(room, 0)
        if len(who) > most:
            bad.append(f"{library}: {len(who)} files of {room} know it, {most} may: {', '.join(sorted(who))}")

    for folder in ("include", "examples", "tests/tools", "tests/consumer", "bindings"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".h", ".cc", ".cpp"):
                continue
            where = str(path.relative_to(root))
            files += 1
            for name, quoted in includes(path):
                count += 1
                if name.startswith("mlops/") and not (folder == "bindings" and name.startswith("mlops/detail/")):
                    continue
                if folder == "bindings" and BINDINGS.fullmatch(name):
                    continue
                own = quoted and (path.parent / name).exists() and folder != "include"
                if not own and (not SYSTEM.fullmatch(name) or NOT_SYSTEM.fullmatch(name)):
                    more = ", pybind11 and Python" if folder == "bindings" else ""
                    bad.append(f"{where}: {folder} knows std and mlops/{more} only, not <{name}>")
    return files, count, bad


def self_test():
    """Every kind of violation, planted: each must be found, and a clean file must pass."""
    planted = {
        "src/journal/a.cc": ('#include "buffer/buffer.h"', "journal must not include buffer"),
        "src/model/a.cc": ("#include <absl/container/flat_hash_map.h>", "model must not include <absl"),
        "src/sync/a.cc": ("#include <curl/curl.h>", "sync must not include <curl"),
        "src/view/a.cc": ("buffer::Buffer* b;", "reads the buffer only"),
        "src/cli/a.cc": ('#include "client/core.h"', "cli must not include client"),
        "src/http/a.cc": ("# include <rocksdb/db.h>", "nobody may include <rocksdb/db.h>"),
        "src/drain/a.cc": ('#include "buffer/keys.pb.h"', "is private to buffer"),
        "src/attic/a.cc": ("", "is no room"),
        "include/mlops/a.h": ("#include <rocksdb/c.h>", "knows std and mlops/ only"),
        "bindings/python/src/a.cc": ('#include "client/core.h"', "knows std and mlops/, pybind11 and Python only"),
        "bindings/python/src/b.cc": ("#include <mlops/detail/hot.h>", "not <mlops/detail/hot.h>"),
        "bindings/python/src/c.cc": ("#include <pybind11/stl.h>\n#include <Python.h>\n#include <mlops/mlops.h>", None),
        "tests/tools/a.cc": ('#include "base/base.h"', "knows std and mlops/ only"),
        "src/base/a.cc": ("#include <spdlog/spdlog.h>", None),
        "src/base/b.cc": ("#include <spdlog/sinks/stdout_sinks.h>", "2 files of base know it"),
        "src/buffer/a.cc": ('#include <rocksdb/c.h>\n#include <vector>\n#include <sys/file.h>\n#include "buffer/x.h"', None),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, (text, _) in planted.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text + "\n")
        _, _, bad = check(root)
    for name, (_, expected) in planted.items():
        hits = [b for b in bad if (b.startswith(name + ":") or (expected or "") in b and name in b)]
        if expected is None and any(b.startswith(name + ":") for b in bad):
            sys.exit(f"layers: self-test: {name} is clean but was called a violation: {hits}")
        if expected is not None and not any(expected in b for b in hits):
            sys.exit(f"layers: self-test: the violation planted in {name} was not found")
    return sum(1 for _, e in planted.values() if e)


def main():
    found = self_test()
    if "--self-test" in sys.argv:
        print(f"layers: self-test found all {found} planted violations")
        return 0
    root = pathlib.Path(__file__).resolve().parent.parent
    files, count, bad = check(root)
    for line in bad:
        print(line)
    if files < 30 or count < 150:
        bad.append("vacuous")
        print(f"layers: only {files} files and {count} includes seen: this cannot be the whole tree")
    print(f"layers: {files} files, {count} includes, {len(bad)} violations")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
