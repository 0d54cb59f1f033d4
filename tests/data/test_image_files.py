"""Pictures as cameras, microscopes and paint programs write them: read correctly, or refused."""

import io
import pickle
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from pytorch_vision.data import read_image
from pytorch_vision.data.image_files import decode_picture

RANDOM = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
RAMP = np.tile(np.linspace(0, 1, 32), (32, 1))  # from black at the left to white at the right


def chunk(name: bytes, content: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(name + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def encoded(picture: np.ndarray, format: str, **options) -> bytes:
    """Return the content of a picture's file."""
    written = io.BytesIO()
    Image.fromarray(picture).save(written, format, **options)
    return written.getvalue()


def png_with(*chunks: bytes) -> bytes:
    """Return the random picture as a PNG with further chunks after its header."""
    content = encoded(RANDOM, "png")
    return content[:33] + b"".join(chunks) + content[33:]


LONG = zlib.compress(b"steps: 20, " * 200_000)


@pytest.mark.parametrize(
    "metadata",
    [
        chunk(b"zTXt", b"parameters\0\0" + LONG),
        chunk(b"iTXt", b"parameters\0\1\0\0\0" + LONG),
        chunk(b"iCCP", b"profile\0\0" + LONG),
        chunk(b"iCCP", b"profile\0\0no profile"),
        chunk(b"tEXt", b"comment\0hello", checksum=7),
        chunk(b"eXIf", b"nonsense"),
        chunk(b"eXIf", b"nonsense", checksum=7) + chunk(b"tEXt", b"a\0b"),
        chunk(b"zTXt", b"a\0\0not compressed"),
        chunk(b"pHYs", b""),
    ],
)
def test_a_good_png_with_broken_metadata_is_read(tmp_path, metadata):
    (tmp_path / "made.png").write_bytes(png_with(metadata))
    assert np.array_equal(read_image(tmp_path / "made.png")[0], RANDOM)


def test_damaged_pixels_are_an_error_whatever_the_metadata(tmp_path):
    content = png_with(chunk(b"zTXt", b"parameters\0\0" + LONG))
    (tmp_path / "cut.png").write_bytes(content[: len(content) - 500])
    with pytest.raises(ValueError, match=r"cut\.png is a damaged image") as caught:
        read_image(tmp_path / "cut.png")
    # as a pool of processes hands it on
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "png", "tif"])
@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif"])
def test_broken_exif_costs_nothing(tmp_path, suffix, exif):
    path, plain = tmp_path / f"made.{suffix}", tmp_path / f"plain.{suffix}"
    Image.fromarray(RANDOM).save(plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Image.fromarray(RANDOM).save(path, exif=exif)
        except Exception:
            pytest.skip("Pillow does not write it")
        warnings.simplefilter("error")
        assert np.array_equal(read_image(path)[0], read_image(plain)[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a broken entry follows"
    Image.fromarray(RANDOM).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(read_image(tmp_path / "turned.png")[0], expected)


def near(image: np.ndarray, expected: np.ndarray = RAMP, tolerance: int = 2) -> bool:
    """Return whether an image is grey, and as bright as expected, in [0, 1]."""
    return bool((np.abs(image.astype(int) - 255 * expected[..., None]) <= tolerance).all())


@pytest.mark.parametrize(
    ("dtype", "low", "top"),
    [
        *((np.uint16, 0, top) for top in (255, 1023, 4095, 65_535)),
        *((np.int32, 0, top) for top in (4095, 65_535, 1_000_000)),
        *((np.float32, 0, top) for top in (0.02, 1.0, 255.0, 2000.0)),
        *((np.float32, -top, top) for top in (1.0, 1000.0)),
    ],
)
def test_values_of_any_range_are_scaled(tmp_path, dtype, low, top):
    """A picture does not become black because its values use a small part of their range."""
    picture = Image.fromarray((low + RAMP * (top - low)).astype(dtype))
    for name in ("ramp.tif", "ramp.png")[: 1 + (dtype is np.uint16)]:
        picture.save(tmp_path / name)
        assert near(read_image(tmp_path / name)[0])


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, -9999.0, 1000.1, -3.4028235e38])
def test_missing_values_change_no_others(tmp_path, missing):
    values = (2000 * RAMP).astype(np.float32)
    values[:4, :4] = missing
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if missing in (-9999.0, 1000.1):
        tags[42113] = str(missing)
        tags.tagtype[42113] = 2
    Image.fromarray(values).save(tmp_path / "holes.tif", tiffinfo=tags)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, _ = read_image(tmp_path / "holes.tif")
    expected = RAMP.copy()
    expected[:4, :4] = missing == np.inf
    assert near(image, expected)


def test_a_given_scale_overrides_the_pictures_own(tmp_path):
    Image.fromarray((RAMP * 2000).astype(np.uint16)).save(tmp_path / "ramp.png")
    image, _ = read_image(tmp_path / "ramp.png", scales={"uint16": (0, 4000)})
    assert near(image, RAMP / 2)
    image, _ = read_image(tmp_path / "ramp.png", scales={"float32": (0, 1)})
    assert near(image)


@pytest.mark.parametrize("declared", [None, 0, 2])
def test_bands_that_are_not_colours_are_left_out(tmp_path, declared):
    """A fourth band counts as transparency only if the file declares it; it may be infrared."""
    bands = np.dstack([RANDOM, RANDOM[..., :1]])
    path = tmp_path / "bands.tif"
    Image.fromarray(bands).save(path)
    content = path.read_bytes()
    old = struct.pack("<HHIHH", 338, 3, 1, 2, 0)
    assert content.count(old) == 1
    if declared is None:  # another tag in place of ExtraSamples
        path.write_bytes(content.replace(old, struct.pack("<HHIHH", 337, 3, 1, 2, 0)))
    else:
        path.write_bytes(content.replace(old, struct.pack("<HHIHH", 338, 3, 1, declared, 0)))
    image, summary = read_image(path)
    assert np.array_equal(image, RANDOM) == (declared != 2)
    told = "composited over white or black" if declared == 2 else "not declared as transparency"
    assert told in summary
    Image.fromarray(np.dstack([RANDOM, np.full((32, 32), 255, np.uint8)])).save(path)
    assert "composited" not in read_image(path)[1]


def test_bands_that_pillow_cannot_read_are_refused_without_a_word_of_its_own(tmp_path, capfd):
    """Such as 13 of them; or 16 bits one band after the other, whose bytes it takes for colours."""
    path = tmp_path / "bands.tif"
    assert cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint16))
    content = path.read_bytes()
    for tag, written, value in ((277, 3, 13), (284, 1, 2)):  # how many samples, how they lie
        old, new = (struct.pack("<HHIHH", tag, 3, 1, one, 0) for one in (written, value))
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        with pytest.raises(ValueError, match=r"bands\.tif is a TIFF whose bands or values"):
            read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_a_scaled_decode_looks_like_a_whole_one(tmp_path, resize, orientation):
    """Within the docstring's bounds; sides that no scale divides are not shifted."""
    rows, columns = np.mgrid[:1211, :937] / 80
    waves = 128 + 60 * np.sin(rows + columns) + 60 * np.cos(rows - 2 * columns)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(waves.astype(np.uint8)).convert("RGB")
    picture.save(tmp_path / "photo.jpg", quality=95, exif=exif)
    picture.save(tmp_path / "photo.png", exif=exif)
    drafted, summary = read_image(tmp_path / "photo.jpg", (40, 60), resize)
    whole, _ = read_image(tmp_path / "photo.png", (40, 60), resize)
    difference = np.abs(drafted.astype(int) - whole)
    assert difference.mean() < 1
    assert difference.max() < 12
    assert ("937x1211" if orientation == 1 else "1211x937") in summary


def test_the_digest_is_of_the_pixels(tmp_path):
    """Whatever the name, metadata, format, compression and target size."""

    def digest(name: str, size: int = 32) -> str:
        return decode_picture(tmp_path / name, (size, size), "crop").digest

    picture = Image.fromarray(np.tile(RANDOM, (33, 33, 1)))
    text, exif = PngInfo(), Image.Exif()
    text.add_text("comment", "hello")
    exif[0x010E] = "a comment"
    picture.save(tmp_path / "0.png")
    picture.save(tmp_path / "1.png", compress_level=9, pnginfo=text, exif=exif)
    picture.save(tmp_path / "2.bmp")
    picture.save(tmp_path / "0.jpg")
    picture.save(tmp_path / "1.jpg", exif=exif, comment=b"hello")
    picture.save(tmp_path / "2.jpg", quality=80)
    assert digest("0.png") == digest("1.png") == digest("2.bmp") == digest("0.png", 64)
    assert digest("0.jpg") == digest("1.jpg") == digest("1.jpg", 64)
    assert len({digest("0.png"), digest("0.jpg"), digest("2.jpg")}) == 3
    small, turned = picture.resize((600, 400)), Image.Exif()
    turned[0x0112] = 6
    small.save(tmp_path / "3.jpg", exif=turned)
    small.save(tmp_path / "4.jpg", exif=turned, optimize=True, progressive=True)
    with Image.open(tmp_path / "3.jpg") as decoded:
        ImageOps.exif_transpose(decoded).save(tmp_path / "3.webp", lossless=True)
    assert digest("3.jpg") == digest("4.jpg") == digest("3.webp") == digest("3.jpg", 64)
    for number, place in enumerate(("here", "nowhere at all")):  # a phone's, of several JPEGs
        exif[0x010E] = place
        path = tmp_path / f"phone{number}.jpg"
        picture.save(path, "MPO", save_all=True, append_images=[small], exif=exif)
        with Image.open(path) as opened:
            assert opened.format == "MPO"
    assert digest("phone0.jpg") == digest("phone1.jpg")


def test_a_picture_is_refused_by_its_number_of_pixels(tmp_path, monkeypatch):
    Image.new("RGB", (10_000, 2)).save(tmp_path / "long.png")
    assert read_image(tmp_path / "long.png", 32, "squash")[0].shape == (32, 32, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_000)
    with pytest.raises(ValueError, match=r"long\.png is too large, expected at most 18,000 pixels"):
        read_image(tmp_path / "long.png", 32, "squash")


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (2, 100)])
def test_a_long_narrow_picture_is_refused_or_squashed(tmp_path, size):
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "line.png")
    for resize in ("crop", "pad"):
        told = rf"line\.png is {size[0]}x{size[1]} pixels, of which '{resize}' leaves one part in "
        with pytest.raises(ValueError, match=told):
            read_image(tmp_path / "line.png", (32, 32), resize)
    assert read_image(tmp_path / "line.png", (32, 32), "squash")[0].std() > 5
    if size[1] == 100:  # a network for such pictures takes it
        assert read_image(tmp_path / "line.png", (100, 2), "crop")[0].shape == (100, 2, 3)


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (31, 1)])
def test_small_pictures_are_read(tmp_path, resize, size):
    Image.new("RGB", size, "red").save(tmp_path / "small.png")
    assert read_image(tmp_path / "small.png", (32, 32), resize)[0].shape == (32, 32, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_a_white_picture_on_transparency_is_composited_over_black(tmp_path, mode):
    """Over white, it would be invisible; and a black one is composited over white."""
    suffix = "tif" if mode == "PA" else "png"
    for ink, paper in ((255, 0), (0, 255)):
        icon = np.full((32, 32, 4), ink, np.uint8)
        icon[..., 3] = 0
        icon[8:24, 8:24, 3] = 255
        picture = Image.fromarray(icon)
        if mode == "P":
            picture = Image.fromarray(np.uint8(icon[..., 3] > 0))
            picture.putpalette([1, 2, 3, ink, ink, ink])
            picture.save(tmp_path / "icon.png", transparency=0)
        else:
            try:
                picture.convert(mode).save(tmp_path / f"icon.{suffix}")
            except (OSError, ValueError):
                pytest.skip("Pillow does not write it")
        image, _ = read_image(tmp_path / f"icon.{suffix}")
        assert (image[8:24, 8:24] == ink).all()
        assert (image[:8] == paper).all()


def test_an_unused_band_for_transparency_hides_nothing(tmp_path):
    """Many programs write zeros into the fourth band of TGA and BMP."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(tmp_path / "screen.tga")
    assert (read_image(tmp_path / "screen.tga")[0] == pixels[..., :3]).all()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_frame_or_page_is_read(tmp_path, suffix):
    """Pages are not meant to be one picture, so it is said."""
    first, *others = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green"))
    path = tmp_path / f"many.{suffix}"
    first.save(path, save_all=True, append_images=others)
    image, told = read_image(path)
    assert np.abs(image.astype(int) - (255, 0, 0)).max() < 12
    assert ("only the first of several pages is read" in told) == (suffix == "tif")


def test_the_first_page_of_16_bits_is_read(tmp_path):
    pages = [Image.new("I;16", (8, 8), grey) for grey in (0, 100, 200)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    assert "only the first of several pages is read" in read_image(tmp_path / "stack.tif")[1]


def test_cmyk_and_lab_have_their_colours(tmp_path):
    red = Image.new("RGB", (32, 32), (200, 30, 30))
    red.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    red.convert("CMYK").save(tmp_path / "cmyk.tif")
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    ImageCms.profileToProfile(red, *profiles, outputMode="LAB").save(tmp_path / "lab.tif")
    for name in ("cmyk.jpg", "cmyk.tif", "lab.tif"):
        red, green, blue = read_image(tmp_path / name)[0].mean(axis=(0, 1))
        assert red > 150 > 90 > max(green, blue)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "drawing.svg",
            b"<svg/>",
            r"has a format that Pillow cannot read \(image/svg\+xml\): convert it to PNG",
        ),
        ("empty.jpg", b"", "is empty"),
        ("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("bands.tif", b"II*\0\x08\0\0\0\0\0", "is a TIFF whose bands .* tifffile or rasterio"),
        ("phone.jpg", b"\0\0\0\x18ftypheic", "is HEIC, which Pillow cannot read: convert it"),
        ("page.jpg", b"<html>not found</html>", "is not an image that Pillow can read"),
        ("field.grib", b"GRIB\0\0\0\2" + bytes(30), "is not an image that Pillow can read"),
        ("none.tif", encoded(np.full((32, 32), np.nan, np.float32), "tiff"), "has no finite value"),
        (
            "raw.tif",  # with its thumbnail first
            encoded(RANDOM, "tiff", tiffinfo={254: 1}),
            "is a TIFF .* a camera's raw file, .* or rawpy",
        ),
    ],
)
def test_the_error_gives_the_true_reason(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} {told}"):
        read_image(tmp_path / name)


def test_what_is_not_a_picture_at_all_is_said(tmp_path):
    with pytest.raises(ValueError, match="is of type ndarray, expected a path, bytes, an open"):
        read_image(RANDOM)
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        read_image(tmp_path / "circle.png")


@pytest.mark.parametrize("suffix", ["png", "ppm", "jp2", "tif"])
def test_colours_of_16_bits_are_scaled_alike_in_all_formats(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    values = np.arange(3 * 32 * 32, dtype=np.uint16)[::-1].reshape(32, 32, 3)
    assert cv2.imwrite(str(path), values[..., ::-1])
    picture = decode_picture(path, (32, 32), "crop")
    assert (picture.kind, picture.value_range) == ("uint16", (0, values.max()))
    image, summary = read_image(path)
    assert np.array_equal(image, (255 * (values / values.max())).astype(np.uint8))
    assert "values from 0 to 3,071 scaled to 8 bits" in summary


@pytest.mark.parametrize(
    ("size", "told"),
    [((32, 32), "32x32 pixels, mode RGB; not resized"), ((32, 60), "central 32x32 pixels resized")],
)
def test_the_summary_says_what_was_done(tmp_path, size, told):
    height, width = size
    picture = np.zeros((height, width, 3), np.uint8)
    left = (width - 32) // 2
    picture[:, left : left + 32] = RANDOM
    Image.fromarray(picture).save(tmp_path / "a.png")
    image, summary = read_image(tmp_path / "a.png")
    assert np.array_equal(image, RANDOM)
    assert told in summary


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_an_image_of_any_mode_is_read(tmp_path, mode):
    """A step from black to white, however the file stores it."""
    step = np.zeros((64, 64), np.uint8)
    step[:, 32:] = 255
    Image.fromarray(step).convert("RGB").convert(mode).save(tmp_path / "step.tif")
    image, told = read_image(tmp_path / "step.tif")
    assert f"mode {mode};" in told
    assert image[:, :12].max() <= 2
    assert image[:, 20:].min() >= 253


def test_no_image_starts_ghostscript(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: started.append(1))
    Image.new("RGB", (40, 40)).save(tmp_path / "a.eps")
    with pytest.raises(ValueError, match=r"the image is not an image that Pillow can read"):
        read_image((tmp_path / "a.eps").read_bytes())
    assert not started
