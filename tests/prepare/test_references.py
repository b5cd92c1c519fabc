"""What stands for other files or addresses opens none of them, whatever it is called."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import struct
import threading

import made_media
import pytest
from test_prepare_command import command

import av_mae
from av_mae.input import records
from av_mae.prepare.check import result
from av_mae.prepare.media import container, decode

# {f}: a file that nobody may open; {u}: an address where somebody listens.
HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n"
LISTS = {
    "live.m3u8": HLS + "#EXTINF:2,\n{f}\n#EXTINF:2,\n{u}/a.ts\n#EXT-X-ENDLIST\n",
    "live.ts": HLS + "#EXTINF:2,\n{u}/a.ts\n#EXTINF:2,\n{f}\n#EXT-X-ENDLIST\n",
    "key.mp4": HLS + '#EXT-X-KEY:METHOD=AES-128,URI="{u}/key"\n#EXTINF:2,\n{f}\n#EXT-X-ENDLIST\n',
    "init.mp4": HLS + '#EXT-X-MAP:URI="{f}"\n#EXTINF:2,\n{f}\n',
    "master.mkv": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{u}/b\n"
    "#EXT-X-STREAM-INF:BANDWIDTH=2\n{f}\n",
    "plain.m3u": "{f}\n{u}/a.ts\n",
    "joined.ffconcat": "ffconcat version 1.0\nfile '{f}'\nfile '{u}/a.mp4'\n",
    "joined.avi": "ffconcat version 1.0\nfile '{u}/a.mp4'\nfile '{f}'\n",
    "joined.txt.mp4": "file '{f}'\nfile '{u}/a.mp4'\n",
    "call.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {p} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
    "<BaseURL>{f}"
    '</BaseURL><SegmentBase indexRange="0-1"/></Representation>'
    '<Representation id="2" bandwidth="1">'
    '<BaseURL>{u}/a.mp4</BaseURL><SegmentBase indexRange="0-1"/></Representation></AdaptationSet>'
    "</Period></MPD>",
    "smooth.ism": '<?xml version="1.0"?>\n<SmoothStreamingMedia Url="{u}/"><x src="{f}"/>'
    "</SmoothStreamingMedia>",
    "radio.pls": "[playlist]\nFile1={u}/a.mp3\nFile2={f}\nNumberOfEntries=2\n",
    "radio.asx": '<asx version="3.0"><entry><ref href="{u}/a.wmv"/><ref href="{f}"/></entry></asx>',
    "radio.wmv": "[Reference]\nRef1={u}/a.wmv\nRef2={f}\n",
    "film.idx": "# VobSub index file, v7\nsize: 720x576\nid: en, index: 0\n"
    "timestamp: 00:00:01:000, filepos: 000000000\n",
    "script.avs": 'FFmpegSource2("{f}")\n',
    "vector.mp4": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
    '<image href="{u}/a.png"/><image href="file://{f}"/></svg>',
}
# Lists that are known, whose sentence says what to do.
KNOWN = LISTS.keys() - {"plain.m3u", "joined.txt.mp4", "script.avs", "vector.mp4"}
ADDRESSES = (
    "concat:{f}|{f}", "subfile:,,start,0,end,9,,:{f}", "data:video/mp4;base64,AAAA", "cache:{f}",
    "crypto:{f}", "tcp:127.0.0.1:{p}", "async:{f}", "file:{f}", "pipe:0", "http:127.0.0.1:{p}/x",
)  # fmt: skip


HONEST = (
    "talk 12:30.mp4", "concat:a|b.mp4", "http:x.mp4", "data:x.mp4", "c:\\x.mp4", "a%20b.mp4",
    "-i.mp4", "file:x.mp4", "100%d.mp4",
)  # fmt: skip


@pytest.fixture
def watched(tmp_path):
    """(pipe, address, port, what was opened): nobody may open the pipe or call the address."""
    pipe, opened, done = tmp_path / "secret.ts", [], threading.Event()
    os.mkfifo(pipe)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.01)

    def watch():
        while not done.is_set():
            with contextlib.suppress(OSError):  # which says that nobody reads
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                opened.append("pipe")
            with contextlib.suppress(TimeoutError):
                listening.accept()[0].close()
                opened.append("address")

    thread = threading.Thread(target=watch)
    thread.start()
    port = listening.getsockname()[1]
    yield pipe, f"http://127.0.0.1:{port}", port, opened
    done.set()
    thread.join()
    listening.close()


def lists(folder: pathlib.Path, pipe, address, port) -> list[str]:
    """Writes all lists; their names."""
    folder.mkdir()
    for name, content in LISTS.items():
        text = content.replace("{f}", str(pipe)).replace("{u}", address).replace("{p}", str(port))
        (folder / name).write_text(text)
    (folder / "film.sub").symlink_to(pipe)
    (folder / "img_%05d.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "img_00001.jpg").symlink_to(pipe)
    made_media.write(folder / "whole.mp4", [made_media.picture(i) for i in range(25)])
    content = bytearray((folder / "whole.mp4").read_bytes())
    # The video lies in another file, by path, as a reference of QuickTime's has it.
    alias = struct.pack(">I4sI", 12 + len(str(pipe)), b"url ", 0) + os.fsencode(pipe)
    (folder / "alias.mov").write_bytes(content.replace(b"\0\0\0\x0curl \0\0\0\1", alias[:12]))
    return [*LISTS, "img_%05d.jpg"]


def test_no_list_opens_what_it_names(tmp_path, watched):
    folder = tmp_path / "media"
    for name in lists(folder, *watched[:3]):
        for kind in ("video", "sound"):
            with pytest.raises(container.UnreadableError) as error:
                decode.decode(folder / name, kind=kind)
            assert ("give them instead" in str(error.value)) == (name in KNOWN), name
        with pytest.raises(ValueError, match=re.escape(name)):
            av_mae.read_clip(folder / name)
    with contextlib.suppress(container.UnreadableError):
        decode.decode(folder / "alias.mov")
    assert watched[3] == []


def test_names_that_look_like_addresses_are_names(tmp_path, watched, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipe, address, port, opened = watched
    for name in (*ADDRESSES, f"{address}/x.mp4"):
        path = name.replace("{f}", str(pipe)).replace("{p}", str(port))
        with pytest.raises(ValueError, match="file not found"):
            av_mae.read_clip(path)
    assert opened == []
    made_media.write(tmp_path / "whole.mp4", [made_media.picture(i) for i in range(25)])
    for name in HONEST:
        shutil.copy("whole.mp4", name)
        assert len(decode.decode(name).frames) == 25
        assert av_mae.read_clip(tmp_path / name).frames is not None


def test_the_commands_open_none_of_them(tmp_path, watched):
    pipe, address, port, opened = watched
    folder = tmp_path / "media"
    names = lists(folder, pipe, address, port)
    shutil.copy(folder / "whole.mp4", folder / "talk 12:30.mp4")
    named = [x.replace("{f}", str(pipe)).replace("{p}", str(port)) for x in ADDRESSES]
    rows = [*names, *named, "talk 12:30.mp4"]
    source = tmp_path / "list.csv"
    source.write_text("path,label\n" + "".join(f'"{row}",x\n' for row in rows))
    out = tmp_path / "out"
    run = command(
        "--dataset=csv", f"--source={source}", f"--media={folder}", f"--out={out}", "--patience=20",
        "--val_share=0", "--workers=1",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    info = records.Info.load(out)
    assert sum(split.clips for split in info.splits.values()) == 1
    outcome = result.check(out)
    assert outcome.ok and outcome.rejected is not None and len(outcome.rejected) == len(rows) - 1
    assert opened == []
