"""The cache of a worker: blobs that are named by their SHA-256, and trees that consist of them.

A blob is written under a temporary name, verified and renamed. A tree is verified when this process
first uses it; a blob or tree whose content does not fit its name is removed, and is missing then.
"""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path
from threading import RLock
from time import monotonic
from typing import Self

from isosmoke.cluster.content import tree_files, trees
from isosmoke.dataclass import dataclass
from isosmoke.errors import convert_os_error
from isosmoke.execution.places.order import Order
from isosmoke.execution.places.performer import ContentError
from isosmoke.host import binary, files, state
from isosmoke.host.binary import Binary
from isosmoke.host.files.trees import measure_size, remove

Part = tuple[str, int, int, bytes]
"""A part of a blob: the digest, the offset, the total size, and the bytes."""

QUOTA = 8 * 1024**3
"""The maximum size of the cache in bytes; ISOSMOKE_CACHE_BYTES overrides it."""

_MAX_CACHES = 256
_PARTS = ("blobs", "trees", "unfinished")
_STALE_SECONDS = 600
"""The time without a further part after which the sender of a blob counts as ended."""


@dataclass(slots=True)
class BlobStore:
    """The cache in a directory that belongs to this process until it ends."""

    directory: Path
    quota: int = QUOTA
    _lease: int = -1
    _total: int = field(default=-1, init=False)
    """An upper bound of the size of the cache; -1 before it was measured."""

    _sending: dict[str, float] = field(default_factory=dict, init=False)
    """The time of the last part of each blob that is unfinished."""

    _held: dict[str, int] = field(default_factory=dict, init=False)
    _verified: set[str] = field(default_factory=set, init=False)
    _lock: RLock = field(default_factory=RLock, init=False)

    @classmethod
    def open(cls) -> Self:
        """Return the first cache of the state directory that no other worker uses."""
        top = state.ensure_directory("cluster-cache")
        quota = int(os.environ.get("ISOSMOKE_CACHE_BYTES", QUOTA))
        for number in range(_MAX_CACHES):
            directory = top / str(number)
            directory.mkdir(mode=0o700, exist_ok=True)
            lease = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lease)
                continue
            store = cls(directory, quota, lease)
            store.prepare()
            return store
        raise OSError(errno.EUSERS, "too many workers use the state directory", str(top))

    def prepare(self) -> None:
        """Create the directories, and remove what an ended process left unfinished."""
        for name in _PARTS:
            (self.directory / name).mkdir(mode=0o700, exist_ok=True)
        for path in (self.directory / "unfinished").iterdir():
            remove(path)

    def find_missing(self, digests: Sequence[str]) -> tuple[str, ...]:
        """Return the digests without a blob here; a tree that exists needs none.

        Raises:
            TreeError: if one is no digest.
        """
        for digest in digests:
            trees.check_digest(digest)
        with self._lock:
            return tuple(digest for digest in digests if not self._has(digest))

    def _has(self, digest: str) -> bool:
        return self._blob(digest).exists() or (self._tree(digest) / "root").exists()

    def _blob(self, digest: str) -> Path:
        return self.directory / "blobs" / digest

    def _tree(self, digest: str) -> Path:
        return self.directory / "trees" / digest

    def put(self, parts: Sequence[Part], sender: str) -> str:
        """Add parts of blobs; return why that failed, or nothing.

        Each `sender` sends the parts of a blob in order; others may send the same blob meanwhile.
        """
        try:
            for part in parts:
                trees.check_digest(part[0])
                trees.check_digest(sender)
                with self._lock, self._removing(f"{part[0]}-{sender}") as unfinished:
                    self._put(part, unfinished)
                    self._note_part(unfinished)
        except OSError as error:
            return convert_os_error(error).message
        except trees.TreeError as error:
            return str(error)
        return ""

    def _note_part(self, unfinished: Path) -> None:
        if unfinished.exists():
            self._sending[unfinished.name] = monotonic()
        else:
            self._sending.pop(unfinished.name, None)

    @contextmanager
    def _removing(self, name: str) -> Iterator[Path]:
        """Yield the path of something unfinished, which is removed if the block fails."""
        path = self.directory / "unfinished" / name
        try:
            yield path
        except BaseException:
            self._sending.pop(name, None)
            with suppress(OSError):
                remove(path)
            raise

    def _put(self, part: Part, unfinished: Path) -> None:
        digest, offset, total, content = part
        if offset == 0:
            self._make_room(total, {unfinished.name})
        with unfinished.open("wb" if offset == 0 else "r+b") as file:
            file.seek(offset)
            tree_files.write_sparsely(file, content)
            end = file.tell()
        if end < total:
            return
        is_whole = len(content) == total
        found = hashlib.sha256(content).hexdigest() if is_whole else files.sha256(unfinished)
        if end != total or found != digest:
            raise trees.TreeError(f"the content of {digest[:12]} changed while it was sent")
        unfinished.rename(self._blob(digest))

    def _make_room(self, size: int, kept: Collection[str]) -> None:
        """Remove what was not used for longest until `size` bytes fit into the quota.

        What is in use stays, and so do the names `kept`. The cache is measured only if it may be
        full: it can have many thousands of blobs.

        Raises:
            OSError: if what is in use leaves no room.
        """
        if self._total < 0 or self._total + size > self.quota:
            self._total = self._shrink(size, kept)
        if self._total + size > self.quota:
            raise OSError(
                errno.EDQUOT, "the cache has no room for the content", str(self.directory)
            )
        self._total += size

    def _shrink(self, size: int, kept: Collection[str]) -> int:
        """Remove what is not in use, the oldest first, as far as necessary; return what remains.

        What is being sent is removed last. If all of it is not enough, nothing is removed.
        """
        entries = [path for name in _PARTS for path in (self.directory / name).iterdir()]
        sizes = {path: _measure(path) for path in entries}
        total = sum(sizes.values())
        unused = [path for path in entries if not (path.name in kept or path.name in self._held)]
        if total - sum(sizes[path] for path in unused) + size > self.quota:
            return total
        for path in sorted(unused, key=self._rank):
            if total + size <= self.quota:
                break
            self._sending.pop(path.name, None)
            remove(path)
            total -= sizes[path]
        return total

    def _rank(self, path: Path) -> tuple[bool, int]:
        """Return whether an entry of the cache is being sent, and when it was last used."""
        last = self._sending.get(path.name)
        is_sent = last is not None and monotonic() - last < _STALE_SECONDS
        return is_sent, path.stat().st_mtime_ns

    @contextmanager
    def held(self, received: Order) -> Iterator[tuple[str, ...]]:
        """Keep the content of an order during a block; yield the digests of what is missing.

        Raises:
            ContentError: if this machine cannot have it.
        """
        digests = received.digests
        try:
            for digest in digests:
                trees.check_digest(digest)
        except trees.TreeError as error:
            raise ContentError(str(error)) from error
        with self._lock:
            for digest in digests:
                self._held[digest] = self._held.get(digest, 0) + 1
        try:
            missing = self._try_to_materialize(received)
            yield missing
        finally:
            with self._lock:
                for digest in digests:
                    self._held[digest] -= 1
                    if not self._held[digest]:
                        del self._held[digest]

    def _try_to_materialize(self, received: Order) -> tuple[str, ...]:
        try:
            return self._materialize(received)
        except OSError as error:
            raise ContentError(convert_os_error(error).message) from error
        except trees.TreeError as error:
            raise ContentError(str(error)) from error

    def _materialize(self, received: Order) -> tuple[str, ...]:
        """Create the trees of an order from blobs; return the digests of what is missing."""
        facts = received.caller_facts
        with self._lock:
            missing = [item for digest in received.trees for item in self._ensure_tree(digest)]
            if facts.binary and not self._verify_blob(facts.binary[1]):
                missing.append(facts.binary[1])
        return tuple(dict.fromkeys(missing))

    def _verify_blob(self, digest: str) -> bool:
        """Return whether a blob exists; one with other content is removed."""
        blob = self._blob(digest)
        if not blob.exists():
            return False
        if digest not in self._verified and files.sha256(blob) != digest:
            blob.unlink()
            return False
        self._verified.add(digest)
        os.utime(blob)
        return True

    def _ensure_tree(self, digest: str) -> tuple[str, ...]:
        """Create a tree if it is missing or changed; return the digests of missing blobs."""
        tree = self._tree(digest)
        if tree.exists():
            if digest in self._verified or _is_intact(tree):
                self._verified.add(digest)
                os.utime(tree)
                return ()
            remove(tree)
        if not self._verify_blob(digest):
            return (digest,)
        listing = trees.decode(self._blob(digest).read_bytes())
        wanted = trees.list_blobs(listing)
        missing = tuple(item for item in wanted if not self._verify_blob(item))
        if not missing:
            self._create_tree(digest, listing)
        return missing

    def _create_tree(self, digest: str, listing: Sequence[trees.TreeEntry]) -> None:
        self._make_room(sum(entry.size for entry in listing), {digest, *trees.list_blobs(listing)})
        with self._removing(f"tree-{digest}") as unfinished:
            unfinished.mkdir(mode=0o700)
            tree_files.create(listing, unfinished / "root", self._blob)
            (unfinished / "listing").write_bytes(self._blob(digest).read_bytes())
            unfinished.rename(self._tree(digest))
        self._verified.add(digest)

    def get_tree(self, digest: str) -> Path:
        """Return the file or directory with this content, which is held."""
        return self._tree(digest) / "root"

    def get_binary(self, source: Path, digest: str) -> Binary:
        """Return the program with this content, which has the name of `source`."""
        with state.scratch() as directory:
            program = directory / source.name
            shutil.copyfile(self._blob(digest), program)
            program.chmod(0o755)
            return binary.take(program)


def _is_intact(tree: Path) -> bool:
    """Return whether every file of a tree has the content that its listing names."""
    try:
        listing = (tree / "listing").read_bytes()
        if hashlib.sha256(listing).hexdigest() != tree.name:
            return False
        return tree_files.is_intact(trees.decode(listing), tree / "root")
    except (OSError, ValueError):
        return False


def _measure(path: Path) -> int:
    return measure_size(path) if path.is_dir() else path.stat().st_size
