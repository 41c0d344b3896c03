"""Command: `mlops` of the shell, and `python -m mlops`. It is inside the extension module of a self-contained wheel; a
package that was built against an installed libmlops hands over to the program that came with that."""

import os
import sys

from mlops import _core


def main() -> int:
    code = _core.command(["mlops", *sys.argv[1:]])
    if code is not None:
        return code
    own = os.path.realpath(sys.argv[0])
    for folder in os.get_exec_path():
        program = os.path.join(folder, "mlops")
        if os.access(program, os.X_OK) and os.path.isfile(program) and os.path.realpath(program) != own:
            os.execv(program, ["mlops", *sys.argv[1:]])
    print("mlops: this package has no command inside, and libmlops's is not on PATH; install the wheel", file=sys.stderr)
    return 1
