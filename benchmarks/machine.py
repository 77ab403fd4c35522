"""What a measurement ran on: a number without its machine means nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """One machine and the software that was measured on it."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    packages: dict[str, str]

    def sentence(self) -> str:
        """All of it in one line."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        hardware = f"{self.cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB"
        return f"{hardware}; {self.system}; Python {self.python}; {packages}"


def describe_machine(packages: tuple[str, ...]) -> Machine:
    """This machine, with the versions of those of `packages` that are installed."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: found for name in packages if (found := _version(name))},
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
