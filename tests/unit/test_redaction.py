"""Redaction of secrets in any encoding and any chunks."""

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

from isosmoke.redaction import (
    MIN_SECRET_BYTES,
    Redactor,
    Secret,
    format_placeholder,
    is_ordinary,
)

TOKEN = "s3cr/et'T+ök en\"w0rd"  # noqa: S105 - not a real secret
KEY = (
    "-----BEGIN KEY-----\n"
    + "\n".join(f"{block}" * 16 for block in ("Ab3+", "x/9Z", "Qq7k"))
    + "\nend\n"
)
PLACEHOLDER = "[redacted TOKEN]"
PASSWORD = "p$a`s\\s &<w>'o\"rd é"  # noqa: S105 - every character that needs escaping


def create_redactor(value: str = TOKEN, name: str = "TOKEN") -> Redactor:
    """Create a redactor for one variable."""
    return Redactor([Secret.of_variable(name, value)])


def redact_chunks(redactor: Redactor, chunks: list[bytes]) -> bytes:
    """Return the redacted output of a stream of chunks."""
    stream = redactor.stream()
    return b"".join([*(stream.feed(chunk) for chunk in chunks), stream.flush()])


def split_at(content: bytes, positions: list[int]) -> list[bytes]:
    """Split `content` at these positions."""
    bounds = sorted(min(position, len(content)) for position in positions)
    return [content[a:b] for a, b in pairwise([0, *bounds, len(content)])]


def encode_base64(text: str) -> str:
    """Return standard base64 on one line."""
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "encoded",
    [
        TOKEN,
        encode_base64(TOKEN),
        encode_base64(TOKEN + "\n"),
        base64.urlsafe_b64encode(TOKEN.encode()).decode(),
        TOKEN.encode().hex(),
        TOKEN.encode().hex().upper(),
        quote(TOKEN, safe=""),
        quote(TOKEN),
        quote_plus(TOKEN),
        re.sub("%..", lambda match: match[0].lower(), quote(TOKEN, safe="")),
        json.dumps(TOKEN)[1:-1],
        json.dumps(TOKEN, ensure_ascii=False)[1:-1],
        json.dumps(TOKEN)[1:-1].replace("/", "\\/"),
        repr(TOKEN)[1:-1],
    ],
)
def test_encoded_secret_is_replaced(encoded: str) -> None:
    """Each supported encoding is replaced by the name, and the surrounding text is kept."""
    redacted = create_redactor().text(f"before <{encoded}> after")

    assert re.fullmatch(r"before <\[redacted TOKEN\]=*> after", redacted)


@pytest.mark.parametrize("quoted", [shlex.quote(TOKEN), "'" + TOKEN.replace("'", "'\\''") + "'"])
def test_shell_quoted_secret_is_replaced(quoted: str) -> None:
    """A secret in single quotes is found in both styles of quoting."""
    assert create_redactor().text(f"export T={quoted};") == f"export T='{PLACEHOLDER}';"


def test_shell_escaped_secret_is_replaced() -> None:
    """A secret with the backslashes of `printf %q` is found."""
    assert create_redactor("a b&c'd\"e").text(r"+ curl a\ b\&c\'d\"e") == f"+ curl {PLACEHOLDER}"


def test_shell_declared_secret_is_replaced() -> None:
    """A secret in the double quotes of `export -p` and `declare -p` is found."""
    declared = r"""declare -x P="p\$a\`s\\s &<w>'o\"rd é" """

    assert create_redactor(PASSWORD).text(declared) == f'declare -x P="{PLACEHOLDER}" '


@pytest.mark.parametrize("double", ['"', "&quot;", "&#34;"])
@pytest.mark.parametrize("single", ["'", "&#39;", "&#x27;", "&apos;"])
def test_html_escaped_secret_is_replaced(single: str, double: str) -> None:
    """A secret is found with any of the HTML and XML escapes for quotes."""
    escaped = html.escape(PASSWORD, quote=False).replace("'", single).replace('"', double)

    assert create_redactor(PASSWORD).text(f"<p>{escaped}</p>") == f"<p>{PLACEHOLDER}</p>"


def test_uri_encoded_secret_is_replaced() -> None:
    """A secret is found as JavaScript's `encodeURI` encodes it."""
    encoded = "p$a%60s%5Cs%20&%3Cw%3E'o%22rd%20%C3%A9"

    assert create_redactor(PASSWORD).text(f"GET {encoded}#") == f"GET {PLACEHOLDER}#"


@pytest.mark.parametrize("represent", [repr, ascii])
@pytest.mark.parametrize("suffix", ["", "'", '"', "'\""])
def test_python_repr_of_secret_is_replaced(represent: Callable[[object], str], suffix: str) -> None:
    """A secret in a Python literal is found with any escaping of quotes."""
    for value in (PASSWORD, "it's", 'say "it"'):
        for whole in (f"<{value}>{suffix}", f"<{value}>{suffix}".encode()):
            redacted = create_redactor(value).text(represent(whole))
            assert f"<{PLACEHOLDER}>" in redacted, whole


@given(before=st.binary(max_size=7), after=st.binary(max_size=7), urlsafe=st.booleans())
def test_base64_is_found_at_any_position(before: bytes, after: bytes, *, urlsafe: bool) -> None:
    """At most a few bits of the ends of a secret remain, whatever was encoded with it."""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    redacted = create_redactor().text(encode(before + TOKEN.encode() + after).decode())

    assert PLACEHOLDER in redacted
    assert len(redacted) - len(PLACEHOLDER) <= (len(before) + len(after)) * 4 / 3 + 6


@pytest.mark.parametrize("columns", [60, 64, 76, 100])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", range(0, 80, 7))
def test_base64_is_found_in_wrapped_lines(columns: int, end: str, before: int) -> None:
    """The line feeds of wrapped base64 do not hide a secret."""
    encoded = encode_base64("x" * before + TOKEN + "y" * 90)
    redacted = create_redactor().text(end.join(textwrap.wrap(encoded, columns)))

    assert PLACEHOLDER in redacted
    assert redacted.replace("\r", "").count("\n") <= len(encoded) // columns


def test_short_line_is_not_held_back() -> None:
    """A short line that ends like a secret begins is returned at once with its line feed."""
    stream = create_redactor("secret-word").stream()

    assert stream.feed(b"status\n") == b"status\n"


def test_each_line_of_a_key_is_a_secret() -> None:
    """A single line of a private key, or of its base64, is replaced."""
    redactor = create_redactor(KEY, "KEY")
    line = KEY.splitlines()[2]

    assert redactor.text(f"got {line}.") == "got [redacted KEY]."
    assert "[redacted KEY]" in redactor.text(encode_base64(f"?{line}?"))
    assert redactor.text("the end\n") == "the end\n"


def test_whole_key_is_replaced_once() -> None:
    """A whole key is replaced by one name, not line by line."""
    assert create_redactor(KEY, "KEY").text(KEY) == "[redacted KEY]\n"
    assert (
        create_redactor(KEY, "KEY").text(json.dumps({"key": KEY})) == '{"key": "[redacted KEY]\\n"}'
    )


def test_json_strings_are_secrets() -> None:
    """A credential in a JSON file is replaced, but not its key."""
    document = json.dumps({"auths": {"registry": {"auth": "dXNlcjpwYXNz"}}, "port": 8080})
    redactor = Redactor([Secret.of_file("~/.docker/config.json", document.encode())])

    redacted = redactor.text("auth: dXNlcjpwYXNz registry 8080")

    assert redacted == "auth: [redacted ~/.docker/config.json] registry 8080"


@pytest.mark.parametrize(
    "line",
    ["password = hunter2hunter2", "export PASS='hunter2hunter2'", '"pass": "hunter2hunter2",'],
)
def test_assigned_value_is_a_secret(line: str) -> None:
    """The value of a line in an ini, environment or YAML file is replaced."""
    redactor = Redactor([Secret.of_file("F", f"[default]\n{line}\n".encode())])

    assert redactor.text("trying hunter2hunter2") == "trying [redacted F]"


def test_url_password_is_a_secret() -> None:
    """The password of a URL is replaced."""
    assert create_redactor("postgres://me:hunter2hunter2@db/x").text(
        "PGPASSWORD=hunter2hunter2"
    ) == (f"PGPASSWORD={PLACEHOLDER}")


@pytest.mark.parametrize("value", ["", "a", "abc", "abc\n"])
def test_short_value_is_not_redacted(value: str) -> None:
    """A value of less than four bytes is not redacted, but its name is reported."""
    redactor = create_redactor(value)

    assert redactor.text("abc a") == "abc a"
    assert redactor.unredacted == ("TOKEN",)
    assert not redactor
    assert create_redactor("abcd").unredacted == ()


def test_invalid_utf8_is_redacted() -> None:
    """A secret of arbitrary bytes is found as it is and with backslash escapes."""
    redactor = Redactor([Secret.of_file("F", b"\xff\xfe\x00binary")])

    assert redactor.text("\udcff\udcfe\x00binary") == "[redacted F]"
    assert redactor.text(r"\xff\xfe" + "\x00binary") == "[redacted F]"


def test_only_incomplete_secret_is_held_back() -> None:
    """Only a suffix that may become a secret is held back until it is complete."""
    stream = create_redactor("secret-word").stream()

    assert stream.feed(b"password? secr") == b"password? "
    assert stream.feed(b"et-w") == b""
    assert stream.feed(b"oe") == b"secret-woe"
    assert stream.feed(b"secret") == b""
    assert stream.flush() == b"secret"


def test_longest_secret_is_replaced() -> None:
    """Of two secrets at one position, the longer one is replaced, even if it completes later."""
    redactor = Redactor([Secret.of_variable("A", "abcd"), Secret.of_variable("B", "abcdefgh")])

    assert redact_chunks(redactor, [b"abcd", b"efgh"]) == b"[redacted B]"
    assert redact_chunks(redactor, [b"abcd", b"efg!"]) == b"[redacted A]efg!"


def test_overlapping_secrets_are_replaced_together() -> None:
    """Overlapping secrets are replaced as one."""
    redactor = Redactor([Secret.of_variable("A", "abcdef"), Secret.of_variable("B", "defghi")])

    assert redact_chunks(redactor, [b"<abcde", b"fgh", b"i>"]) == b"<[redacted A]>"


def test_repeated_secret_needs_bounded_memory() -> None:
    """Output that repeats a secret is not buffered."""
    stream = create_redactor("aaaaaaaa").stream()
    output = [stream.feed(b"a" * 1000) for _ in range(50)]

    assert b"".join([*output, stream.flush()]) == PLACEHOLDER.encode()
    assert len(stream._buffer) < 200  # noqa: SLF001 - the test is about the buffer


LONG = "".join(f'{number} wörd\'s "quoted" €\n' for number in range(150))


@pytest.mark.parametrize(
    "encode",
    [
        str,
        json.dumps,
        repr,
        ascii,
        shlex.quote,
        quote,
        html.escape,
        encode_base64,
        lambda text: base64.encodebytes(text.encode()).decode(),
        lambda text: text.encode().hex(),
    ],
)
def test_long_secret_is_replaced_once(encode: Callable[[str], str]) -> None:
    """A secret that is searched in blocks is replaced by one name in any encoding."""
    redacted = create_redactor(LONG.replace("\n", "")).text(encode(LONG.replace("\n", "")))

    assert redacted.count(PLACEHOLDER) == 1
    assert len(redacted) <= len(PLACEHOLDER) + 4


def test_long_secret_needs_bounded_memory() -> None:
    """Of a long secret that arrives line by line, only a few KiB are held back."""
    stream = create_redactor(LONG).stream()
    sizes = []
    for line in LONG.encode().splitlines(keepends=True):
        stream.feed(line)
        sizes.append(len(stream._buffer))  # noqa: SLF001 - the test is about the buffer

    assert max(sizes) < 5000


def test_long_run_of_separators_is_read_once() -> None:
    """A value is read in one pass, whatever ends its line."""
    secret = Secret.of_file("F", b"key = value-of-key" + b" ," * 100_000)

    assert b"value-of-key" in secret.parts
    assert Secret.of_file("F", b"key = " + b" ," * 100_000 + b"x").parts


@pytest.mark.parametrize("value", ["test", "production", "us-east", "debug", "true", "8080"])
def test_ordinary_value_is_recognized(value: str) -> None:
    """A word or a small number is a value that other output contains too."""
    assert is_ordinary(value)


@pytest.mark.parametrize(
    "value", ["", "abc", "314", "hunter2", "ghp_16C7e42F292c69", "1234567", TOKEN]
)
def test_other_value_is_not_ordinary(value: str) -> None:
    """A credential is not ordinary, and neither is a value too short to be redacted."""
    assert not is_ordinary(value)


SECRETS = st.lists(
    st.one_of(
        st.text("ab", min_size=MIN_SECRET_BYTES, max_size=9),
        st.text(min_size=MIN_SECRET_BYTES, max_size=30).filter(lambda text: "\0" not in text),
        st.binary(min_size=40, max_size=90).map(lambda content: base64.b64encode(content).decode()),
    ),
    min_size=1,
    max_size=3,
)


def draw_encoding(secret: str) -> st.SearchStrategy[bytes]:
    """Draw an encoding of a secret."""
    raw = secret.encode(errors="surrogateescape")
    return st.sampled_from(
        [raw, raw.hex().encode(), base64.b64encode(raw), base64.encodebytes(b"??" * 25 + raw)]
    )


@st.composite
def outputs(draw: st.DrawFn) -> tuple[Redactor, list[Secret], bytes]:
    """Draw a redactor, its secrets, and an output that contains many of them."""
    values = [
        value
        for value in draw(SECRETS)
        if len(value.strip().encode(errors="replace")) >= MIN_SECRET_BYTES
    ]
    secrets = [Secret.of_variable(f"N{number}", value) for number, value in enumerate(values)]
    noise = st.one_of(st.binary(max_size=8), st.text("ab\r\n", max_size=8).map(str.encode))
    parts = st.one_of(noise, *(draw_encoding(value.strip()) for value in values))
    return Redactor(secrets), secrets, b"".join(draw(st.lists(parts, max_size=8)))


@given(outputs(), st.lists(st.integers(0, 400), max_size=12))
def test_chunk_sizes_do_not_change_the_result(
    case: tuple[Redactor, list[Secret], bytes], positions: list[int]
) -> None:
    """The redacted output does not depend on the chunks."""
    redactor, _, content = case

    whole = redact_chunks(redactor, [content])
    assert redact_chunks(redactor, split_at(content, positions)) == whole
    assert redact_chunks(redactor, [bytes([byte]) for byte in content]) == whole


@given(outputs())
def test_no_encoding_of_a_secret_remains(case: tuple[Redactor, list[Secret], bytes]) -> None:
    """The redacted output contains no encoding of any secret."""
    redactor, secrets, content = case
    names = (
        b"|".join(re.escape(format_placeholder(secret.name).encode()) for secret in secrets)
        or b"(?!)"
    )

    for rest in re.split(names, redact_chunks(redactor, [content])):
        assert redactor.find_occurrences(rest) == []
        for secret in secrets:
            assert secret.parts[0] not in rest
            assert base64.b64encode(secret.parts[0]).rstrip(b"=") not in rest


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_text_without_secret_is_unchanged(content: bytes, positions: list[int]) -> None:
    """An output without a secret is returned byte for byte."""
    assert (
        redact_chunks(create_redactor("\N{SNOWMAN}" * 4), split_at(content, positions)) == content
    )
