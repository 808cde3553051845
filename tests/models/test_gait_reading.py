"""Frames are read from folders, files and videos, and what is not read is explained."""

import pickle
import sys
import types

import numpy as np
import pytest

from tests.models.walkers import walk
from unfussy.errors import InputValueError, MissingExtraError
from unfussy.models.gait.preprocessing import (
    UnreadableFramesError,
    iter_frames,
    normalize_silhouettes,
    read_frames,
    read_sequences,
)

Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")

WALK = walk()
MASKS = WALK["silhouettes"]
LABELS = WALK["parsing"]


def write_pictures(folder, frames=MASKS, suffix="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"frame-{i}.{suffix}")
    return folder


def write_animation(path, frames=MASKS):
    first, *others = map(Image.fromarray, frames)
    options = {"lossless": True} if path.suffix == ".webp" else {}
    if path.suffix == ".apng":
        options["format"] = "PNG"
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=others, **options)
    return path


# --- one walk ----------------------------------------------------------------------


def test_pictures_of_a_folder_come_in_natural_order(tmp_path):
    write_pictures(tmp_path)  # among them frame-2 and frame-10
    (tmp_path / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture")

    assert np.array_equal(read_frames(tmp_path), MASKS)


def test_frames_of_several_sizes_come_as_a_list(tmp_path):
    frames = [MASKS[0], MASKS[1][4:], MASKS[2][:, 3:]]
    write_pictures(tmp_path, frames)

    found = read_frames(str(tmp_path))

    assert isinstance(found, list)
    for frame, expected in zip(found, frames, strict=True):
        assert np.array_equal(frame, expected)
    assert len(normalize_silhouettes(found)) == 3


@pytest.mark.parametrize("suffix", ["gif", "tiff", "apng", "png"])
def test_pictures_of_several_frames_are_walks(tmp_path, suffix):
    path = write_animation(tmp_path / f"walk.{suffix}", MASKS[:5])

    assert np.array_equal(read_frames(path), MASKS[:5])


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA"])
def test_masks_of_any_mode_are_grey_levels(tmp_path, mode):
    Image.fromarray(MASKS[0]).convert(mode).save(tmp_path / "0.png")

    assert np.array_equal(read_frames(tmp_path), MASKS[:1])


def test_label_maps_keep_the_numbers_of_a_palette(tmp_path):
    for i, labels in enumerate(LABELS[:3]):
        picture = Image.fromarray(labels)
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
        assert picture.mode == "P"
        picture.save(tmp_path / f"{i}.png")

    assert np.array_equal(read_frames(tmp_path, kind="parsing"), LABELS[:3])


def test_label_maps_in_colour_are_refused(tmp_path):
    Image.fromarray(LABELS[0]).convert("RGB").save(tmp_path / "0.png")

    with pytest.raises(UnreadableFramesError, match=r"got mode 'RGB' in .*0\.png"):
        read_frames(tmp_path, kind="parsing")


def test_levels_of_16_bits_are_not_guessed(tmp_path):
    Image.fromarray(MASKS[0].astype(np.uint16) * 257).save(tmp_path / "0.png")

    found = read_frames(tmp_path)

    assert found.max() == 65535
    said = normalize_silhouettes(found, value_range=(0, 65535))
    assert np.array_equal(said.frames, normalize_silhouettes(MASKS[:1]).frames)
    with pytest.raises(InputValueError, match="got 0 to 65535"):
        normalize_silhouettes(found)


@pytest.mark.parametrize("save", [np.save, np.savez, np.savez_compressed])
def test_arrays_are_read(tmp_path, save):
    suffix = "npy" if save is np.save else "npz"
    save(tmp_path / f"walk.{suffix}", MASKS)

    assert np.array_equal(read_frames(tmp_path / f"walk.{suffix}"), MASKS)
    assert np.array_equal(list(iter_frames(tmp_path / f"walk.{suffix}")), MASKS)


def test_frames_are_read_when_it_is_their_turn(tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "frame-1.png").write_bytes(b"no picture")

    frames = iter_frames(tmp_path)

    assert np.array_equal(next(frames), MASKS[0])
    with pytest.raises(UnreadableFramesError, match=r"frame-1\.png cannot be read"):
        next(frames)


# --- videos ------------------------------------------------------------------------


class FakeVideo:
    """Decodes to frames with the grey noise of compression."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def decode(self, video):
        noise = np.random.default_rng(0).integers(0, 20, MASKS.shape, dtype=np.uint8)
        for frame, grey in zip(MASKS, noise):
            levels = np.where(frame > 0, 255 - grey, grey)
            yield types.SimpleNamespace(to_ndarray=lambda x=levels, **form: x)


def provide(monkeypatch, **modules):
    def imported(name):
        if name not in modules:
            raise ImportError(name)
        return modules[name]

    where = "unfussy.models.gait.preprocessing.videos.import_module"
    monkeypatch.setattr(where, imported)


def colours(path):
    return (np.stack([mask, mask, mask], axis=-1) for mask in MASKS)


@pytest.mark.parametrize(
    "modules",
    [
        {"av": types.SimpleNamespace(open=lambda path: FakeVideo())},
        {"imageio.v3": types.SimpleNamespace(imiter=colours)},
    ],
)
def test_videos_are_read_by_what_is_installed(tmp_path, monkeypatch, modules):
    (tmp_path / "walk.mp4").touch()
    provide(monkeypatch, **modules)

    assert np.array_equal(read_frames(tmp_path / "walk.mp4"), MASKS)


def test_real_videos_are_read(tmp_path):
    av = pytest.importorskip("av", reason="videos need PyAV")
    with av.open(str(tmp_path / "walk.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.bit_rate = 4_000_000
        for mask in MASKS:
            frame = av.VideoFrame.from_ndarray(mask, format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    found = read_frames(tmp_path / "walk.mkv")

    assert found.shape == MASKS.shape
    assert (found != MASKS).mean() < 0.01


def test_videos_need_a_reader(tmp_path, monkeypatch):
    (tmp_path / "walk.mp4").touch()
    provide(monkeypatch)

    with pytest.raises(MissingExtraError, match=r"av is needed .*unfussy\[video\]"):
        read_frames(tmp_path / "walk.mp4")


def test_damaged_videos_are_named(tmp_path, monkeypatch):
    def broken(path):
        raise OSError("moov atom not found")

    (tmp_path / "walk.mp4").touch()
    provide(monkeypatch, av=types.SimpleNamespace(open=broken))

    with pytest.raises(UnreadableFramesError, match=r"walk\.mp4 .* as a video \(moov"):
        read_frames(tmp_path / "walk.mp4")


def test_label_maps_are_not_read_from_videos(tmp_path):
    (tmp_path / "walk.mp4").touch()

    with pytest.raises(InputValueError, match="whose compression changes labels"):
        read_frames(tmp_path / "walk.mp4", kind="parsing")


# --- what is not read --------------------------------------------------------------


def test_pictures_need_pillow(tmp_path, monkeypatch):
    write_pictures(tmp_path, MASKS[:1])
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingExtraError, match=r"unfussy\[images\]"):
        read_frames(tmp_path)


@pytest.mark.parametrize("name", ["walk", "walk.gif", "walk.npy", "walk.mp4"])
def test_missing_files_are_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        read_frames(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=name):
        read_sequences(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.pkl", pickle.dumps(MASKS[0]), r"x\.pkl is a pickle, .* numpy\.save\(\)"),
        ("x.npy", pickle.dumps({}), r"x\.npy cannot be read as arrays of numbers"),
        ("x.npz", b"PK\3\4", r"x\.npz cannot be read as arrays"),
        ("x.gif", b"no picture", r"x\.gif cannot be read as a picture"),
        ("x.txt", b"", r"x\.txt is of no kind that is read: \.apng, \.avi"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputValueError, match=message):
        read_frames(tmp_path / name)


def test_arrays_of_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)

    with pytest.raises(UnreadableFramesError, match="allow_pickle=False"):
        read_frames(tmp_path / "x.npy")


def test_empty_folders_and_other_kinds_are_refused(tmp_path):
    with pytest.raises(UnreadableFramesError, match="there are no pictures in"):
        read_frames(tmp_path)
    with pytest.raises(InputValueError, match="or 'parsing', got 'masks'"):
        read_frames(tmp_path, kind="masks")


def test_files_of_several_arrays_are_no_single_walk(tmp_path):
    np.savez(tmp_path / "x.npz", silhouettes=MASKS, parsing=LABELS)

    with pytest.raises(InputValueError, match=r"2 arrays \(silhouettes, parsing\)"):
        read_frames(tmp_path / "x.npz")


# --- many walks --------------------------------------------------------------------


def test_walks_are_found_in_the_official_layout(tmp_path):
    for person in ("2", "10"):
        write_pictures(tmp_path / person / "nm-01" / "090", MASKS[: int(person)])
    (tmp_path / "10" / "nm-01" / "000").mkdir()
    np.save(tmp_path / "10" / "nm-01" / "000" / "000.npy", MASKS[:4])
    write_pictures(tmp_path / ".thumbnails")

    found = read_sequences(tmp_path)

    assert found.names == ("2/nm-01/090", "10/nm-01/000", "10/nm-01/090")
    assert [len(frames) for frames in found.values()] == [2, 4, 10]
    assert np.array_equal(found["10/nm-01/090"], MASKS[:10])
    assert len(found) == 3


def test_walks_may_be_files_of_every_kind(tmp_path):
    write_animation(tmp_path / "ann" / "a.gif", MASKS[:3])
    write_animation(tmp_path / "ann" / "b.tif", MASKS[:4])
    np.savez(tmp_path / "bob.npz", silhouettes=MASKS, parsing=LABELS)
    (tmp_path / "cy.mp4").touch()
    write_pictures(tmp_path / "dan", MASKS[:2], "tif")

    found = read_sequences(tmp_path)

    assert found.names == ("ann/a", "ann/b", "bob", "cy", "dan")
    assert len(found["ann/b"]) == 4
    assert found["bob"].keys() == {"silhouettes", "parsing"}
    assert found["dan"].shape == (2, 64, 64)


def test_walks_are_read_when_they_are_asked_for(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"damaged")
    np.save(tmp_path / "b.npy", MASKS)

    found = read_sequences(tmp_path)

    assert np.array_equal(found["b"], MASKS)
    with pytest.raises(UnreadableFramesError, match=r"a\.npy"):
        found["a"]
    with pytest.raises(KeyError):
        found["c"]


def test_a_folder_of_pictures_and_a_file_are_one_walk(tmp_path):
    write_pictures(tmp_path / "ann")
    np.save(tmp_path / "bob.npy", MASKS)

    assert read_sequences(tmp_path / "ann").names == ("ann",)
    assert np.array_equal(read_sequences(tmp_path / "bob.npy")["bob"], MASKS)


def test_label_maps_of_a_tree_are_read_as_such(tmp_path):
    write_pictures(tmp_path / "ann", LABELS)

    assert np.array_equal(read_sequences(tmp_path, kind="parsing")["ann"], LABELS)


def test_pickles_are_refused_unless_their_arrays_are_there(tmp_path):
    (tmp_path / "090.pkl").write_bytes(pickle.dumps(MASKS[0]))
    write_pictures(tmp_path / "ann", MASKS[:1])

    with pytest.raises(InputValueError, match=r"090\.pkl is a pickle"):
        read_sequences(tmp_path)

    np.save(tmp_path / "090.npy", MASKS)
    assert read_sequences(tmp_path).names == ("090", "ann")


def test_walks_of_one_name_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", MASKS)
    np.savez(tmp_path / "a.npz", MASKS)

    with pytest.raises(InputValueError, match="two walks are called 'a'"):
        read_sequences(tmp_path)


def test_folders_without_walks_are_refused(tmp_path):
    with pytest.raises(InputValueError, match="there are no walks below"):
        read_sequences(tmp_path)
