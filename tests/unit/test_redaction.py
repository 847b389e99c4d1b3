"""Which spellings of a secret are found, in whatever pieces they come, and what stays as it was."""

import base64
import html
import json
import re
import shlex
import textwrap
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.redaction import SHORTEST, Redactor, Secret, placeholder

TOKEN = "s3cr/et'T+ök en\"w0rd"  # noqa: S105 - a made-up one
KEY = (
    "-----BEGIN KEY-----\n"
    + "\n".join(f"{one}" * 16 for one in ("Ab3+", "x/9Z", "Qq7k"))
    + "\nend\n"
)
SHOWN = "[redacted TOKEN]"
PASSWORD = "p$a`s\\s &<w>'o\"rd é"  # noqa: S105 - all that anybody escapes


def of(value: str = TOKEN, name: str = "TOKEN") -> Redactor:
    """A redactor that knows one variable."""
    return Redactor([Secret.of_variable(name, value)])


def streamed(redactor: Redactor, pieces: list[bytes]) -> bytes:
    """What comes out of a stream in these pieces."""
    stream = redactor.stream()
    return b"".join([*(stream.feed(one) for one in pieces), stream.flush()])


def cut(content: bytes, places: list[int]) -> list[bytes]:
    """`content` cut at these places."""
    inside = sorted(min(one, len(content)) for one in places)
    return [content[a:b] for a, b in pairwise([0, *inside, len(content)])]


def b64(text: str) -> str:
    """Standard base64 on one line."""
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "spelled",
    [
        TOKEN,
        b64(TOKEN),
        b64(TOKEN + "\n"),
        base64.urlsafe_b64encode(TOKEN.encode()).decode(),
        TOKEN.encode().hex(),
        TOKEN.encode().hex().upper(),
        quote(TOKEN, safe=""),
        quote(TOKEN),
        quote_plus(TOKEN),
        re.sub("%..", lambda found: found[0].lower(), quote(TOKEN, safe="")),
        json.dumps(TOKEN)[1:-1],
        json.dumps(TOKEN, ensure_ascii=False)[1:-1],
        json.dumps(TOKEN)[1:-1].replace("/", "\\/"),
        repr(TOKEN)[1:-1],
    ],
)
def test_a_spelling_is_replaced_by_the_name(spelled: str) -> None:
    """Each spelling that is promised becomes the secret's name, and what is around it stays."""
    told = of().text(f"before <{spelled}> after")

    assert re.fullmatch(r"before <\[redacted TOKEN\]=*> after", told)


@pytest.mark.parametrize("quoted", [shlex.quote(TOKEN), "'" + TOKEN.replace("'", "'\\''") + "'"])
def test_what_a_shell_quotes_is_found(quoted: str) -> None:
    """Both ways to put a secret in single quotes are found within the quotes."""
    assert of().text(f"export T={quoted};") == f"export T='{SHOWN}';"


def test_what_a_shell_escapes_is_found() -> None:
    """The backslashes of `printf %q` hide nothing."""
    assert of("a b&c'd\"e").text(r"+ curl a\ b\&c\'d\"e") == f"+ curl {SHOWN}"


def test_what_a_shell_declares_is_found() -> None:
    """`export -p` and `declare -p` write double quotes, and escape what means something there."""
    declared = r"""declare -x P="p\$a\`s\\s &<w>'o\"rd é" """

    assert of(PASSWORD).text(declared) == f'declare -x P="{SHOWN}" '


@pytest.mark.parametrize("double", ['"', "&quot;", "&#34;"])
@pytest.mark.parametrize("single", ["'", "&#39;", "&#x27;", "&apos;"])
def test_what_a_page_escapes_is_found(single: str, double: str) -> None:
    """HTML and XML have many names for quotes, and one for each other sign that they escape."""
    escaped = html.escape(PASSWORD, quote=False).replace("'", single).replace('"', double)

    assert of(PASSWORD).text(f"<p>{escaped}</p>") == f"<p>{SHOWN}</p>"


def test_what_encodes_a_whole_address_is_found() -> None:
    """`encodeURI` of JavaScript leaves what may stand in an address, but not quotes or spaces."""
    encoded = "p$a%60s%5Cs%20&%3Cw%3E'o%22rd%20%C3%A9"

    assert of(PASSWORD).text(f"GET {encoded}#") == f"GET {SHOWN}#"


@pytest.mark.parametrize("shown", [repr, ascii])
@pytest.mark.parametrize("more", ["", "'", '"', "'\""])
def test_what_python_shows_is_found(shown: Callable[[object], str], more: str) -> None:
    """Which quotes are escaped depends on the whole text; bytes and ASCII escape others too."""
    for value in (PASSWORD, "it's", 'say "it"'):
        for whole in (f"<{value}>{more}", f"<{value}>{more}".encode()):
            told = of(value).text(shown(whole))
            assert f"<{SHOWN}>" in told, whole


@given(before=st.binary(max_size=7), after=st.binary(max_size=7), urlsafe=st.booleans())
def test_base64_is_found_at_every_place_of_a_longer_text(
    before: bytes, after: bytes, *, urlsafe: bool
) -> None:
    """Whatever was encoded with it, no more of a secret stays than a bit of its ends."""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    told = of().text(encode(before + TOKEN.encode() + after).decode())

    assert SHOWN in told
    assert len(told) - len(SHOWN) <= (len(before) + len(after)) * 4 / 3 + 6


@pytest.mark.parametrize("columns", [60, 64, 76, 100])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", range(0, 80, 7))
def test_base64_is_found_over_wrapped_lines(columns: int, end: str, before: int) -> None:
    """The line feeds of an encoder that wraps its lines do not hide what lies over them."""
    encoded = b64("x" * before + TOKEN + "y" * 90)
    told = of().text(end.join(textwrap.wrap(encoded, columns)))

    assert SHOWN in told
    assert told.replace("\r", "").count("\n") <= len(encoded) // columns


def test_a_line_feed_after_little_text_is_no_wrapping() -> None:
    """A line that merely ends like a secret begins is told at once, with its line feed."""
    stream = of("secret-word").stream()

    assert stream.feed(b"status\n") == b"status\n"


def test_each_line_of_a_key_is_a_secret() -> None:
    """One line of a private key, or of its base64, is replaced wherever it stands."""
    redactor = of(KEY, "KEY")
    line = KEY.splitlines()[2]

    assert redactor.text(f"got {line}.") == "got [redacted KEY]."
    assert "[redacted KEY]" in redactor.text(b64(f"?{line}?"))
    assert redactor.text("the end\n") == "the end\n"


def test_the_whole_of_a_key_becomes_one_name() -> None:
    """A key that is printed whole is one secret, not one for each of its lines."""
    assert of(KEY, "KEY").text(KEY) == "[redacted KEY]\n"
    assert of(KEY, "KEY").text(json.dumps({"key": KEY})) == '{"key": "[redacted KEY]\\n"}'


def test_the_strings_of_a_json_document_are_secrets() -> None:
    """A credential in a JSON file is replaced by itself, and its key is not."""
    document = json.dumps({"auths": {"registry": {"auth": "dXNlcjpwYXNz"}}, "port": 8080})
    redactor = Redactor([Secret.of_file("~/.docker/config.json", document.encode())])

    told = redactor.text("auth: dXNlcjpwYXNz registry 8080")

    assert told == "auth: [redacted ~/.docker/config.json] registry 8080"


@pytest.mark.parametrize(
    "line",
    ["password = hunter2hunter2", "export PASS='hunter2hunter2'", '"pass": "hunter2hunter2",'],
)
def test_the_value_that_a_line_of_a_file_assigns_is_a_secret(line: str) -> None:
    """The value alone of a line in an ini, environment or YAML file is replaced."""
    redactor = Redactor([Secret.of_file("F", f"[default]\n{line}\n".encode())])

    assert redactor.text("trying hunter2hunter2") == "trying [redacted F]"


def test_the_password_of_an_address_is_a_secret() -> None:
    """A URL's password is replaced wherever else it is said."""
    assert of("postgres://me:hunter2hunter2@db/x").text("PGPASSWORD=hunter2hunter2") == (
        f"PGPASSWORD={SHOWN}"
    )


@pytest.mark.parametrize("value", ["", "a", "abc", "abc\n"])
def test_what_is_too_short_is_named_and_left_alone(value: str) -> None:
    """A value of fewer than four bytes would be found everywhere: it stays, and this is known."""
    redactor = of(value)

    assert redactor.text("abc a") == "abc a"
    assert redactor.unguarded == ("TOKEN",)
    assert not redactor
    assert of("abcd").unguarded == ()


def test_bytes_that_are_no_text_are_found() -> None:
    """A secret of any bytes is found as it is, and as a report shows such bytes."""
    redactor = Redactor([Secret.of_file("F", b"\xff\xfe\x00binary")])

    assert redactor.text("\udcff\udcfe\x00binary") == "[redacted F]"
    assert redactor.text(r"\xff\xfe" + "\x00binary") == "[redacted F]"


def test_a_partial_secret_hides_nothing_before_it() -> None:
    """Only the end that may become a secret waits, and it is told when it becomes none."""
    stream = of("secret-word").stream()

    assert stream.feed(b"password? secr") == b"password? "
    assert stream.feed(b"et-w") == b""
    assert stream.feed(b"oe") == b"secret-woe"
    assert stream.feed(b"secret") == b""
    assert stream.flush() == b"secret"


def test_a_secret_that_another_begins_with_waits_for_it() -> None:
    """Of two secrets at one place the longer one is named, however late it is known."""
    redactor = Redactor([Secret.of_variable("A", "abcd"), Secret.of_variable("B", "abcdefgh")])

    assert streamed(redactor, [b"abcd", b"efgh"]) == b"[redacted B]"
    assert streamed(redactor, [b"abcd", b"efg!"]) == b"[redacted A]efg!"


def test_overlapping_secrets_leave_nothing_of_either() -> None:
    """What two secrets cover together is replaced as one."""
    redactor = Redactor([Secret.of_variable("A", "abcdef"), Secret.of_variable("B", "defghi")])

    assert streamed(redactor, [b"<abcde", b"fgh", b"i>"]) == b"<[redacted A]>"


def test_a_secret_without_end_needs_no_memory() -> None:
    """Output that consists of a secret over and over is not kept."""
    stream = of("aaaaaaaa").stream()
    out = [stream.feed(b"a" * 1000) for _ in range(50)]

    assert b"".join([*out, stream.flush()]) == SHOWN.encode()
    assert len(stream._kept) < 200  # noqa: SLF001 - what it holds is the point


SECRETS = st.lists(
    st.one_of(
        st.text("ab", min_size=SHORTEST, max_size=9),
        st.text(min_size=SHORTEST, max_size=30).filter(lambda one: "\0" not in one),
        st.binary(min_size=40, max_size=90).map(lambda one: base64.b64encode(one).decode()),
    ),
    min_size=1,
    max_size=3,
)


def spelled(secret: str) -> st.SearchStrategy[bytes]:
    """A secret in one of its spellings."""
    raw = secret.encode(errors="surrogateescape")
    return st.sampled_from(
        [raw, raw.hex().encode(), base64.b64encode(raw), base64.encodebytes(b"??" * 25 + raw)]
    )


@st.composite
def outputs(draw: st.DrawFn) -> tuple[Redactor, list[Secret], bytes]:
    """A redactor, its secrets, and an output that is full of them."""
    values = [one for one in draw(SECRETS) if len(one.strip().encode(errors="replace")) >= SHORTEST]
    secrets = [Secret.of_variable(f"N{number}", one) for number, one in enumerate(values)]
    noise = st.one_of(st.binary(max_size=8), st.text("ab\r\n", max_size=8).map(str.encode))
    parts = st.one_of(noise, *(spelled(one.strip()) for one in values))
    return Redactor(secrets), secrets, b"".join(draw(st.lists(parts, max_size=8)))


@given(outputs(), st.lists(st.integers(0, 400), max_size=12))
def test_pieces_make_no_difference(
    made: tuple[Redactor, list[Secret], bytes], places: list[int]
) -> None:
    """However an output is cut into pieces, the same comes out of it."""
    redactor, _, content = made

    whole = streamed(redactor, [content])
    assert streamed(redactor, cut(content, places)) == whole
    assert streamed(redactor, [bytes([one]) for one in content]) == whole


@given(outputs())
def test_nothing_of_a_secret_survives(made: tuple[Redactor, list[Secret], bytes]) -> None:
    """Between the names that stand for secrets there is no spelling of any."""
    redactor, secrets, content = made
    names = b"|".join(re.escape(placeholder(one.name).encode()) for one in secrets) or b"(?!)"

    for rest in re.split(names, streamed(redactor, [content])):
        assert redactor.occurrences(rest) == []
        for secret in secrets:
            assert secret.parts[0] not in rest
            assert base64.b64encode(secret.parts[0]).rstrip(b"=") not in rest


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_text_without_a_secret_is_untouched(content: bytes, places: list[int]) -> None:
    """An output in which no secret is comes out byte for byte."""
    assert streamed(of("\N{SNOWMAN}" * 4), cut(content, places)) == content
