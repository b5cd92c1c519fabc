"""Lists as spreadsheets, pandas and other programs write them."""

import os
import unicodedata

import made_lists
import pytest

from av_mae.prepare.lists import names
from av_mae.prepare.shards import settings

NAMES = tuple(f"v/c{i}.mp4" for i in range(12))
LABELS = [i % 3 for i in range(12)]


def listed(folder, content, *files):
    """The clips of a list; `content` is its text, or its bytes."""
    for name in files or NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "list.csv").write_bytes(data)
    return made_lists.listed("csv", folder / "list.csv", val_share=0.0)


def found(listing):
    return [(entry.source, *entry.labels) for entry in listing.entries]


def said(listing):
    return "\n".join(listing.notes)


def lines(form, header=""):
    """A list of all names with their numbers as labels."""
    rows = [form.format(name, label) for name, label in zip(NAMES, LABELS, strict=True)]
    return "\n".join([*filter(None, [header]), *rows, ""])


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (lines("{} {}"), "no header: its columns are taken for path, label"),
        (lines("{}  {}"), "separated by blanks"),
        (lines("{} 300 {}"), "path, number of frames (not read), label"),
        (lines("{} 0 300 {}"), "first frame (not read), number of frames (not read), label"),
        (lines('"{}" {}'), "no header"),
        (lines("{},{}"), "no header: its columns are taken for path, label"),
        (lines("{},300,{}"), "number of frames (not read)"),
        (lines("{};{}"), "separated by semicolons"),
        (lines("{}\t{}"), "separated by tabs"),
        (lines("{}|{}"), "separated by bars"),
        (lines("{1},{0}"), "are taken for label, path"),
        ("\n".join(f"{i},v/c{i}.mp4,{i % 3}" for i in range(12)), "row (not read), path, label"),
        (lines('"{},{}"', '"path,label"'), "whole lines stand in quotation marks"),
        (lines("{},{}", "path,label"), ""),
        (lines("{};{}", "path;label"), "separated by semicolons"),
        (lines("{}\t{}", "path\tlabel"), "separated by tabs"),
        (lines("{}|{}", "path|label"), "separated by bars"),
        (lines("{} {}", "path label"), "separated by blanks"),
        (lines("{}, {}", "path, label"), ""),
        (lines(" {} , {} ", " Path , LABEL "), "12 paths are not written as on the disc"),
        (lines("{};{}", "sep=;\npath;label"), "separated by semicolons"),
        (lines("{},{},", "path,label,"), ""),
        (lines("{},{},", "path,label"), ""),
        (lines("{},{}", "path,label,,"), ""),
        (lines("{},{}", "# made by hand\n#path,label"), ""),
        (lines("{},{}\n# a pause", "path,label"), "12 lines that begin with # are left out"),
        (lines("{},{}\n\n,,", "path,label"), ""),
        (lines("{},{}.0", "path,label"), "taken for whole numbers"),
        ("\ufeff" + lines("{},{}", '"path","label"'), ""),
        (lines("{},{}", "path,label").replace("\n", "\r\n"), ""),
        (lines("{},{}", "path,label").replace("\n", "\r"), ""),
        (lines("{} {}").replace("\n", "\r\n"), "no header"),
        (lines("{},{}", "path,label").replace("/", "\\"), "12 paths are not written as on"),
        (lines("{},{}", "path,label").encode("utf-16"), "is read as UTF-16"),
        (lines("{},{}", "path,label").encode("utf-16-le"), "is read as UTF-16-LE"),
        (lines("{},{}", "path,label").encode("utf-16-be"), "is read as UTF-16-BE"),
        (lines("{}\t{}").encode("utf-16"), "no header"),
        (lines("{},{}", "path,label").encode("utf-32"), "is read as UTF-32"),
    ],
)  # fmt: skip
def test_lists_of_all_programs_name_the_same_clips(tmp_path, content, note):
    listing = listed(tmp_path, content)
    assert found(listing) == [(name, str(n)) for name, n in zip(NAMES, LABELS, strict=True)]
    assert note in said(listing) if note else not listing.notes
    assert settings.label_names(listing.entries, None) == ("0", "1", "2")


@pytest.mark.parametrize("head", [",", "Unnamed: 0,", "index,", '"",'])
def test_a_column_that_numbers_the_rows_is_left_out(tmp_path, head):
    listing = listed(tmp_path, f"{head}path,label\n0,v/c0.mp4,a\n1,v/c1.mp4,b\n")
    assert found(listing) == [("v/c0.mp4", "a"), ("v/c1.mp4", "b")]
    assert "numbers the rows" in said(listing)


def test_rows_that_r_has_numbered(tmp_path):
    listing = listed(tmp_path, '"path" "label"\n"1" "v/c0.mp4" "a"\n"2" "v/c1.mp4" "b"\n')
    assert found(listing) == [("v/c0.mp4", "a"), ("v/c1.mp4", "b")]


def test_names_with_blanks_in_lists_that_blanks_separate(tmp_path):
    files = ["my clip.mp4", "my clip 2.mp4", "take 3"]
    listing = listed(tmp_path, "my clip.mp4 0\nmy clip 2.mp4 1\ntake 3 0\n", *files)
    assert found(listing) == [("my clip.mp4", "0"), ("my clip 2.mp4", "1"), ("take 3", "0")]
    listing = listed(tmp_path, "my clip.mp4\nmy clip 2.mp4\ntake 3\n", *files)
    assert found(listing) == [(name,) for name in files]
    assert "taken for path;" in said(listing)


def test_a_list_whose_media_are_absent_is_understood_and_says_so(tmp_path):
    (tmp_path / "list.csv").write_text("gone/my clip.mp4 0\ngone/c1.mp4 1\n")
    with pytest.raises(
        ValueError, match=r"file not found \(.*gone/my clip.mp4\); say with --media"
    ):
        made_lists.listed("csv", tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("path\nC:\\data\\c0.mp4\n")
    with pytest.raises(ValueError, match="its paths are absolute: correct them"):
        made_lists.listed("csv", tmp_path / "list.csv")


@pytest.mark.parametrize("written", ["v/c0", "V/C0.MP4", "v\\C0.MP4", "v/c0.avi"])
def test_a_name_without_its_suffix_or_capitals_is_said(tmp_path, written):
    (tmp_path / "V").mkdir()
    (tmp_path / "V/c0.mp4").touch()
    with pytest.raises(ValueError, match="there is '[vV]/c0.mp4': write names as they are"):
        listed(tmp_path, f"path\n{written}\n")


def test_numbers_that_are_no_indices_are_said(tmp_path):
    listing = listed(tmp_path, "v/c0.mp4 1\nv/c1.mp4 2\nv/c2.mp4 5\n")
    assert settings.label_names(listing.entries, None) == ("1", "2", "5")
    assert "labels are 3 numbers, but not from 0 on without a gap: 1 has index 0" in said(listing)


def test_a_list_without_header_may_hold_splits_and_numbers_sort_as_numbers(tmp_path):
    rows = [f"v/c{i}.mp4,{i},{'Training' if i % 2 else 'testing'}" for i in range(12)]
    listing = listed(tmp_path, "\n".join(rows))
    assert {entry.split for entry in listing.entries} == {"train", "test"}
    assert settings.label_names(listing.entries, None) == tuple(map(str, range(12)))


@pytest.mark.parametrize("numbers", ["-1", "0 -1", "0 300 -1"])
def test_lists_for_pretraining_have_no_labels(tmp_path, numbers):
    listing = listed(tmp_path, f"v/c0.mp4 {numbers}\nv/c1.mp4 {numbers}\n")
    assert found(listing) == [("v/c0.mp4",), ("v/c1.mp4",)]
    assert "(not read)" in said(listing)


def test_columns_without_header_that_can_be_meant_in_several_ways_are_asked_about(tmp_path):
    for row in ("v/c0.mp4,dog,0,2", "v/c0.mp4,0,dog", "v/c0.mp4 12 300 1", "v/c0.mp4 0 2"):
        with pytest.raises(ValueError, match="no header, and . columns .* path,label,start,end"):
            listed(tmp_path, f"{row}\n")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:01,5", 1.5),
        ("0:01", 1.0),
        ("1:02.5", 62.5),
        ("01:02:03", 3723.0),
        ("1:02:03.25", 3723.25),
        ("7.", 7.0),
    ],
)  # fmt: skip
def test_times_of_a_clock(tmp_path, text, seconds):
    (entry,) = listed(tmp_path, f'path,start\nv/c0.mp4,"{text}"\n').entries
    assert entry.start == seconds


@pytest.mark.parametrize("text", ["1:60", "1:2:3:4", "-0:01", "noon", "1,5", "inf"])
def test_what_is_no_time_is_said(tmp_path, text):
    with pytest.raises(
        ValueError, match="line 2: start .*, expected seconds, as in 12.5 or 1:02:03"
    ):
        listed(tmp_path, f'path,start\nv/c0.mp4,"{text}"\n')


def test_a_decimal_comma_where_semicolons_separate(tmp_path):
    (entry,) = listed(tmp_path, "path;start;end\nv/c0.mp4;1,5;0:02,25\n").entries
    assert (entry.start, entry.end) == (1.5, 2.25)


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "None", "NA", "N/A", "NULL", "<NA>"])
def test_empty_cells_of_all_programs(tmp_path, nothing):
    content = f"path,label,start,end,id\nv/c0.mp4,1.0,{nothing},{nothing},{nothing}\n"
    listing = listed(tmp_path, content + f"v/c1.mp4,{nothing},,,\n")
    (entry,) = listing.entries
    assert (entry.id, entry.labels, entry.start, entry.end) == ("v/c0.mp4", ("1",), None, None)
    assert listing.refused[0].reason.startswith("no label")


def test_a_class_may_be_called_none(tmp_path):
    content = "path,label\nv/c0.mp4,none\nv/c1.mp4,NA\nv/c2.mp4,dog\nv/c3.mp4,1.0\n"
    listing = listed(tmp_path, content)
    assert [entry.labels for entry in listing.entries] == [("none",), ("NA",), ("dog",), ("1.0",)]
    assert "label 'NA' is taken for the name of a class" in said(listing)


def test_a_label_with_a_comma_gets_a_hint(tmp_path):
    listing = listed(tmp_path, 'path, label\nv/c0.mp4, "dog, bark"\nv/c1.mp4,"dog;bark"\n')
    assert found(listing) == [("v/c0.mp4", "dog, bark"), ("v/c1.mp4", "dog", "bark")]
    assert "several are separated by ';', as dog;bark" in said(listing)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("filename,class,fold\nv/c0.mp4,a,1\n",
         "'filename' .did you mean 'path'.., 'class' .did you mean 'label'.., 'fold' .did you mean "
         "'split'..; known: path, label, split, start, end, id. Rename them in its header$"),
        ("video_path;category;licence\nv/c0.mp4;a;free\n",
         "'video_path' .did you mean 'path'.*--ignore_columns=licence$"),
        ("label,youtube_id,split\na,x,train\n",
         "'youtube_id' .did you mean 'id'...*None is path: rename that of the files, or wri"),
        ("path,label\nv/c0.mp4;a\n", "1 cells, the header has 2; or are cells separated by s"),
        ("<html>404</html>", "no csv but HTML or XML"),
        ("path,label\nv/c0.mp4,é\n".encode() + b"v/c1.mp4,\xe9a\n", "its encoding cannot be told"),
        ("path,label,,\nv/c0.mp4,a,x,\n", "column 3 has no name; write one in the header"),
        ("path,label,Label\nv/c0.mp4,a,b\n", "two columns for label; keep one"),
        ('path,label\nv/c0.mp4,"a\nv/c1.mp4,b\n', "line 2: a quotation mark is never closed"),
        ('path,label\nv/c0.mp4,"a' + "x" * 140_000, "is a quotation mark never closed"),
        ("#\n# nothing\n", "has no rows that do not begin with #"),
        ("\n\n , \n", "is empty; expected a header"),
        ('{"path": "v/c0.mp4"}\n', "no csv but JSON; save it as csv in UTF-8"),
        ('\n[{"path": "v/c0.mp4"}]\n', "no csv but JSON"),
        (b"PK\x03\x04\0\0", "no csv but a workbook"),
        (b"\x1f\x8b\x08\0", "no csv but compressed by gzip"),
        (b"path,label\nv/c0.mp4,\0\1\0\2\0\3\0\n", "no text"),
        (b"\xff\xfep\0a\0t\0h\0\n", "no text in utf-16: truncated data"),
        ("path,label\nv/c0.mp4,犬\n".encode("cp932"), "its encoding cannot be told from"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence_with_the_mend(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        listed(tmp_path, content)
    assert "--ignore_columns=filename" not in str(caught.value)


def test_western_lists_and_those_whose_files_tell_the_encoding(tmp_path):
    listing = listed(tmp_path, "path,label\nv/café.mp4,métro\n".encode("cp1252"), "v/café.mp4")
    assert found(listing) == [("v/café.mp4", "métro")]
    assert "is not UTF-8; read as cp1252, as in 'v/café.mp4'" in said(listing)
    assert found(listed(tmp_path, "path,label\nv/c0.mp4,Füße\nv/c1.mp4,é\n".encode("cp1252")))
    for encoding in ("gb18030", "cp1251", "cp932"):
        name = {"gb18030": "视频/狗.mp4", "cp1251": "собака.mp4", "cp932": "映像/いぬ.mp4"}[
            encoding
        ]
        label = os.path.basename(name).removesuffix(".mp4")
        listing = listed(tmp_path, f"path,label\n{name},{label}\n".encode(encoding), name)
        assert found(listing) == [(name, label)]


def test_names_that_are_bytes_on_the_disc_stay_so(tmp_path):
    name = os.fsdecode(b"v/\xe9.mp4")
    listing = listed(tmp_path, b"path,label\nv/\xe9.mp4,caf\xe9\n", name)
    (entry,) = listing.entries
    assert (entry.source, entry.id, entry.labels) == (name, "v/\\xe9.mp4", ("caf\\xe9",))
    assert not listing.notes


@pytest.mark.parametrize(("on_disc", "in_list"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_names_are_the_same(tmp_path, on_disc, in_list):
    there, written = (unicodedata.normalize(form, "Vidéo/café.mp4") for form in (on_disc, in_list))
    rows = f"path,label\n{written},é\nv/c0.mp4,{unicodedata.normalize('NFD', 'é')}\n"
    listing = listed(tmp_path, rows, there, "v/c0.mp4")
    assert [entry.source for entry in listing.entries] == [there, "v/c0.mp4"]
    assert all(os.path.exists(entry.path) for entry in listing.entries)
    assert settings.label_names(listing.entries, None) == ("é",)
    assert "paths are not written as on the disc" in said(listing)
    with pytest.raises(ValueError, match="is in line 2 and in line 3"):
        listed(tmp_path, f"path\n{written}\n{there}\n", there)


@pytest.mark.parametrize(("on_disc", "given"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_sources_are_found_in_either_spelling(tmp_path, on_disc, given):
    there, written = (tmp_path / unicodedata.normalize(f, "Vidéo") for f in (on_disc, given))
    made_lists.write(there, {"list.csv": "path\na.mp4\n", "a.mp4": ""})
    made_lists.write(tmp_path, {"list.csv": "path\na.mp4\n"})
    for source, media in (
        (written / "list.csv", None), (tmp_path / "list.csv", str(written)),
    ):  # fmt: skip
        (entry,) = made_lists.listed("csv", source, media=media).entries
        assert entry.path == str(there / "a.mp4")
    assert "a.mp4" in [e.source for e in made_lists.listed("folder", written).entries]


def test_a_label_in_one_spelling_keeps_it(tmp_path):
    label = unicodedata.normalize("NFD", "é")
    listing = listed(tmp_path, f"path,label\nv/c0.mp4,{label}\n")
    assert found(listing) == [("v/c0.mp4", label)]
    given = ["a", unicodedata.normalize("NFC", label)]
    (entry,) = names.one_spelling(listing.entries, given)
    assert settings.label_names([entry], given) == tuple(given) and entry.labels == (given[1],)


def test_a_name_with_blanks_or_backslashes_that_exists_is_taken_as_it_is(tmp_path):
    listing = listed(tmp_path, "path\n a.mp4\nb\\c.mp4\n", " a.mp4", "b\\c.mp4", "a.mp4", "b/c.mp4")
    assert [entry.source for entry in listing.entries] == [" a.mp4", "b\\c.mp4"]
    assert not listing.notes
