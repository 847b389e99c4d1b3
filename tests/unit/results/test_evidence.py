"""Evidence of an attempt."""

import pytest

from isosmoke.results import evidence
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.sandbox.survivors import Usage

TEXTS: dict[bytes, str | None] = {
    b"": "",
    b"a\nb": "a\nb",
    "Grüße".encode(): "Grüße",
    b"\xff\xfe": "\udcff\udcfe",
    b"text" * 10_000 + b"\0": None,
}


@pytest.mark.parametrize("content", TEXTS)
def test_bytes_are_text_unless_they_contain_zero(content: bytes) -> None:
    """Bytes with a zero byte are not text; any other bytes are decoded."""
    assert evidence.decode_text(content) == TEXTS[content]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/p/.wg/graph.jsonl", True), ("/p/.wg", True), ("/p/x.wg/a", False), ("/p/.wgx", False)],
)
def test_path_in_wg_directory_belongs_to_wg(path: str, *, expected: bool) -> None:
    """A directory of wg is recognized by its full name."""
    assert Change(path=path, change="added", kind="file").is_of_wg is expected


def test_parts_are_joined_in_order() -> None:
    """All parts are combined in order, and the omitted changes are added up."""
    first = Change(path="/a", change="added", kind="file")
    second = Change(path="/b", change="removed", kind="file")
    pane = Pane(server="/s", name="main:0.0", pid=2, lines=("$",))
    usage = Usage(1.0, 2.0, 3)

    assert evidence.join_evidence(
        Evidence(changes=(first,), changes_left_out=2, missing=("one",)),
        Evidence(panes=(pane,), peaks={"memory": 1}),
        Evidence(usage=usage, peaks={"processes": 2}),
        Evidence(changes=(second,), changes_left_out=3, missing=("two",)),
    ) == Evidence(
        changes=(first, second),
        changes_left_out=5,
        panes=(pane,),
        usage=usage,
        peaks={"memory": 1, "processes": 2},
        missing=("one", "two"),
    )


def test_transform_applies_to_every_text() -> None:
    """The transform is applied to all paths, contents, panes and messages."""
    redacted = Evidence(
        changes=(
            Change(path="/hush", change="added", kind="link", text="to hush"),
            Change(path="/hush", change="removed", kind="file"),
        ),
        panes=(Pane(server="/hush", name="hush:0.0", pid=2, lines=("$ echo hush", "hush")),),
        missing=("/hush: why",),
    ).transform_texts(lambda text: text.replace("hush", "***"))

    assert "hush" not in repr(redacted)
    assert [change.text for change in redacted.changes] == ["to ***", None]
    assert redacted.panes[0].lines == ("$ echo ***", "***")
