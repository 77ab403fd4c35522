"""What our sources must not contain: ways to run data as code, prints, secrets in logs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("agent_core", "service", "clients/python/src")
    for path in (ROOT / folder).rglob("*.py")
)
UNPICKLERS = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
}
RUNNERS = {"eval", "exec", "compile", "__import__"}
LOADERS = {
    "torch.load",
    "torch.jit.load",
    "torch.hub.load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
}
YAML_LOADERS = {f"yaml.{name}" for name in ("Loader", "CLoader", "FullLoader", "UnsafeLoader")}
"""What `yaml.load` may not be given; a subclass of the safe loader is fine."""
SPEAKERS = {
    "service/cli.py",
    "service/decisions/replay.py",
    "service/evaluation/command.py",
    "service/evaluation/export_command.py",
}
"""Files whose output is what a command prints; the demo is another."""
SECRETS = {
    "key",
    "api_key",
    "api_keys",
    "presented",
    "password",
    "secret",
    "token",
    "authorization",
}
PRIVATE = SECRETS | {"body", "headers", "redis_url", "observation", "features"}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def _name(node: ast.AST) -> str:
    """`a.b.c` of a name or an attribute; the last part of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}".lstrip(".")
    return ""


def _unpicklers(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] in UNPICKLERS for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS


def _runners(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) in RUNNERS


def _loaders(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return _name(node) in YAML_LOADERS
    options = {
        option.arg: option.value.value
        for option in node.keywords
        if isinstance(option.value, ast.Constant)
    }
    is_unsafe = options.get("shell") is True or options.get("allow_pickle") is True
    return is_unsafe or _name(node.func) in LOADERS


def _private_in_logs(node: ast.AST) -> bool:
    """A call such as `log.info(..., body=...)` or `log.info(..., x=request.body)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr not in LEVELS or _name(node.func.value).split(".")[-1] not in {"log", "_log"}:
        return False
    words = {keyword.arg for keyword in node.keywords}
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    words |= {_name(part).split(".")[-1] for value in values for part in ast.walk(value)}
    return bool(words & PRIVATE)


def _places(is_bad: Callable[[ast.AST], bool]) -> Iterator[str]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if is_bad(node):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("is_bad", [_unpicklers, _runners, _loaders])
def test_no_data_is_run_as_code(is_bad: Callable[[ast.AST], bool]) -> None:
    """Failure table row 41: weights are safetensors, files are safe YAML, TOML or JSON."""
    assert SOURCES
    assert list(_places(is_bad)) == []


def test_only_commands_print() -> None:
    printing = _places(lambda node: isinstance(node, ast.Call) and _name(node.func) == "print")

    files = {place.rpartition(":")[0] for place in printing}

    assert {file for file in files if not file.startswith("service/demo/")} <= SPEAKERS


def test_no_log_call_names_a_secret_or_what_a_caller_sent() -> None:
    assert list(_places(_private_in_logs)) == []


@pytest.mark.parametrize(
    ("is_bad", "source"),
    [
        (_unpicklers, "from pickle import loads"),
        (_runners, "eval(text)"),
        (_loaders, "torch.load(file)"),
        (_loaders, "yaml.load(text, yaml.FullLoader)"),
        (_loaders, "numpy.load(file, allow_pickle=True)"),
        (_loaders, "subprocess.run(command, shell=True)"),
        (_private_in_logs, "log.info('asked', size=len(request.body))"),
        (_private_in_logs, "log.warning('refused', api_key=value)"),
    ],
)
def test_these_checks_find_what_they_look_for(
    is_bad: Callable[[ast.AST], bool], source: str
) -> None:
    assert any(map(is_bad, ast.walk(ast.parse(source))))
