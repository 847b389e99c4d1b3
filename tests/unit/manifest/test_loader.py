"""Manifest keys, error messages and discovery."""

import os
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from datetime import date
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.errors import ExitCode, ManifestError
from isosmoke.history import layout
from isosmoke.manifest.discovery import find_manifest, locate_manifest, locate_source
from isosmoke.manifest.loader import load
from isosmoke.manifest.mirrors import mirror_text
from isosmoke.manifest.models import (
    Allowance,
    Gate,
    Leaks,
    Limits,
    Scenario,
    Service,
    TrustedPlace,
    Wait,
)
from isosmoke.manifest.parser import parse, parse_past
from isosmoke.manifest.table_base import list_keys
from isosmoke.shards import loaded_shards

PATH = Path("/project/manifest.toml")
MEBI = 1024**2

ONE = '[[scenario]]\nname = "one"\nscript = "one.sh"\n'
"""The smallest scenario; what is appended to it starts on line 4."""

FULL = """
[gate]
unowned = "refuse"
max_skips = 3
require_proof = true
require_teeth = true
teeth_patterns = ["at _ *"]
places = [{ address = "tls://10.0.0.1:8786", certificates = [
  "0000000000000000000000000000000000000000000000000000000000000000",
] }]

[[scenario]]
name = "full"
script = "scenarios/full.sh"
owners = [" fix-a ", "fix-b"]
aliases = ["fuller"]
teeth = ["done", "service stop"]
description = '''
Many
lines.'''
timeout_seconds = 30
assertion = "It holds."
image = "debian"
requires = { commands = ["git"], env = ["TOKEN"], endpoints = ["http://localhost:1"] }
network = "host"
capabilities = ["CHOWN", "NET_RAW"]
cache = ["cargo", "go"]
new_namespaces = true
locks = ["port-8080"]
weight = 2
pass_env = ["TOKEN"]
pass_files = ["~/.config/wg"]
plain_env = ["MODE"]
plain_files = ["~/.cache/wg"]
tags = ["slow"]
retries = 2
settle_seconds = 0.5
grace_seconds = 1

[[scenario.services]]
name = "db-1"
image = "postgres:16"
command = ["postgres", "-c", "fsync=off"]
env = { POSTGRES_PASSWORD = "${TOKEN}" }
ports = [5432]
wait = { log = "ready to accept" }
timeout_seconds = 20

[scenario.env]
LANG = "C"

[scenario.limits]
memory = "512M"
processes = 64
output = 1000
open_files = 256

[scenario.leaks]
policy = "report"

[[scenario.leaks.allow]]
command = "tmux.*server"
reason = "Shared by every pane."
until = 2027-01-31
"""


def parse_mistakes(text: str, path: Path = PATH) -> list[str]:
    """Parse an invalid manifest and return its error lines without the file name."""
    with pytest.raises(ManifestError) as caught:
        parse(text, path)
    assert caught.value.hint
    assert caught.value.exit_code is ExitCode.USAGE

    return [line.removeprefix(f"{path}:") for line in caught.value.message.splitlines()]


def parse_scenario(keys: str, before: str = "") -> Scenario:
    """Parse the smallest scenario with `keys` appended and `before` prepended."""
    return parse(before + ONE + keys, PATH).scenarios[0]


def write_manifests(root: Path, *names: str) -> Path:
    """Write a loadable manifest at each of `names` and return `root`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ONE)
        (path.parent / "one.sh").touch()

    return root


def test_smallest_scenario_has_the_published_defaults() -> None:
    """A scenario with only a name and a script has every documented default."""
    smallest = parse_scenario("")

    assert smallest == Scenario.validate(
        {
            "name": "one",
            "script": "one.sh",
            "owners": [],
            "description": "",
            "assertion": "",
            "timeout_seconds": 180,
            "image": "host",
            "requires": {"commands": [], "env": [], "endpoints": []},
            "leaks": "fail",
            "network": "host",
            "locks": [],
            "env": {},
            "pass_env": [],
            "pass_files": [],
            "plain_env": [],
            "plain_files": [],
            "tags": [],
            "retries": 0,
            "settle_seconds": 2,
            "grace_seconds": 5,
            "limits": {"output": "100M"},
        }
    ).place(PATH.parent)
    assert smallest.limits == Limits(
        memory=None, processes=None, output=100 * MEBI, open_files=None
    )


def test_every_key_reaches_its_field() -> None:
    """A manifest that uses every key is parsed into exactly these values."""
    manifest = parse(FULL, PATH)
    (full,) = manifest.scenarios

    assert (manifest.path, manifest.gate) == (
        PATH,
        Gate(
            unowned="refuse",
            max_skips=3,
            require_proof=True,
            require_teeth=True,
            teeth_patterns=("at _ *",),
            places=(TrustedPlace(address="tls://10.0.0.1:8786", certificates=("0" * 64,)),),
        ),
    )
    assert full.script_path == Path("/project/scenarios/full.sh")
    assert full.owners == ("fix-a", "fix-b")
    assert full.description == "Many\nlines."
    assert full.requires.endpoints == ("http://localhost:1",)
    (service,) = full.services
    assert service == Service(
        name="db-1",
        image="postgres:16",
        command=("postgres", "-c", "fsync=off"),
        env={"POSTGRES_PASSWORD": "${TOKEN}"},
        ports=(5432,),
        wait=Wait(log="ready to accept"),
        timeout_seconds=20,
    )
    assert service.prefix == "DB_1"
    assert full.env == {"LANG": "C"}
    assert full.capabilities == ("CHOWN", "NET_RAW")
    assert full.cache == ("cargo", "go")
    assert full.limits == Limits(memory=512 * MEBI, processes=64, output=1000, open_files=256)
    allowed = Allowance(
        command="tmux.*server", reason="Shared by every pane.", until=date(2027, 1, 31)
    )
    assert full.leaks == Leaks(policy="report", allow=(allowed,))
    assert full.aliases == ("fuller",)
    assert full.teeth == ("done", "service stop")
    assert full.weight == 2
    assert set(tomli.loads(FULL)["scenario"][0]) == set(list_keys(Scenario))


def test_models_are_frozen() -> None:
    """A parsed scenario cannot be changed."""
    with pytest.raises(FrozenInstanceError):
        parse_scenario("").name = "two"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("one.sh", "/project/one.sh"),
        ("../one.sh", "/project/../one.sh"),
        ("/elsewhere/one.sh", "/elsewhere/one.sh"),
    ],
)
def test_script_path_is_relative_to_the_manifest(script: str, expected: str) -> None:
    """A relative script path starts at the directory of the manifest; an absolute one is kept."""
    text = f'[[scenario]]\nname = "one"\nscript = "{script}"\n'

    assert parse(text, PATH).scenarios[0].script_path == Path(expected)


def test_script_path_is_absolute_for_a_relative_manifest() -> None:
    """A manifest with a relative path has absolute script paths."""
    (scenario,) = parse(ONE, Path("manifest.toml")).scenarios

    assert scenario.script_path == Path.cwd() / "one.sh"


@pytest.mark.parametrize(
    ("written", "size"),
    [("1", 1), ('"1"', 1), ('"2K"', 2048), ('"512M"', 512 * MEBI), ('"2G"', 2048 * MEBI)],
)
def test_sizes_are_bytes_or_text_with_a_suffix(written: str, size: int) -> None:
    """A size is a number of bytes, or text whose suffix is a power of 1024."""
    assert parse_scenario(f"limits.memory = {written}").limits.memory == size


@pytest.mark.parametrize(
    ("defaults", "own", "expected"),
    [
        ("timeout_seconds = 9", "", {"timeout_seconds": 9}),
        ("timeout_seconds = 9", "timeout_seconds = 5", {"timeout_seconds": 5}),
        ('tags = ["a"]', 'tags = ["b"]', {"tags": ("b",)}),
        ('env = { A = "1", B = "1" }', 'env.B = "2"', {"env": {"A": "1", "B": "2"}}),
        (
            'limits.memory = "1M"',
            "limits.processes = 9",
            {"limits": Limits(memory=MEBI, processes=9)},
        ),
        (
            'leaks.policy = "report"',
            'leaks.allow = [{ command = "a", reason = "b" }]',
            {"leaks": Leaks(policy="report", allow=(Allowance(command="a", reason="b"),))},
        ),
        (
            'leaks.allow = [{ command = "a", reason = "b" }]',
            'leaks = "fail"',
            {"leaks": Leaks(policy="fail", allow=())},
        ),
    ],
)
def test_scenario_overrides_defaults(defaults: str, own: str, expected: dict[str, object]) -> None:
    """A scenario overrides a default, two tables are merged, and any other value is replaced."""
    merged = parse_scenario(own, before=f"[defaults]\n{defaults}\n")

    assert {key: getattr(merged, key) for key in expected} == expected


NO_PATH = "must be an absolute path, or one in ~"

MISTAKES = {
    "an unknown key": (
        "timeout_second = 3",
        ["4: scenario 'one': key 'timeout_second': unknown key; did you mean 'timeout_seconds'?"],
    ),
    "a key of a later version": (
        "quarantine = []",
        ["4: scenario 'one': key 'quarantine': unknown key"],
    ),
    "a key that only the model has": (
        'script_path = "x"',
        ["4: scenario 'one': key 'script_path': unknown key; did you mean 'script'?"],
    ),
    "text for a number": (
        '\n\ntimeout_seconds = "30"',
        ["6: scenario 'one': key 'timeout_seconds': must be a whole number, not '30'"],
    ),
    "a fraction for a whole number": (
        "timeout_seconds = 1.5",
        ["4: scenario 'one': key 'timeout_seconds': must be a whole number, not 1.5"],
    ),
    "a boolean for a number": (
        "retries = true",
        ["4: scenario 'one': key 'retries': must be a whole number, not true"],
    ),
    "a number for text": (
        "description = 3",
        ["4: scenario 'one': key 'description': must be a string, not 3"],
    ),
    "text for a list": (
        'owners = "me"',
        ["4: scenario 'one': key 'owners': must be a list, not 'me'"],
    ),
    "text for a table": (
        'requires = "git"',
        ["4: scenario 'one': key 'requires': must be a table, not 'git'"],
    ),
    "a list for a table": (
        "env = []",
        ["4: scenario 'one': key 'env': must be a table, not a list"],
    ),
    "a timeout of zero": (
        "timeout_seconds = 0",
        ["4: scenario 'one': key 'timeout_seconds': must be greater than 0, not 0"],
    ),
    "too long a timeout": (
        "timeout_seconds = 9000000000",
        [
            (
                "4: scenario 'one': key 'timeout_seconds': "
                "must be less than or equal to 604800, not 9000000000"
            )
        ],
    ),
    "an infinite time": (
        "settle_seconds = inf\ngrace_seconds = nan",
        [
            "4: scenario 'one': key 'settle_seconds': must be a finite number, not inf",
            "5: scenario 'one': key 'grace_seconds': must be a finite number, not nan",
        ],
    ),
    "a negative number of retries": (
        "retries = -1",
        ["4: scenario 'one': key 'retries': must be greater than or equal to 0, not -1"],
    ),
    "a blank owner": (
        'owners = [\n  "a",\n\n  # comment\n  "  ",\n]',
        ["8: scenario 'one': key 'owners[1]': must not be blank"],
    ),
    "an unknown choice": (
        'network = "none"',
        ["4: scenario 'one': key 'network': must be 'host' or 'isolated', not 'none'"],
    ),
    "a capability that affects the keeper": (
        'capabilities = ["CHOWN", "SYS_PTRACE"]',
        [
            (
                "4: scenario 'one': key 'capabilities[1]': must be a capability that affects "
                "neither keeper nor host, not 'SYS_PTRACE'"
            )
        ],
    ),
    "a capability that changes the host": (
        'capabilities = ["NET_ADMIN"]',
        ["4: scenario 'one': key 'capabilities': cannot include NET_ADMIN on the host's network"],
    ),
    "an isolated scenario that needs an endpoint": (
        'requires.endpoints = ["http://x"]\nnetwork = "isolated"',
        [("5: scenario 'one': key 'network': cannot be 'isolated' if requires.endpoints is set")],
    ),
    "an isolated scenario with services": (
        'services = [{ name = "db", image = "x" }]\nnetwork = "isolated"',
        ["5: scenario 'one': key 'network': cannot be 'isolated' if there are services"],
    ),
    "a service's unknown key": (
        '[[scenario.services]]\nname = "db"\nimage = "x"\nport = [1]',
        [
            (
                "7: scenario 'one': key 'services[0].port': "
                "unknown key; did you mean 'services[0].ports'?"
            )
        ],
    ),
    "a service whose name cannot start a variable": (
        'services = [{ name = "1db", image = "x" }]',
        [
            (
                "4: scenario 'one': key 'services[0].name': "
                "must consist of letters, digits, '_' and '-', not '1db'"
            )
        ],
    ),
    "services with the same prefix": (
        'services = [{ name = "a-b", image = "x" }, { name = "A_B", image = "x" }]',
        ["4: scenario 'one': key 'services': has two services with the same name"],
    ),
    "a service that waits for two things": (
        'services = [{ name = "db", image = "x", wait = { log = "x", health = true } }]',
        [
            (
                "4: scenario 'one': key 'services[0].wait': "
                "must name one of 'port', 'log' and 'health'"
            )
        ],
    ),
    "a service that waits for a foreign port": (
        'services = [{ name = "db", image = "x", ports = [1], wait = { port = 2 } }]',
        [("4: scenario 'one': key 'services[0]': waits for port 2, which is not one of its ports")],
    ),
    "an invalid port": (
        'services = [{ name = "db", image = "x", ports = [70000] }]',
        [
            (
                "4: scenario 'one': key 'services[0].ports[0]': "
                "must be less than or equal to 65535, not 70000"
            )
        ],
    ),
    "an unknown leak policy": (
        'leaks = "fial"',
        ["4: scenario 'one': key 'leaks': must be 'fail', 'report' or a table, not 'fial'"],
    ),
    "a broken pattern": (
        'leaks.allow = [\n  { command = "a", reason = "b" },\n  { command = "(", reason = "c" }]',
        [
            (
                "6: scenario 'one': key 'leaks.allow[1].command': "
                "is not a regular expression: missing ): ("
            )
        ],
    ),
    "an allowance without a reason": (
        (
            '[[scenario.leaks.allow]]\ncommand = "a"\n\n'
            '[[scenario.leaks.allow]]\ncommand = "b"\nreason = " "'
        ),
        [
            "4: scenario 'one': key 'leaks.allow[0].reason': is missing",
            "9: scenario 'one': key 'leaks.allow[1].reason': must not be blank",
        ],
    ),
    "an allowance in an inline table of many lines": (
        'leaks = { policy = "fail", allow = [\n  { command = "a", reason = "" },\n] }',
        ["5: scenario 'one': key 'leaks.allow[0].reason': must not be blank"],
    ),
    "a time for a date": (
        '[[scenario.leaks.allow]]\ncommand = "a"\nreason = "b"\nuntil = 2027-01-31T00:00:00',
        [
            (
                "7: scenario 'one': key 'leaks.allow[0].until': "
                "must be a date, not 2027-01-31T00:00:00"
            )
        ],
    ),
    "an invalid size": (
        'limits = { memory = "1 meter", output = true }',
        [
            "4: scenario 'one': key 'limits.memory': must be a size, not '1 meter'",
            "4: scenario 'one': key 'limits.output': must be a size, not true",
        ],
    ),
    "a size of zero": (
        'limits.memory = "0M"',
        ["4: scenario 'one': key 'limits.memory': must be greater than 0, not 0"],
    ),
    "an invalid variable": (
        'pass_env = ["A=B"]\n[scenario.env]\n"A B" = "x"',
        [
            "4: scenario 'one': key 'pass_env[0]': must be a variable name, not 'A=B'",
            "6: scenario 'one': key 'env.A B': must be a variable name, not 'A B'",
        ],
    ),
    "a value that is both secret and plain": (
        'pass_env = ["A"]\nplain_env = ["B", "A"]\nplain_files = ["/x"]\npass_files = ["/x"]',
        [
            "5: scenario 'one': key 'plain_env': must not include 'A', which is in 'pass_env'",
            "6: scenario 'one': key 'plain_files': must not include '/x', which is in 'pass_files'",
        ],
    ),
    "a relative path": (
        'pass_files = ["~", "~/x", "/x", ".env"]\nplain_files = ["~root/x", "../x", "$HOME/x"]',
        [
            f"4: scenario 'one': key 'pass_files[3]': {NO_PATH}, not '.env'",
            f"5: scenario 'one': key 'plain_files[0]': {NO_PATH}, not '~root/x'",
            f"5: scenario 'one': key 'plain_files[1]': {NO_PATH}, not '../x'",
            f"5: scenario 'one': key 'plain_files[2]': {NO_PATH}, not '$HOME/x'",
        ],
    ),
    "a value that no process can have": (
        'env = { A = "\\u0000" }',
        ["4: scenario 'one': key 'env.A': must not contain a zero byte"],
    ),
    "a mistake after long text": (
        'description = """\ntimeout_seconds = 0\n[[scenario]]\n\\"""\n"""\nretries = -1',
        ["9: scenario 'one': key 'retries': must be greater than or equal to 0, not -1"],
    ),
    "a mistake in long text's own key": (
        'image = """\n   \n"""',
        ["4: scenario 'one': key 'image': must not be blank"],
    ),
    "a mistake in a sub-table": (
        "[scenario.limits]\n# why\nprocesses = 0",
        ["6: scenario 'one': key 'limits.processes': must be greater than 0, not 0"],
    ),
    "a mistake in a later scenario": (
        '[[scenario]]\nname = "two"\nscript = "two.sh"\nrequires.commnds = []',
        [
            (
                "7: scenario 'two': key 'requires.commnds': "
                "unknown key; did you mean 'requires.commands'?"
            )
        ],
    ),
    "a scenario with no script": (
        '[[scenario]]\nname = "two"',
        ["4: scenario 'two': key 'script': is missing"],
    ),
    "a scenario with nothing": (
        "[[scenario]]",
        [
            "4: scenario 2: key 'name': is missing",
            "4: scenario 2: key 'script': is missing",
        ],
    ),
    "a duplicate name": (
        '[[scenario]]\nname = "one"\nscript = "two.sh"',
        ["5: scenario 'one': key 'name': is already the name of the scenario on line 2"],
    ),
    "an invalid gate": (
        '[gate]\nunowned = "maybe"\nmax_skips = -1\nskip = 1',
        [
            "5: [gate]: key 'unowned': must be 'allow' or 'refuse', not 'maybe'",
            "6: [gate]: key 'max_skips': must be greater than or equal to 0, not -1",
            "7: [gate]: key 'skip': unknown key; did you mean 'max_skips'?",
        ],
    ),
    "a place that nothing protects": (
        '[[gate.places]]\naddress = "a:1"\ncertificates = "0"',
        [
            "5: [gate]: key 'places[0].address': must be the address of a scheduler, not 'a:1'",
            "6: [gate]: key 'places[0].certificates': must be a list, not '0'",
        ],
    ),
    "a pattern with two blanks": (
        '[gate]\nteeth_patterns = ["at  *"]',
        ["5: [gate]: key 'teeth_patterns[0]': must be a pattern of words, not 'at  *'"],
    ),
    "a key of another kind": (
        '[gate]\nshard_keys = ["x"]',
        ["5: [gate]: key 'shard_keys[0]': must be a public key in PEM format, not 'x'"],
    ),
    "mistakes in the defaults, reported once": (
        '[[scenario]]\nname = "two"\nscript = "two.sh"\n\n[defaults]\nretries = "x"\nowners = []',
        [
            "9: [defaults]: key 'retries': must be a whole number, not 'x'",
            "10: [defaults]: key 'owners': cannot have a default, since it is set per scenario",
        ],
    ),
    "defaults that are not a table": (
        "[[defaults]]",
        ["4: [defaults]: must be a table, not a list"],
    ),
    "an unknown table": (
        "[scenarios]",
        ["4: key 'scenarios': unknown key; did you mean 'scenario'?"],
    ),
}


@pytest.mark.parametrize(("keys", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_names_its_line_scenario_and_key(keys: str, expected: list[str]) -> None:
    """Each mistake is reported on its own line, with its location."""
    assert parse_mistakes(ONE + keys) == expected


@pytest.mark.parametrize("name", ["", "a/b", ".", "..", "-a", "a b", "é", "a" * 201, "a\\n"])
def test_name_must_be_usable_as_a_file_name(name: str) -> None:
    """A name that cannot be a file name or looks like an option is refused."""
    (mistake,) = parse_mistakes(f'[[scenario]]\nname = "{name}"\nscript = "one.sh"')

    assert mistake.startswith("2: scenario ")
    assert "key 'name': must consist of letters, digits" in mistake


@pytest.mark.parametrize("name", [layout.HEADER, loaded_shards.RECEIPT, loaded_shards.ENVELOPE])
def test_name_must_not_be_a_file_of_a_record(name: str) -> None:
    """The record has a directory for each scenario next to these files; an alias has none."""
    text = f'[[scenario]]\nname = "{name}"\nscript = "one.sh"\n'
    (mistake,) = parse_mistakes(text)

    assert "key 'name': is the name of a file in the record of each run" in mistake
    assert parse_past(text, PATH).scenarios
    assert parse(f"{ONE}aliases = ['{name}']\n", PATH).scenarios


@pytest.mark.parametrize("name", ["a", "0", "_a", "a.b-c_D9", "a" * 200])
def test_valid_name_is_kept(name: str) -> None:
    """A name of letters, digits, underscores, dots and hyphens is kept unchanged."""
    assert parse_scenario("").change(name=name).name == name
    assert parse(f'[[scenario]]\nname = "{name}"\nscript = "x"', PATH).scenarios[0].name == name


def test_all_mistakes_are_reported_in_order() -> None:
    """One error reports all mistakes of a file, sorted by line."""
    text = (
        '[[scenario]]\nname = "a"\nscript = "a.sh"\nretries = -1\nowner = []\n'
        '[[scenario]]\nname = "a"\nscript = 3\n[defaults]\nimage = ""\n[gat]\n'
    )

    assert [int(line.split(":")[0]) for line in parse_mistakes(text)] == [4, 5, 7, 8, 10, 11]


SYNTAX = {
    "a missing quote": ('[[scenario]]\nname = "a\n', "2:10: "),
    "a key given twice": ("a = 1\na = 2\n", "2:"),
    "TOML 1.1's newline in a table": ("a = {\n  b = 1 }\n", "1:6: "),
    "TOML 1.1's escape": ('a = "\\e"\n', "1:"),
}


@pytest.mark.parametrize(("text", "position"), SYNTAX.values(), ids=SYNTAX)
def test_syntax_error_names_line_and_column(text: str, position: str) -> None:
    """Text that is not TOML 1.0 is refused with the position at which the parser stopped."""
    (mistake,) = parse_mistakes(text)

    assert mistake.startswith(position)


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 3000, "a = " + "9" * 5000], ids=["too deep", "too long a number"]
)
def test_text_that_exhausts_the_parser_is_a_mistake(text: str) -> None:
    """Text that exhausts the TOML parser is reported as a mistake."""
    assert len(parse_mistakes(text)) == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "scenario = []\n", "[gate]\n"])
def test_manifest_without_scenarios_is_refused(text: str) -> None:
    """A manifest without scenarios is invalid."""
    with pytest.raises(ManifestError, match=r"^/project/manifest\.toml:.*lists no scenarios"):
        parse(text, PATH)


def test_single_brackets_are_explained() -> None:
    """For [scenario] instead of [[scenario]], the error has the line and a hint."""
    with pytest.raises(ManifestError) as caught:
        parse("\n" + ONE.replace("[[scenario]]", "[scenario]"), PATH)

    assert str(caught.value).startswith(f"{PATH}:2: ")
    assert "[[scenario]]" in caught.value.hint


def test_windows_line_ends_count_as_one_line() -> None:
    """CR LF counts as one line ending."""
    text = (ONE + 'description = """a\nb"""\nretries = -1\n').replace("\n", "\r\n")

    assert parse_mistakes(text)[0].startswith("6: ")


def test_hint_of_an_unknown_key_lists_known_keys() -> None:
    """Without a similar key, the hint lists the known keys."""
    with pytest.raises(ManifestError) as caught:
        parse(ONE + "limits.zzz = 1", PATH)

    assert "memory, processes, output, open_files" in caught.value.hint


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text raises any exception but a ManifestError."""
    try:
        parse(text, PATH)
    except ManifestError as error:
        assert error.message.startswith(str(PATH))  # noqa: PT017  passing is allowed too


KEYS = st.sampled_from([*list_keys(Scenario), "policy", "allow", "memory", "x", '"a.b"', "a.b"])
VALUES = st.sampled_from(
    [
        *("1", "1.5", "true", '""', '"a"', '"""\n[x]\n"""', "2027-01-31"),
        *("[]", "[{}]", "[\n1,\n[]]", '[{command="("}]'),
        *("{}", "{policy=1}", "{commands=[\n'']}", '{"a.b"=1, memory=""}'),
    ]
)
HEADERS = st.sampled_from(
    [
        *("[[scenario]]", "[scenario]", "[scenario.env]", "[scenario.leaks]"),
        *("[[scenario.leaks.allow]]", "[defaults]", "[defaults.limits]", "[gate]"),
        *('["a b"]', "# x", ""),
    ]
)
STATEMENTS = st.lists(HEADERS | st.builds("{} = {}".format, KEYS, VALUES))


@given(STATEMENTS.map("\n".join))
def test_any_statements_are_parsed_or_refused(text: str) -> None:
    """No sequence of TOML statements raises any exception but a ManifestError."""
    try:
        parse(text, PATH)
    except ManifestError as error:
        for line in error.message.splitlines():
            assert line.startswith(f"{PATH}:")


def test_load_reads_a_manifest_whose_scripts_exist(tmp_path: Path) -> None:
    """A manifest on disk is loaded with its path."""
    path = write_manifests(tmp_path, "manifest.toml") / "manifest.toml"

    assert load(path) == parse(ONE, path)
    assert load(path).path == path


def test_load_reports_missing_scripts_with_other_mistakes(tmp_path: Path) -> None:
    """A missing script, a directory and an invalid path are reported with all other mistakes."""
    path = tmp_path / "manifest.toml"
    (tmp_path / "directory").mkdir()
    long = "x" * 300
    scripts = ["gone.sh", "directory", long, "\\u0000"]
    entries = [
        f'[[scenario]]\nname = "s{n}"\nscript = "{script}"' for n, script in enumerate(scripts)
    ]
    path.write_text("\n".join(entries) + "\nretries = -1\n")
    with pytest.raises(ManifestError) as caught:
        load(path)

    assert caught.value.message.splitlines() == [
        f"{path}:3: scenario 's0': key 'script': no such file: {tmp_path / 'gone.sh'}",
        f"{path}:6: scenario 's1': key 'script': is not a file: {tmp_path / 'directory'}",
        f"{path}:9: scenario 's2': key 'script': file name too long: {tmp_path / long}",
        f"{path}:12: scenario 's3': key 'script': must not contain a zero byte",
        f"{path}:13: scenario 's3': key 'retries': must be greater than or equal to 0, not -1",
    ]
    assert str(tmp_path) in caught.value.hint


def test_quoted_control_characters_are_escaped(tmp_path: Path) -> None:
    """Control characters in a quoted value are escaped."""
    path = tmp_path / "manifest.toml"
    path.write_text('[[scenario]]\nname = "a"\nscript = "\\u001b[31m\\n"\n')
    with pytest.raises(ManifestError) as caught:
        load(path)

    assert caught.value.message.endswith(r"\x1b[31m\n")


def test_load_refuses_unreadable_path(tmp_path: Path) -> None:
    """A missing manifest or a directory is an error that names the path."""
    for path, reason in [(tmp_path / "gone.toml", "no such file"), (tmp_path, "is a directory")]:
        with pytest.raises(ManifestError) as caught:
            load(path)

        assert caught.value.message.startswith(f"{path}: {reason}")
        assert caught.value.hint


def test_load_refuses_a_pipe(tmp_path: Path) -> None:
    """A manifest that is no file is refused, not waited for."""
    path = tmp_path / "manifest.toml"
    os.mkfifo(path)
    with pytest.raises(ManifestError, match="is not a regular file") as caught:
        load(path)

    assert "--manifest" in caught.value.hint


def test_each_mistake_has_its_own_hint(tmp_path: Path) -> None:
    """The hint of a mistake follows it."""
    path = tmp_path / "manifest.toml"
    path.write_text('[[scenario]]\nname = 3\nscrpt = "a.sh"\n')
    with pytest.raises(ManifestError) as caught:
        load(path)

    assert [(text.split(": ", 2)[2], hint) for text, hint in caught.value.parts] == [
        ("key 'script': is missing", "add the key 'script'"),
        ("key 'name': must be a string, not 3", 'write text in quotes, such as "text"'),
        ("key 'scrpt': unknown key; did you mean 'script'?", "correct the spelling"),
    ]


def test_load_refuses_text_that_is_not_utf8(tmp_path: Path) -> None:
    """A manifest in another encoding is refused with the line of the first invalid byte."""
    path = tmp_path / "manifest.toml"
    path.write_bytes(b"# fine\n# caf\xe9\n")
    with pytest.raises(ManifestError) as caught:
        load(path)

    assert caught.value.message == f"{path}:2: is not UTF-8 text"


WG = "tests/smoke/manifest.toml"

LOCATIONS = {
    "named absolutely": ({"WG_SMOKE_MANIFEST": "/{root}/x.toml"}, ["x.toml", f"p/{WG}"], "x.toml"),
    "named relatively": ({"WG_SMOKE_MANIFEST": "../x.toml"}, ["p/x.toml", f"p/{WG}"], "p/x.toml"),
    "in the graph directory": ({}, [f"p/.wg/{WG}", f"p/{WG}"], f"p/.wg/{WG}"),
    "in the project": ({}, [f"p/{WG}", f"git/{WG}", "p/sub/manifest.toml"], f"p/{WG}"),
    "in the repository": ({}, [f"git/{WG}", "p/sub/manifest.toml"], f"git/{WG}"),
    "in the working directory": ({}, ["p/sub/manifest.toml"], "p/sub/manifest.toml"),
    "of the graph WG_DIR names": (
        {"WG_DIR": "/{root}/q/.wg"},
        [f"p/{WG}", f"q/{WG}", "q/.wg/graph.jsonl"],
        f"q/{WG}",
    ),
    "of the project WG_DIR names": (
        {"WG_DIR": "../../q"},
        [f"p/{WG}", f"q/{WG}", "q/.wg/graph.jsonl"],
        f"q/{WG}",
    ),
    "of a graph directory with another name": (
        {"WG_DIR": "/{root}/q/graph"},
        [f"q/{WG}", "q/graph/graph.jsonl", "q/graph/.wg/x"],
        f"q/{WG}",
    ),
}


@pytest.mark.parametrize(("environ", "files", "expected"), LOCATIONS.values(), ids=LOCATIONS)
def test_manifest_is_the_one_wg_would_read(
    tmp_path: Path, environ: Mapping[str, str], files: list[str], expected: str
) -> None:
    """The manifest is found in the locations and order of wg."""
    root = write_manifests(tmp_path, "p/.wg/graph.jsonl", "p/sub/x", *files)
    environ = {key: value.replace("/{root}", str(root)) for key, value in environ.items()}
    manifest = find_manifest(root / "p/sub", environ, root / "git")

    assert manifest.resolve() == root / expected


def test_global_graph_is_used_outside_a_project(tmp_path: Path) -> None:
    """Outside a project, the graph in the home directory leads to its manifest, as in wg."""
    root = write_manifests(tmp_path, f"home/{WG}", "home/.workgraph/graph.jsonl", "elsewhere/x")

    manifest = find_manifest(root / "elsewhere", {"HOME": str(root / "home")}, None)

    assert manifest == root / "home" / WG


def test_linked_graph_belongs_to_the_project_of_its_target(tmp_path: Path) -> None:
    """A link to a graph directory is resolved before its parent is used, as in wg."""
    root = write_manifests(tmp_path, f"real/{WG}", "real/.wg/graph.jsonl", f"p/{WG}")
    (root / "p/.wg").symlink_to(root / "real/.wg")

    assert find_manifest(root / "p", {}, None) == root / "real" / WG


@pytest.mark.parametrize("named", ["", ".", "/gone.toml"])
def test_named_manifest_that_is_missing_is_never_replaced(tmp_path: Path, named: str) -> None:
    """A WG_SMOKE_MANIFEST that is not a file is an error, without a fallback."""
    root = write_manifests(tmp_path, "p/.wg/graph.jsonl", "p/manifest.toml")
    with pytest.raises(ManifestError, match="WG_SMOKE_MANIFEST") as caught:
        find_manifest(root / "p", {"WG_SMOKE_MANIFEST": named}, None)

    assert str(root / "p/.wg" / named) in caught.value.message


BRIDGED = '[[scenario]]\nname = "one"\nscript = "one.sh"\n'


def write_bridge(top: Path) -> Path:
    """Write a project with a graph and the mirror of its manifest; return the mirror."""
    write_manifests(top, WG, ".wg/graph.jsonl", "tests/smoke/one.sh")
    (top / WG).write_text(BRIDGED)
    mirror = top / ".isosmoke/bridge.toml"
    mirror.parent.mkdir()
    mirror.write_text(mirror_text.render(load(top / WG), "bridge.sh"))
    return mirror


def test_bridge_of_another_project_is_refused(tmp_path: Path) -> None:
    """A bridge that another project left in the environment is refused by name in this one."""
    mirror = write_bridge(tmp_path / "other")
    write_bridge(tmp_path / "here")
    left_over = {"WG_SMOKE_MANIFEST": str(mirror)}

    with pytest.raises(ManifestError, match="a bridge of another project") as caught:
        locate_manifest(tmp_path / "here", left_over)

    assert "unset WG_SMOKE_MANIFEST" in caught.value.hint
    assert locate_source(tmp_path / "here", left_over) == tmp_path / "here" / WG


def test_bridge_of_this_project_is_found_from_its_directories(tmp_path: Path) -> None:
    """A bridge is found in all of its project, and in a tree with a link to its graph."""
    mirror = write_bridge(tmp_path / "p")
    (tmp_path / "p/src").mkdir()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/.wg").symlink_to(tmp_path / "p/.wg")

    for directory in ("p", "p/src", "tree"):
        environ = {"WG_SMOKE_MANIFEST": str(mirror)}
        assert locate_manifest(tmp_path / directory, environ) == mirror
        assert locate_source(tmp_path / directory, environ) == tmp_path / "p" / WG


def test_source_of_an_outdated_mirror_is_found(tmp_path: Path) -> None:
    """`isosmoke bridge` can be run again after its manifest has changed."""
    mirror = write_bridge(tmp_path / "p")
    (tmp_path / "p" / WG).write_text(BRIDGED.replace('"one"', '"two"'))

    with pytest.raises(ManifestError, match="no longer mirrors"):
        load(mirror)
    environ = {"WG_SMOKE_MANIFEST": str(mirror)}
    assert locate_source(tmp_path / "p", environ) == tmp_path / "p" / WG


def test_missing_manifest_lists_every_path_tried(tmp_path: Path) -> None:
    """If there is no manifest, the error lists each path tried once."""
    with pytest.raises(ManifestError) as caught:
        find_manifest(tmp_path, {}, tmp_path)

    message, *paths = caught.value.message.splitlines()
    assert "no manifest" in message
    assert [Path(path.strip()) for path in paths] == [
        tmp_path / ".wg" / WG,
        tmp_path / WG,
        tmp_path / "manifest.toml",
    ]
    assert caught.value.hint


def test_public_manifest_of_wg_loads_unmodified() -> None:
    """The manifest of wg loads with the same scenarios, order, timeouts and owners."""
    source = os.environ.get("ISOSMOKE_WG_SOURCE")
    if not source:
        pytest.skip("set ISOSMOKE_WG_SOURCE to a checkout of wg to load its manifest")
    path = Path(source) / WG
    entries = tomli.loads(path.read_text())["scenario"]
    scenarios = load(path).scenarios

    assert [
        (scenario.name, scenario.timeout_seconds, list(scenario.owners)) for scenario in scenarios
    ] == [(entry["name"], entry["timeout_seconds"], entry["owners"]) for entry in entries]


VARIABLES = (
    *("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "LD_PRELOAD", "LD_AUDIT", "PATH"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"),
)


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize(
    "line", ['env = {{ {} = "x" }}', 'pass_env = ["{}"]', 'plain_env = ["{}"]']
)
@pytest.mark.parametrize("table", ["[[scenario]]", "[defaults]"])
def test_variable_that_replaces_code_is_a_mistake(name: str, line: str, table: str) -> None:
    """A manifest cannot set a variable that runs other code in place of the script's."""
    text = f"[defaults]\n{ONE}".replace(table, f"{table}\n{line.format(name)}", 1)

    with pytest.raises(ManifestError, match=f"cannot set {name},") as caught:
        parse(text, Path("/p/manifest.toml"))

    assert "set it in the script" in caught.value.hint
    assert parse_past(text, Path("/p/manifest.toml")).scenarios


def test_variables_of_other_names_are_allowed() -> None:
    """A name that only contains the name of such a variable is allowed, and so is a service's."""
    services = 'services = [{ name = "s", image = "i", env = { PATH = "/bin" } }]'
    keys = f'env = {{ MY_PATH = "x", path = "y" }}\npass_env = ["CI_ENV"]\n{services}\n'

    assert parse(f"{ONE}{keys}", Path("/p/manifest.toml")).scenarios


def test_conflict_markers_are_explained() -> None:
    """A manifest that git could not merge is an error that says how to keep both entries."""
    text = f"{ONE}[[scenario]]\n<<<<<<< HEAD\nname = 'a'\n=======\nname = 'b'\n>>>>>>> b\n"
    line = text[: text.index("<<<")].count("\n") + 1

    with pytest.raises(ManifestError, match="conflict markers") as caught:
        parse(text, Path("/p/manifest.toml"))

    assert caught.value.message.startswith(f"/p/manifest.toml:{line}: ")
    assert "begin each entry with [[scenario]]" in caught.value.hint
