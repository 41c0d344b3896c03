"""Makes parts of a buffer newer than this library: each takes the slot's folder, and gives back what undoes it."""

import ctypes
import ctypes.util


def _library(name):
    return ctypes.CDLL(ctypes.util.find_library(name))


def xxh3(data, seed):
    hash64 = _library("xxhash").XXH3_64bits_withSeed
    hash64.restype, hash64.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return hash64(bytes(data), len(data), seed)


def _write(path, data):
    before = path.read_bytes()
    path.write_bytes(data)
    return lambda: path.write_bytes(before)


def control(slot):
    data = bytearray((slot / "control").read_bytes())
    data[8] = 2
    return _write(slot / "control", data)


def summary(slot):
    data = bytearray((slot / "summary").read_bytes())
    data[1] = 2
    data[2:10] = xxh3(data[10:], data[0] + 256 * data[1]).to_bytes(8, "little")
    return _write(slot / "summary", data)


def ledger(slot):
    [path] = slot.glob("delivery/*/ledger")
    data = path.read_bytes()
    assert data.startswith(b"MLOPSLG1")
    return _write(path, b"MLOPSLG2" + data[8:])


def remotes(slot):
    path = slot.parent.parent / "remotes"
    data = path.read_bytes()
    assert data.startswith(b"mlops-remotes 1\n")
    return _write(path, data.replace(b" 1\n", b" 2\n", 1))


def database(slot):
    """Its identity row, by RocksDB's own C API."""
    lib = _library("rocksdb")
    for name in ("options_create", "writeoptions_create", "readoptions_create", "open", "get"):
        getattr(lib, f"rocksdb_{name}").restype = ctypes.c_void_p

    def put(change):
        error, size = ctypes.c_char_p(), ctypes.c_size_t()
        options = ctypes.c_void_p(lib.rocksdb_options_create())
        db = ctypes.c_void_p(lib.rocksdb_open(options, str(slot / "db").encode(), ctypes.byref(error)))
        assert not error.value, error.value
        got = lib.rocksdb_get(db, ctypes.c_void_p(lib.rocksdb_readoptions_create()), b"i", ctypes.c_size_t(1), ctypes.byref(size),
                              ctypes.byref(error))
        row = bytearray(ctypes.string_at(got, size.value))
        change(row)
        lib.rocksdb_put(db, ctypes.c_void_p(lib.rocksdb_writeoptions_create()), b"i", ctypes.c_size_t(1), bytes(row),
                        ctypes.c_size_t(len(row)), ctypes.byref(error))
        assert not error.value, error.value
        lib.rocksdb_close(db)

    def number(to):
        def change(row):
            assert row[0] == 0x08  # field 1, the format
            row[1] = to
        return change

    put(number(2))
    return lambda: put(number(1))


def journal(slot):
    """Every used segment of the processes that died."""
    undo = []
    for path in sorted(slot.glob("journal/*/*.seg")):
        data = bytearray(path.read_bytes())
        undo.append((path, bytes(data)))
        for at in range(0, len(data), 65536):
            if data[at : at + 8] == b"MLOPSJL1":
                data[at + 8] = 2
        path.write_bytes(data)
    assert undo

    def back():
        for path, before in undo:
            assert path.exists(), f"{path} is gone, and what it held is lost"
            path.write_bytes(before)
    return back
