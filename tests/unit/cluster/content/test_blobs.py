"""The cache of a worker: several clients and orders at once, and what a client may name."""

import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import pytest

from isosmoke.cluster.content import exact_trees
from isosmoke.cluster.content.blobs import BlobStore, Part
from isosmoke.cluster.content.trees import Catalog, TreeError
from isosmoke.execution.places.order import CallerFacts, Order
from isosmoke.execution.places.performer import ContentError

SIZE = 100_000
"""The size of a file in bytes, of which a directory has three; a listing has less than 1,000."""

FIRST, SECOND = "1" * 64, "2" * 64
"""Two senders."""

LIMIT = 120
"""A limit in seconds that only guards against hanging."""


def create_order(*digests: str) -> Order:
    """Return an order that names these trees."""
    facts = CallerFacts(
        run="r",
        engine="auto",
        user="u",
        home="/h",
        working="/h",
        environment={},
        directories=(),
        borrowed_objects=(),
        workspace_working="/h",
        trees={f"/t{number}": digest for number, digest in enumerate(digests)},
    )
    return Order(caller_facts=facts, entry={}, folder="/", number=1, nonce="n")


def describe(catalog: Catalog, directory: Path, contents: Sequence[bytes]) -> str:
    """Create a directory with these files; return its digest."""
    directory.mkdir()
    for number, content in enumerate(contents):
        (directory / f"f{number}").write_bytes(content)
    return catalog.add(directory, tuple(exact_trees.describe(directory)))


def list_parts(catalog: Catalog, digests: Sequence[str], size: int) -> list[Part]:
    """Return these blobs in parts of at most this size."""
    parts: list[Part] = []
    for digest in digests:
        found = catalog.blobs[digest]
        content = found if isinstance(found, bytes) else found.read_bytes()
        starts = range(0, len(content), size)
        parts += [(digest, at, len(content), content[at : at + size]) for at in starts]
    return parts


def open_store(directory: Path, monkeypatch: pytest.MonkeyPatch, quota: int) -> BlobStore:
    """Return the cache of a worker whose state is in this directory."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(directory))
    monkeypatch.setenv("ISOSMOKE_CACHE_BYTES", str(quota))
    return BlobStore.open()


@contextmanager
def holding(store: BlobStore, catalog: Catalog, digest: str, sender: str) -> Iterator[None]:
    """Send a tree to a cache until it has all of it, and hold it during a block."""
    missing = store.find_missing(catalog.list_needed([digest]))
    for _ in range(1000):
        for part in list_parts(catalog, missing, SIZE // 30):
            assert store.put([part], sender) == ""
        with store.held(create_order(digest)) as missing:
            if not missing:
                yield
                return
    raise AssertionError("the content was lost again and again")


def read(tree: Path) -> list[bytes]:
    """Return the contents of the files of a tree."""
    return [file.read_bytes() for file in sorted(tree.iterdir())]


def test_content_of_a_tree_stays_until_it_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for a tree is made without its own files, although they were not used for longest."""
    store = open_store(tmp_path / "state", monkeypatch, 8 * SIZE)
    catalog = Catalog()
    contents = [os.urandom(SIZE) for _ in range(3)]
    digest = describe(catalog, tmp_path / "one", contents)
    other = describe(catalog, tmp_path / "two", [os.urandom(SIZE) for _ in range(3)])
    for number, each in enumerate((digest, other)):
        needed = catalog.list_needed([each])
        assert store.put(list_parts(catalog, needed, SIZE), FIRST) == ""
        for name in needed:
            os.utime(store.directory / "blobs" / name, (number, number))

    with store.held(create_order(digest)) as missing:
        assert missing == ()
        assert read(store.get_tree(digest)) == contents


def test_tree_without_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that has room for the files of a tree only, keeps them and says so."""
    store = open_store(tmp_path / "state", monkeypatch, 4 * SIZE)
    catalog = Catalog()
    digest = describe(catalog, tmp_path / "one", [os.urandom(SIZE) for _ in range(3)])
    needed = catalog.list_needed([digest])
    assert store.put(list_parts(catalog, needed, SIZE), FIRST) == ""

    with pytest.raises(ContentError, match="no room"), store.held(create_order(digest)):
        pass
    assert store.find_missing(needed) == ()


def test_two_clients_send_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of the same file from two clients do not mix, in whatever order they arrive."""
    catalog = Catalog()
    digest = describe(catalog, tmp_path / "one", [os.urandom(SIZE)])
    parts = list_parts(catalog, catalog.list_needed([digest])[1:], SIZE // 5)
    for seed in range(20):
        store = open_store(tmp_path / f"state{seed}", monkeypatch, 10 * SIZE)
        chosen = random.Random(seed)  # noqa: S311 - the same order each time
        left = {FIRST: list(parts), SECOND: list(parts)}
        while pending := [sender for sender in left if left[sender]]:
            sender = chosen.choice(pending)
            assert store.put([left[sender].pop(0)], sender) == "", seed
        assert store.find_missing([parts[0][0]]) == ()


def test_failure_of_one_client_is_not_that_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that one client has sent stay if there is no room for another, or for an order."""
    store = open_store(tmp_path / "state", monkeypatch, 4 * SIZE)
    catalog = Catalog()
    digest = describe(catalog, tmp_path / "one", [os.urandom(SIZE)])
    large = describe(catalog, tmp_path / "two", [os.urandom(2 * SIZE)])
    parts = list_parts(catalog, catalog.list_needed([digest]), SIZE // 5)
    assert store.put(list_parts(catalog, catalog.list_needed([large]), SIZE), SECOND) == ""
    assert store.put(parts[:3], FIRST) == ""

    with pytest.raises(ContentError, match="no room"), store.held(create_order(large)):
        pass
    assert "no room" in store.put([("0" * 64, 0, 9 * SIZE, b"")], SECOND)
    assert store.put(parts[3:], FIRST) == ""
    assert store.find_missing(catalog.list_needed([digest])) == ()


def test_what_a_client_left_unfinished_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose client ended counts, and is removed if the room is needed."""
    store = open_store(tmp_path / "state", monkeypatch, 5 * SIZE // 2)
    catalog = Catalog()
    digest = describe(catalog, tmp_path / "one", [os.urandom(SIZE)])
    parts = list_parts(catalog, catalog.list_needed([digest]), SIZE)
    for number in range(5):
        assert store.put([(f"{number}" * 64, 0, SIZE, bytes(SIZE - 1))], SECOND) == ""
    assert store.put(parts[::-1], FIRST) == ""
    assert store.find_missing(catalog.list_needed([digest])) == ()
    assert len(list((store.directory / "unfinished").iterdir())) < 3


@pytest.mark.parametrize(
    "name", ["../../x", "", ".", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", 5, None]
)
def test_name_that_is_no_digest_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order is data from a client: whatever it names, no other path is looked at."""
    (tmp_path / "x").write_text("not in the cache\n")
    store = open_store(tmp_path / "state", monkeypatch, SIZE)
    message = "is not a SHA-256"
    root = Order(
        caller_facts=create_order().caller_facts,
        entry={},
        folder="/",
        number=1,
        nonce="n",
        stand_ins={"/x": name},
    )
    for received in (create_order(name), root):
        with pytest.raises(ContentError, match=message), store.held(received):
            pass
    with pytest.raises(TreeError, match=message):
        store.find_missing([name])
    assert message in store.put([(name, 0, 1, b"x")], FIRST)
    assert message in store.put([("0" * 64, 0, 1, b"x")], name)


def test_orders_at_once_have_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers with one state directory, each with three slots, have room for a part of it.

    Every order sees its own content as long as it lasts, whatever others remove meanwhile.
    """
    catalog = Catalog()
    pieces = [os.urandom(SIZE // 10) for _ in range(6)]
    trees: dict[str, list[bytes]] = {}
    for number, contents in enumerate(combinations(pieces, 4)):
        trees[describe(catalog, tmp_path / f"d{number}", contents)] = [*contents]
    stores = [open_store(tmp_path / "state", monkeypatch, 4 * SIZE) for _ in range(2)]
    assert stores[0].directory != stores[1].directory

    def work(seed: int) -> None:
        chosen, store = random.Random(seed), stores[seed % 2]  # noqa: S311 - the same orders
        for digest in chosen.choices([*trees], k=25):
            with holding(store, catalog, digest, f"{seed}" * 64):
                assert read(store.get_tree(digest)) == trees[digest]

    with ThreadPoolExecutor(6) as pool:
        for ended in [pool.submit(work, seed) for seed in range(6)]:
            ended.result(LIMIT)
