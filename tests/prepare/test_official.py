"""Official files are found wherever they were unpacked, and damaged ones are refused."""

import pytest

from av_mae.prepare.lists import official


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def folders(source, media=None):
    return official.Folders(str(source), media and str(media))


@pytest.mark.parametrize("place", [".", "lists/deep", "media/among"])
def test_a_list_is_found_below_the_source_and_next_to_the_media(tmp_path, place):
    (tmp_path / "source").mkdir()
    path = write(tmp_path / ("source" if place[0] != "m" else ".") / place / "val.csv", "x")
    write(tmp_path / "media/.hidden/val.csv", "y")
    (tmp_path / "media").mkdir(exist_ok=True)
    found = folders(tmp_path / "source", tmp_path / "media").file("v.csv", "val.csv", at="there")
    assert found.samefile(path)


def test_a_missing_list_is_asked_for_by_name_and_address(tmp_path):
    with pytest.raises(ValueError, match=r"a.csv or b\*.csv is not in .*; get it from https://x"):
        folders(tmp_path).file("a.csv", "b*.csv", at="https://x")


def test_of_two_lists_the_upper_one_is_taken_and_equally_high_ones_have_to_be_equal(tmp_path):
    write(tmp_path / "k400/train.csv", "a")
    other = write(tmp_path / "k600/train.csv", "b")
    with pytest.raises(ValueError, match="k400.train.csv and .*k600.train.csv differ"):
        folders(tmp_path).file("train.csv", at="there")
    other.write_text("a")
    assert folders(tmp_path).file("train.csv", at="there").parent.name == "k400"
    top = write(tmp_path / "train.csv", "c")
    assert folders(tmp_path).file("train.csv", at="there") == top
    deep = folders(tmp_path / "k600", tmp_path).file("train.csv", at="there")
    assert deep == other  # the source comes before the media, however deep it lies


def test_folders_that_are_none_are_named(tmp_path):
    with pytest.raises(ValueError, match="--source is missing"):
        folders("")
    with pytest.raises(ValueError, match="--source=.*no is not a folder"):
        folders(tmp_path / "no")
    with pytest.raises(ValueError, match="--media=.*no is not a folder"):
        folders(tmp_path, tmp_path / "no")


def test_links_to_other_disks_are_followed_and_circles_end(tmp_path):
    path = write(tmp_path / "disk/labels.csv", "x")
    (tmp_path / "source").mkdir()
    (tmp_path / "source/link").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/back").symlink_to(tmp_path / "source")
    assert folders(tmp_path / "source").file("labels.csv", at="there").samefile(path)


def test_links_to_folders_above_are_not_followed(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a.mp4").touch()
    (tmp_path / "beside.mp4").touch()
    (tmp_path / "source/up").symlink_to(tmp_path)
    assert [*official.walk(tmp_path / "source")] == [tmp_path / "source/a.mp4"]


def test_rows_of_a_csv_as_they_are_published(tmp_path):
    path = write(tmp_path / "a.csv", '\ufefflabel,id\r\n"eating, slowly", 7\r\n')
    assert list(official.rows(path, "label", "id")) == [{"label": "eating, slowly", "id": "7"}]
    assert official.lines(write(tmp_path / "b.txt", "1 A\r\n\r\n2 B \r\n")) == ["1 A", "2 B"]


def test_a_csv_that_is_not_the_official_one_is_refused(tmp_path):
    page = write(tmp_path / "a.csv", "<html>404</html>")
    with pytest.raises(ValueError, match="a.csv has no column label, id; its first line is"):
        list(official.rows(page, "label", "id"))
    cut = write(tmp_path / "b.csv", "label,id\nx,1\ny")
    with pytest.raises(ValueError, match="b.csv, line 3: cut off"):
        list(official.rows(cut, "label", "id"))
