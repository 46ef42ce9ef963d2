"""The examples for CI: their YAML is read, and their shell steps run on a small repository."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_regress import QUICK, planner
from tests.conftest import ROOT

pytestmark = pytest.mark.compiled

EXAMPLES = ROOT / "examples" / "ci"
GH = """\
#!/bin/sh
echo "$@" >> "$GH_LOG"
case "$*" in *--paginate*) cat "$GH_IDS";; esac
"""


def read(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))


STEPS = {
    each["name"]: each
    for each in read("github-forecast.yml")["jobs"]["forecast"]["steps"]
    if "name" in each
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone with a scenario that is worse than the baseline of the main branch."""
    top = tmp_path_factory.mktemp("ci")
    origin, clone, tools = top / "origin", top / "clone", top / "bin"
    (origin / "scenarios").mkdir(parents=True)
    (origin / "scenarios" / "small.yaml").write_text(QUICK, encoding="utf-8")
    done = planner("baseline", "update", str(origin / "scenarios"), "--seeds", "3", "--jobs", "1")
    assert done.exit_code == 0
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(origin)]
    for line in ("init -q -b main", "add .", "commit -q -m one"):
        subprocess.run([*git, *line.split()], check=True)
    subprocess.run(["git", "clone", "-q", str(origin), str(clone)], check=True)
    path = clone / "scenarios" / "small.yaml"
    path.write_text(QUICK.replace("nodes: 2", "nodes: 3"), encoding="utf-8")
    tools.mkdir()
    python = shlex.quote(sys.executable)
    _executable(tools / "planner", f'#!/bin/sh\nexec {python} -m planner "$@"\n')
    _executable(tools / "gh", GH)
    return clone


def _executable(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def run(script: str, repository: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does: with bash, and stopping at the first failure."""
    tools = repository.parent / "bin"
    environment = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RUNNER_TEMP": str(repository.parent),
        "GITHUB_REPOSITORY": "owner/name",
        "GH_LOG": str(repository.parent / "gh.log"),
        "GH_IDS": str(repository.parent / "ids"),
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=repository,
        env=environment | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_github_steps(repository: Path) -> None:
    compared = run(STEPS["Compare with the target branch"]["run"], repository, BASE_REF="main")
    assert compared.returncode == 0, compared.stderr
    comment = (repository / "comment.md").read_text(encoding="utf-8")
    assert comment.startswith("<!-- planner-regress -->\n")
    assert "### Cost forecast against the target branch\n" in comment
    assert "chat: nodes at peak | 2 | 3 |" in comment
    assert "planner baseline update" not in comment  # it would not change the target branch
    gate = run(STEPS["Gate"]["run"], repository)
    assert gate.returncode == 1
    assert "::error file=scenarios/small.yaml,line=" in gate.stdout


def test_the_first_pull_request_brings_the_scenarios(repository: Path, tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    subprocess.run(["git", "init", "-q", "-b", "main", str(origin)], check=True)
    empty = [*git, "-C", str(origin), "commit", "-q", "--allow-empty", "-m", "one"]
    subprocess.run(empty, check=True)
    subprocess.run(["git", "clone", "-q", str(origin), str(clone)], check=True)
    shutil.copytree(repository.parent / "origin" / "scenarios", clone / "scenarios")
    runner = {
        "RUNNER_TEMP": str(tmp_path),
        "PATH": f"{repository.parent / 'bin'}:{os.environ['PATH']}",
    }
    step = STEPS["Compare with the target branch"]["run"]
    compared = run(step, clone, BASE_REF="main", **runner)
    assert compared.returncode == 0, compared.stderr
    comment = (clone / "comment.md").read_text(encoding="utf-8")
    assert "has no comparable baseline" in comment
    assert run(STEPS["Gate"]["run"], clone, **runner).returncode == 0


def test_what_is_installed_is_a_release() -> None:
    release = read("pre-commit-config.yaml")["repos"][0]["rev"]
    installed = [
        read("github-forecast.yml")["jobs"]["forecast"]["env"]["PLANNER"],
        read("gitlab-forecast.yml")["forecast"]["variables"]["PLANNER"],
    ]
    assert all(each.endswith(f"@{release}") for each in installed)


@pytest.mark.parametrize(
    ("known", "call"),
    [
        ("", "--method POST repos/owner/name/issues/7/comments"),
        ("41\n42\n", "--method PATCH repos/owner/name/issues/comments/41"),
    ],
    ids=["first", "again"],
)
def test_github_comment_is_written_once_and_then_updated(
    repository: Path, known: str, call: str
) -> None:
    (repository / "comment.md").write_text("<!-- planner-regress -->\n", encoding="utf-8")
    (repository.parent / "ids").write_text(known, encoding="utf-8")
    (repository.parent / "gh.log").write_text("", encoding="utf-8")
    done = run(STEPS["Comment"]["run"], repository, PULL="7", GH_TOKEN="x")
    assert done.returncode == 0, done.stderr
    calls = (repository.parent / "gh.log").read_text(encoding="utf-8").splitlines()
    assert calls[-1] == f"api --silent {call} --field body=@comment.md"
    assert len(calls) == 2


def test_github_workflow_needs_no_more_than_it_uses() -> None:
    content = read("github-forecast.yml")
    assert content["permissions"] == {"contents": "read", "pull-requests": "write"}
    # what a pull request says is never pasted into a script
    assert not any("${{" in step.get("run", "") for step in STEPS.values())


def test_gitlab_script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    job = read("gitlab-forecast.yml")["forecast"]
    (line,) = job["script"]
    program, *arguments = shlex.split(line)
    assert program == "planner"
    assert planner(*arguments).exit_code == 1
    assert Path(job["artifacts"]["reports"]["junit"]).is_file()
    assert all(Path(path).is_file() for path in job["artifacts"]["paths"])


def test_pre_commit_hooks(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    offered = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    hooks = {hook["id"]: hook for hook in offered}
    (used,) = read("pre-commit-config.yaml")["repos"]
    prices = repository / "scenarios" / "prices.yaml"  # as people keep them beside scenarios
    prices.write_text("- {name: list-a, chip: h100-sxm}\n", encoding="utf-8")
    for each in used["hooks"]:
        hook = hooks[each["id"]]
        program, *arguments = hook["entry"].split()
        assert program == "planner"
        files = (
            []
            if hook.get("pass_filenames") is False
            else ["scenarios/small.yaml", "scenarios/prices.yaml"]
        )
        done = planner(*arguments, *each.get("args", []), *files)
        assert done.exit_code == (1 if "regress" in hook["id"] else 0), done.output
