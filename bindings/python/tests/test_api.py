"""The package's face is what tests/api.txt says: public names, their parameters and types. A change of it is a change for
users: MLOPS_WRITE_GOLDEN=1 writes the file anew, and the difference is to be read."""

import inspect
import os
import pathlib

import mlops

GOLDEN = pathlib.Path(__file__).with_name("api.txt")
WRITE = os.environ.get("MLOPS_WRITE_GOLDEN")  # before a test's root takes such variables away


def said(name, thing):
    if inspect.isclass(thing):
        lines = [f"class {name}({', '.join(base.__name__ for base in thing.__bases__)})"]
        for member in sorted(set(dir(thing)) - set(dir(Exception))):
            value = inspect.getattr_static(thing, member)
            if member.startswith("_") or not (inspect.isroutine(value) or isinstance(value, property)):
                continue
            lines += ["    " + said(member, value)[0]]
        return lines
    if isinstance(thing, property):
        return [f"{name}: property"]
    if inspect.isfunction(thing):
        return [f"{name}{inspect.signature(thing)}"]
    return [name]


def test_the_face_is_as_it_was():
    lines = [line for name in sorted(mlops.__all__) if not inspect.ismodule(getattr(mlops, name)) for line in said(name, getattr(mlops, name))]
    for module in (mlops.artifacts, mlops.data):
        lines += [f"{module.__name__}.{line}" for name in sorted(module.__all__) for line in said(name, getattr(module, name))]
    text = "\n".join(lines) + "\n"
    if WRITE:
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
