"""The package from outside: what it exports, what it costs to import, what it needs."""

from __future__ import annotations

import importlib.metadata
import pkgutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import nacre_client
import pytest

PROJECT = Path(__file__).parents[2] / "clients" / "python"


def in_fresh_python(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout


def test_all_is_exactly_what_can_be_imported() -> None:
    public = {
        name
        for name, value in vars(nacre_client).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }

    assert public | {"__version__"} == set(nacre_client.__all__)


def test_every_module_is_private() -> None:
    modules = [module.name for module in pkgutil.iter_modules(nacre_client.__path__)]

    assert [name for name in modules if not name.startswith("_")] == []


def test_importing_it_loads_nothing_heavy() -> None:
    program = "import sys, nacre_client; print(' '.join(sys.modules))"

    loaded = set(in_fresh_python(program).split())

    # httpx costs more than everything else here together, so it waits for the first client.
    heavy = {"torch", "numpy", "pydantic", "httpx", "asyncio", "agent_core", "service"}
    assert loaded & heavy == set()


def test_importing_it_takes_less_than_a_fifth_of_a_second() -> None:
    # Processor time, not wall time: other work on the machine must not fail the test.
    program = (
        "import time; start = time.process_time(); import nacre_client;"
        "print(time.process_time() - start)"
    )

    fastest_s = min(float(in_fresh_python(program)) for _ in range(3))

    assert fastest_s < 0.2


def test_it_needs_httpx_and_nothing_else() -> None:
    assert importlib.metadata.requires("nacre-client") == ["httpx<1,>=0.28"]


def test_it_says_that_it_is_typed() -> None:
    assert (PROJECT / "src" / "nacre_client" / "py.typed").exists()


def test_the_version_is_the_one_that_is_packaged() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]

    assert nacre_client.__version__ == project["version"]


@pytest.mark.parametrize("name", ["ConnectionError", "TimeoutError"])
def test_no_error_hides_a_builtin_one(name: str) -> None:
    assert not hasattr(nacre_client, name)
