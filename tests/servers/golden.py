"""Transcripts of shell lines, and the golden ones they are compared with: tests/servers/golden/<name>.txt.

What differs from run to run is masked in both: ids, times, sizes, paths, names of this machine. MLOPS_WRITE_GOLDEN=1
writes the files anew instead; read the difference before you commit it.
"""

import difflib
import getpass
import os
import pathlib
import re
import socket

FOLDER = pathlib.Path(__file__).resolve().parent / "golden"
LONG, HEAD = 80, 12  # of what one command prints beyond LONG lines (the manual page) only so many are kept

MASKS = [
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "<time>"),
    (r"\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d\b", "<time>"),  # as ls writes it
    (r"\b1[789]\d{11}\b", "<ms>"),  # since 1970
    (r"\b\d+(\.\d+)? (B|[KMG]iB)(?=\b|\))", "<size>"),
    (r"(?<=answers in )\d+ ms|(?<=\()[\d.]+ (ms|s|min|h)(?=\)$)|(?<=\t)[\d.]+ (ms|s|min|h)(?=\t\d)", "<duration>"),
    (r"\b\d+ requests?\b", "<n> requests"),
    (r"\b\d+ retr(y|ies)\b", "<n> retries"),
    (r"(\"(?:bytes_sent|requests|retries|lag_seconds)\": ?)[\d.]+", r"\1<n>"),
    (r"(?<=exec\.seconds\":\")[\d.]+", "<n>"),
    (r"\b\d+(?=\tdelivered$)", "<size>"),
    (r"\b\d+\.\d+\.\d+\b", "<version>"),
    (r"\b[a-z]+-[a-z]+-\d+\b", "<a name>"),
    (r"(?<=root\.filesystem\t)\S+", "<kind>"),
    (r"\b\d+(?= files may be open)", "<n>"),
    (r"(?<=mlflow-artifacts:/)\d+(?=/)", "<n>"),  # the experiment
    (r"(?<=rw-r--r-- )(.*?)\d+ (?=<time>)", "<owner and size> "),
]

# A busy server's bad moment, told and mended by the delivery itself, is no part of what a command prints.
BAD_MOMENT = re.compile(r"^\[[\d :.-]+\] mlops warning: \S+: HTTP 5\d\d: the server could not finish it; .*\n", re.M)


def mask(text, names=()):
    """The transcript (commands are lines with a $), masked. names: pairs of (what this run has, what stands in the
    golden file), replaced first."""
    names = [*names, (f"mlflow.user = {getpass.getuser()}\n", "mlflow.user = <user>\n"),
             (f'"mlflow.user":"{getpass.getuser()}"', '"mlflow.user":"<user>"'), (f"host\t{socket.gethostname()}\t", "host\t<host>\t")]
    text = BAD_MOMENT.sub("", text)
    for real, stand_in in sorted(names, key=lambda pair: -len(pair[0])):
        text = text.replace(real, stand_in)
    lines, printed = [], 0
    for line in text.splitlines():
        printed = 0 if line.startswith("$ ") else printed + 1
        if printed == 0 or printed <= LONG:
            lines.append(line if printed == 0 else _mask_line(line))
        elif printed == LONG + 1:
            lines[-LONG + HEAD:] = ["..."]
    ids = {}  # the same id is the same number, so that it is seen where it comes back
    text = re.sub(r"\b[0-9a-f]{32}\b", lambda m: ids.setdefault(m[0], f"<id {len(ids) + 1}>"), "\n".join(lines) + "\n")
    return re.sub(r"\b(?=[a-f]*\d)[0-9a-f]{8}\b", "<stuck id>", text)


def _mask_line(line):
    for pattern, stand_in in MASKS:
        line = re.sub(pattern, stand_in, line)
    return line.rstrip(" ")


def difference(name, transcript):
    """-> "" when the masked transcript is the golden one, else what differs."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("MLOPS_WRITE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(transcript)
        return ""
    wanted = path.read_text() if path.exists() else ""
    return "".join(difflib.unified_diff(wanted.splitlines(True), transcript.splitlines(True), str(path), "now"))
