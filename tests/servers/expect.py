"""What a trainer accepted, computed outside the SDK, and how it compares with what a server holds.

The trainer (tests/tools/trainer.cc) raises a word of a shared file after each call that returned. A lane is one such
word: its value is the count of indexes accepted. The index in flight when a trainer died may be there or not: it is
noted as `maybe`, and skipped by the next trainer.
"""

import collections
import mmap
import os
import struct

LANES = 512
MASK = (1 << 64) - 1
DBL_MAX = 1.7976931348623157e308


def mix(seed, lane, index):
    z = (seed * 0x9E3779B97F4A7C15 + (lane << 40) + index + 0x632BE59BD9B4E019) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def value(seed, lane, index, finite=False):
    """As the server shows it: NaN is "NaN", infinities are the greatest doubles, -0 is 0."""
    h = mix(seed, lane, index)
    kind = h & 63
    if not finite and kind < 4:
        return ("NaN", DBL_MAX, -DBL_MAX, 0.0)[kind]
    if kind & 3 == 0:
        return (h >> 40) / 16777216.0
    if kind & 3 == 1:
        return ((h >> 20) % 20001 - 10000) / 10000.0 + 0.0
    if kind & 3 == 2:
        return (h >> 11) * 2.0**-53 * 1000.0
    return float((h >> 33) % 1000)


def text_file(seed, lane, index):
    """The bytes of an artifact of the trainer's verb `artifacts`."""
    h = mix(seed, lane, index)
    return f"v{h}\n".encode() * (1 + h % 200)


class Counter:
    """The shared file of counters, and what is known to be uncertain."""

    def __init__(self, path):
        self.path = str(path)
        size = LANES * 8
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, size)
        self.map = mmap.mmap(fd, size)
        os.close(fd)
        self.maybe = collections.defaultdict(set)  # lane -> indexes that may be there or not

    def __getitem__(self, lane):
        return struct.unpack_from("<Q", self.map, lane * 8)[0]

    def __setitem__(self, lane, count):
        struct.pack_into("<Q", self.map, lane * 8, count)

    def died(self, lanes):
        """A trainer that used these lanes was killed: the index in flight of each is uncertain, and skipped."""
        for lane in lanes:
            count = self[lane]
            self.maybe[lane].add(count)
            self[lane] = count + 1

    def accepted(self, lane):
        """Indexes whose call returned."""
        return [i for i in range(self[lane]) if i not in self.maybe[lane]]


class Expected:
    """Sums up the lanes of one run: .sure and .maybe, multisets of (key, step, value), and params and tags."""

    def __init__(self, seed, finite=False):
        self.seed, self.finite = seed, finite
        self.sure, self.maybe = collections.Counter(), collections.Counter()
        self.params, self.maybe_params = {}, {}
        self.tags, self.maybe_tags = {}, {}

    def points(self, counter, lane, metrics=1):
        for into, indexes in ((self.sure, counter.accepted(lane)), (self.maybe, counter.maybe[lane])):
            for i in indexes:
                into[(f"lane{lane}/m{i % metrics}", i, value(self.seed, lane, i, self.finite))] += 1
        return self

    def many(self, counter, lane, width):
        for into, indexes in ((self.sure, counter.accepted(lane)), (self.maybe, counter.maybe[lane])):
            for i in indexes:
                for m in range(width):
                    into[(f"lane{lane}/m{m}", i, value(self.seed, lane, i * width + m, self.finite))] += 1
        return self

    def text(self, counter, lane, kind):
        """kind: "params" or "tags"."""
        sure, maybe = getattr(self, kind), getattr(self, "maybe_" + kind)
        for into, indexes in ((sure, counter.accepted(lane)), (maybe, counter.maybe[lane])):
            for i in indexes:
                into[f"{kind[0]}{lane}_{i}"] = f"v{mix(self.seed, lane, i)}"
        return self

    @property
    def accepted(self):
        return sum(self.sure.values())


class Comparison:
    def __init__(self):
        self.lost, self.duplicated, self.wrong = [], [], []

    @property
    def ok(self):
        return not (self.lost or self.duplicated or self.wrong)

    def __str__(self):
        def some(what):
            return f"{len(what)} {what[:5]}"
        return f"lost {some(self.lost)}; duplicated or unknown {some(self.duplicated)}; wrong {some(self.wrong)}"


def compare(expected, run, points):
    """Multiset equality: run is rest.RunData, points is rest.points(run), Counter of (key, ms, step, value)."""
    got = Comparison()
    held = collections.Counter()
    for (key, _, step, val), count in points.items():
        if key.startswith("lane"):
            held[(key, step, val)] += count
    for point, count in expected.sure.items():
        if held[point] < count:
            got.lost.append((point, count, held[point]))
    for point, count in held.items():
        if count > expected.sure[point] + expected.maybe[point]:
            got.duplicated.append((point, count, expected.sure[point]))
    for kind in ("params", "tags"):
        sure, maybe, there = getattr(expected, kind), getattr(expected, "maybe_" + kind), getattr(run, kind)
        mark = (kind[0], "_")
        for key, text in sure.items():
            if key not in there:
                got.lost.append((kind, key))
            elif there[key] != text:
                got.wrong.append((kind, key, text, there[key]))
        for key, text in there.items():
            if key[:1] == mark[0] and key[1:2].isdigit() and key not in sure and maybe.get(key) != text:
                got.duplicated.append((kind, key, text))
    # Time is fixed at the call: within a lane's metric it never goes backwards with the step.
    by_key = collections.defaultdict(list)
    for (key, when, step, _), _count in points.items():
        if key.startswith("lane"):
            by_key[key].append((step, when))
    for key, pairs in by_key.items():
        pairs.sort()
        for (_, before), (step, after) in zip(pairs, pairs[1:]):
            if after < before:
                got.wrong.append(("time went backwards", key, step, before, after))
    return got
