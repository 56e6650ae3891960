"""Results come to a folder together, or not at all."""

import os
from pathlib import Path

import pytest

from lindae_jax import files

FILES = {"b.txt": b"two", "a.txt": b"one", "c.txt": b""}


def there(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_files_are_written_in_their_order(tmp_path):
    folder = tmp_path / "new" / "deep"
    written = files.write(folder, FILES)
    assert [path.name for path in written] == [*FILES]
    assert there(folder) == FILES
    files.write(folder, {"a.txt": b"three"})
    assert there(folder) == FILES | {"a.txt": b"three"}


def test_where_a_folder_has_a_name_nothing_changes(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"old")
    (tmp_path / "c.txt").mkdir()
    with pytest.raises(IsADirectoryError, match=r"c\.txt"):
        files.write(tmp_path, FILES)
    assert there(tmp_path) == {"b.txt": b"old"}


@pytest.mark.parametrize("calls", range(len(FILES)))
def test_a_failed_write_leaves_nothing_behind(calls, tmp_path, monkeypatch):
    (tmp_path / "b.txt").write_bytes(b"old")
    real, done = Path.write_bytes, []

    def full(path, content):
        if len(done) == calls:
            real(path, content[:1])
            raise OSError(28, os.strerror(28))
        done.append(path)
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    for folder in (tmp_path, tmp_path / "new"):
        done.clear()
        with pytest.raises(OSError, match="No space left"):
            files.write(folder, FILES)
    assert there(tmp_path) == {"b.txt": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]
