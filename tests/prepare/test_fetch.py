"""Remote media lie on this machine while they are decoded, and only then."""

import pytest

pytest.importorskip("upath")

from av_mae.prepare.media import container, fetch


@pytest.fixture
def address(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"x" * 3000)
    return f"file://{tmp_path}/clip.mp4"


def test_a_remote_file_is_here_for_as_long_as_the_block_lasts(address, tmp_path):
    with fetch.local(address, str(tmp_path / "scratch"), container.Limits()) as path:
        assert path == str(tmp_path / "scratch" / "clip.mp4")
        with open(path, "rb") as file:
            assert file.read() == b"x" * 3000
    assert not list((tmp_path / "scratch").iterdir())


def test_a_local_file_stays_where_it_is(tmp_path):
    with fetch.local("/some/clip.mp4", str(tmp_path / "scratch"), container.Limits()) as path:
        assert path == "/some/clip.mp4"
    assert not (tmp_path / "scratch").exists()


def fetched(address, tmp_path, limits):
    with fetch.local(address, str(tmp_path / "scratch"), limits):
        pass


def test_a_file_that_is_not_there_or_too_large_is_rejected(address, tmp_path):
    with pytest.raises(container.UnreadableError, match="^file not found: no such object"):
        fetched(address + "x", tmp_path, container.Limits())
    with pytest.raises(container.UnreadableError, match="^too large to fetch: more than 1.8"):
        fetched(address, tmp_path, container.Limits(fetched=2000))
    assert not list((tmp_path / "scratch").iterdir())


def test_a_store_that_does_not_answer_is_no_fault_of_the_file(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(fetch.time, "sleep", waited.append)
    with pytest.raises(fetch.FetchError, match="cannot be fetched: .*Is a directory"):
        fetched(f"file://{tmp_path}", tmp_path, container.Limits())
    assert waited == [1.0, 2.0]
