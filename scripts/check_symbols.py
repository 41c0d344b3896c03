#!/usr/bin/env python3
"""check_symbols.py libmlops.so: what the library exports is mlops::v0 and nothing else. Checks itself first, on planted
names. Also that its thread-local memory is small: it is initial-exec, of which a program that loads the library with
dlopen (Python) has a few hundred bytes for all. Last line: `symbols: <n> exported, <n> strangers`."""

import re
import subprocess
import sys

OURS = re.compile(r"(?:(?:typeinfo(?: name)?|vtable|VTT) for )?mlops::v0::(?:\w+::)*"
                  r"(?:~?\w+|operator[^\w(]+|operator\(\))(?:\[abi:\w+\])?(?:\(|<|$| )")


def strangers(names):
    return [n for n in names if not OURS.match(n)]


MOST_TLS = 256


def thread_local_bytes(library):
    got = subprocess.run(["readelf", "-lW", library], check=True, stdout=subprocess.PIPE, text=True)
    sizes = [int(line.split()[5], 16) for line in got.stdout.splitlines() if line.split()[:1] == ["TLS"]]
    return sum(sizes)


def main():
    good = ["mlops::v0::Client::open(mlops::v0::Options)", "vtable for mlops::v0::Run", "mlops::v0::detail::tls_lane",
            "mlops::v0::Status::to_string[abi:cxx11]() const", "mlops::v0::Run::~Run()",
            "mlops::v0::Run::operator=(mlops::v0::Run&&)", "typeinfo name for mlops::v0::Run"]
    planted = ["rocksdb_open", "mlops::base::now_ms()", "google::protobuf::Arena::Arena()", "mlops::v1::x()", "mlops::v0x()",
               "std::vector<mlops::v0::Status>::~vector()", "absl::debian2::x", "fmt::v9::detail::x", "main"]
    if strangers(good) or strangers(planted) != planted:
        sys.exit("symbols: self-test failed")
    got = subprocess.run(["nm", "-DC", "--defined-only", sys.argv[1]], check=True, stdout=subprocess.PIPE, text=True)
    names = []
    for line in got.stdout.splitlines():
        kind, name = line.split(None, 2)[1:3]
        name = re.sub(r"@+MLOPS_\d+$", "", name)
        if not (kind == "A" and re.fullmatch(r"MLOPS_\d+", name)):
            names.append(name)
    bad = strangers(names)
    for name in bad:
        print(f"symbols: exported, but not of mlops::v0: {name}")
    if len(names) < 40:
        bad.append("")
        print("symbols: fewer than the public API has: this is not the library")
    if "san.so" not in subprocess.run(["readelf", "-dW", sys.argv[1]], stdout=subprocess.PIPE, text=True).stdout:
        size = thread_local_bytes(sys.argv[1])
        if not 0 < size <= MOST_TLS:
            bad.append("")
            print(f"symbols: {size} bytes of thread-local memory, {MOST_TLS} are the most")
    print(f"symbols: {len(names)} exported, {len(bad)} strangers")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
