"""What is made from the table of commands: completions in real shells, the manual page, the reference."""

import json
import os
import shutil
import subprocess

import pytest

from scenario import Scenario


@pytest.fixture
def root(build, tmp_path):
    """A scenario without a server, with one run in it; .run is its id."""
    s = Scenario(build, tmp_path)
    s.run = s.mlops("run", "start", "--experiment", "my exp", "--name", "first").strip()
    s.mlops("log", "--run", s.run, "loss=0.5", "val/acc=0.9", "--step", "1")
    return s


def ask(s, *words):
    """-> what `mlops complete` proposes, without descriptions."""
    out = subprocess.run([str(s.build.mlops), "complete", "--", *words], env=s.env, cwd=s.folder, capture_output=True,
                         text=True, timeout=60)
    assert out.returncode == 0 and out.stderr == ""
    return [line.split("\t")[0] for line in out.stdout.splitlines()]


def table(s):
    return json.loads(s.mlops("reference", "--json"))["commands"]


def test_every_command_and_option_is_proposed(root):
    first = set(ask(root, ""))
    for command in table(root):
        words = command["name"].split()[1:]
        assert words[0] in first
        if len(words) == 2:
            assert words[1] in ask(root, words[0], "")
        proposed = ask(root, *words, "-")
        places = []  # words for the positionals in front
        for option in command["options"]:
            if option["long"]:
                assert option["long"] in proposed, command["name"]
            if option["choices"]:
                before = [option["long"]] if option["long"] else places
                assert ask(root, *words, *before, "") == option["choices"]
            if not option["long"]:
                places.append("x")
        assert ("--json" in proposed) == (command["json"] != "")
        assert ("--root" in proposed) == command["has_root"]
    assert "complete" not in first and "reference" not in first


def test_proposals_come_from_the_root(root, tmp_path):
    assert ask(root, "show", "") == [root.run]
    assert ask(root, "show", root.run[:6]) == [root.run]
    assert ask(root, "show", "x") == []
    assert ask(root, "runs", "--experiment", "m") == ["my exp"]
    assert ask(root, "runs", "--experiment=m") == ["--experiment=my exp"]
    assert ask(root, "show", root.run, "--metric", "") == ["loss", "val/acc"]
    assert ask(root, "show", "--root", str(tmp_path / "nowhere"), "") == []
    assert ask(root, "runs", "--root", "") == [":folders"]
    assert ask(root, "exec", "--", "./tr") == [":files"]
    assert ask(root, "nonsense", "") == []
    assert ask(root) == ask(root, "")


BASH = """
source <(mlops completions bash) || exit 9
complete -p mlops || exit 8
press() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _mlops; printf '%s|' "${COMPREPLY[@]}"; echo; }
press mlops sho
press mlops runs --experiment ''
press mlops runs --experiment = m
press mlops runs --experiment '"m'
press mlops show "$RUN" --metric v
press mlops show ''
press mlops completions z
cd folder && press mlops exec -- ./a
"""


def test_completion_in_a_real_bash(root):
    (root.folder / "folder").mkdir()
    (root.folder / "folder" / "a file").write_text("")
    env = {**root.env, "RUN": root.run, "PATH": f"{root.build.mlops.parent}:{os.environ['PATH']}"}
    out = subprocess.run(["bash", "--norc", "-c", BASH], env=env, cwd=root.folder, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    assert out.stderr == ""
    assert out.stdout.splitlines() == ["complete -F _mlops mlops", "show|", r"my\ exp|", r"my\ exp|", "my exp|", "val/acc|",
                                       root.run + "|", "zsh|", "./a file|"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_is_read_by(shell, root):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell}")
    script = root.folder / "script"
    script.write_text(root.mlops("completions", shell))
    subprocess.run([program, "-n", str(script)], check=True, timeout=60, capture_output=True)


ZSH = """
compdef() { :; }
_describe() { print -l -- "${proposals[@]}"; }
_files() { print -- files "$@"; }
source <(mlops completions zsh)
press() { words=("$@") CURRENT=$#; _mlops; }
press mlops sho
press mlops runs --experiment ''
press mlops runs --experiment 'm'
press mlops show "$RUN" --metric v
press mlops completions z
press mlops exec -- ./a
press mlops runs --root ''
"""


def test_completion_in_a_real_zsh(root):
    program = shutil.which("zsh")
    if program is None:
        pytest.skip("no zsh")
    env = {**root.env, "RUN": root.run, "PATH": f"{root.build.mlops.parent}:{os.environ['PATH']}"}
    out = subprocess.run([program, "-f", "-c", ZSH], env=env, cwd=root.folder, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0 and out.stderr == ""
    lines = out.stdout.splitlines()
    assert lines[0].startswith("show:") and lines[1:] == ["my exp", "my exp", "val/acc", "zsh", "files", "files -/"]


def test_completion_in_a_real_fish(root):
    program = shutil.which("fish")
    if program is None:
        pytest.skip("no fish")
    env = {**root.env, "PATH": f"{root.build.mlops.parent}:{os.environ['PATH']}", "HOME": str(root.folder)}
    ask_fish = "mlops completions fish | source; complete -C 'mlops show '; complete -C 'mlops runs --exp'"
    out = subprocess.run([program, "--no-config", "-c", ask_fish], env=env, cwd=root.folder, capture_output=True, text=True,
                         timeout=120)
    assert [line.split("\t")[0] for line in out.stdout.splitlines()] == [root.run, "--experiment"]


def test_manual_page_renders_without_a_warning(root):
    page = root.folder / "mlops.1"
    page.write_text(root.mlops("man"))
    if shutil.which("mandoc"):
        out = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True, timeout=60)
        assert out.stdout == "" and out.returncode == 0
    if shutil.which("man"):
        env = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}
        out = subprocess.run(["man", "--warnings", "-l", str(page)], env=env, capture_output=True, text=True, timeout=60)
        assert out.stderr == "" and out.returncode == 0
        for command in table(root):
            assert command["name"] in out.stdout
    text = page.read_text()
    for command in table(root):
        for option in command["options"]:
            if option["long"]:
                assert option["long"].replace("-", r"\-") in text
