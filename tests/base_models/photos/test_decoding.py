"""Every kind of photo that strangers send: decoded right, or refused with its reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from base_models.photos import decoding as photos
from base_models.photos.decoding import UnreadablePhotoError, decode_photo, letterbox


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def picture(rng):
    smooth = np.linspace(0, 255, 24 * 32 * 3).reshape(24, 32, 3)
    return Image.fromarray(np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_every_allowed_format_is_decoded_to_rgb(picture, kind):
    image = decode_photo(encoded(picture, kind))
    assert image.mode == "RGB"
    assert image.size == (32, 24)
    assert np.abs(np.asarray(image, float) - np.asarray(picture, float)).mean() < 20


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(picture, mode):
    image = decode_photo(encoded(picture.convert(mode), "JPEG" if mode == "CMYK" else "PNG"))
    assert image.mode == "RGB"
    gray = np.asarray(image.convert("L"), float)
    assert (
        np.corrcoef(gray.ravel(), np.asarray(picture.convert("L"), float).ravel())[0, 1] > 0.5
    )  # one bit keeps little


def test_sixteen_bits_are_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    values = np.asarray(decode_photo(encoded(Image.fromarray(ramp), "PNG")))[:, :, 0].ravel()
    np.testing.assert_allclose(values, np.arange(256), atol=1)


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert decode_photo(encoded(clear, "PNG")).getpixel((1, 1)) == (255, 255, 255)
    assert decode_photo(encoded(half, "PNG")).getpixel((1, 1))[0] == pytest.approx(127, abs=2)
    assert decode_photo(encoded(clear, "GIF", transparency=0)).getpixel((1, 1)) == (255, 255, 255)


def test_transparent_palette_is_laid_on_white():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert decode_photo(encoded(image, "PNG", transparency=1)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_photo(encoded(Image.new("RGB", (8, 4)), "JPEG", exif=exif))
    assert image.size == ((8, 4) if orientation < 5 else (4, 8))


def test_damaged_exif_does_not_lose_the_photo(picture):
    data = encoded(picture, "JPEG", exif=b"Exif\x00\x00garbage that is no TIFF header")
    assert decode_photo(data).size == (32, 24)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(kind):
    frames = [Image.new("RGB", (6, 6), color) for color in ("red", "blue", "green")]
    red, _, blue = decode_photo(encoded(frames[0], kind, save_all=True, append_images=frames[1:])).getpixel((3, 3))
    assert red > 200
    assert blue < 60


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!doctype html><html>", "neither JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "neither JPEG"),
        (b"II*\x00\x08\x00\x00\x00", "neither JPEG"),
        (b"%PDF-1.7\n", "neither JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "neither JPEG"),
        (b"SIMPLE  =                    T", "neither JPEG"),
        (b"\xff\xd8\xff\xe0broken", "cannot be decoded"),
        (b"BMshort", "cannot be decoded"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "cannot be decoded"),
    ],
)
def test_what_is_no_photo_is_refused_with_its_reason(data, reason):
    with pytest.raises(UnreadablePhotoError, match=f"shoe-17: .*{reason}"):
        decode_photo(data, name="shoe-17")


@pytest.mark.parametrize("cut", [0.7, -2])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_cut_photos_are_refused(rng, kind, cut):
    data = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    if (kind, cut) in (("PNG", -2), ("GIF", -2)):
        pytest.skip("the last bytes of this format hold no picture")
    with pytest.raises(UnreadablePhotoError, match="cannot be decoded"):
        decode_photo(data[: int(len(data) * cut)] if isinstance(cut, float) else data[:cut])


def png(width, height, body):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_too_little_picture_data_in_valid_chunks_is_refused():
    with pytest.raises(UnreadablePhotoError, match="cannot be decoded"):
        decode_photo(png(200, 200, b"\x00" * 100))


@pytest.mark.parametrize(
    ("side", "reason"),
    [
        (8000, "8000 × 8000 pixels are more than the limit of 50,000,000"),  # which Pillow takes without a word
        (10000, r"pixels|cannot be decoded"),
        (20000, r"pixels|cannot be decoded"),
    ],
)
def test_bombs_are_refused_by_their_header(side, reason):
    with pytest.raises(UnreadablePhotoError, match=reason):
        decode_photo(png(side, side, b"\x00" * 100))


def test_large_files_are_refused_unread(monkeypatch, picture):
    monkeypatch.setattr(photos, "MAX_BYTES", 100)
    with pytest.raises(UnreadablePhotoError, match="more than the limit of 100"):
        decode_photo(encoded(picture, "PNG"))


def test_another_librarys_truncation_flag_is_found(monkeypatch, picture):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES must be False"):
        decode_photo(encoded(picture, "JPEG"))


def test_the_extension_does_not_matter_but_the_bytes_do(picture):
    assert decode_photo(encoded(picture, "WEBP"), name="wrong.jpg").size == (32, 24)


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (1, 600), (600, 1), (1, 60_000), (60_000, 1), (60, 80), (64, 64), (301, 299)]
)
def test_letterbox_keeps_proportions_on_white(width, height):
    square = letterbox(Image.new("RGB", (width, height), (10, 20, 30)), 64)
    assert square.shape == (64, 64, 3)
    assert square.dtype == np.uint8
    inside = (square == (10, 20, 30)).all(axis=2)
    assert (square[~inside] == 255).all()
    expected = max(1, round(64 * width / max(width, height))), max(1, round(64 * height / max(width, height)))
    assert (inside.any(axis=0).sum(), inside.any(axis=1).sum()) == expected


@pytest.mark.parametrize(("mode", "turn"), [("RGB", 1), ("RGB", 6), ("L", 1), ("CMYK", 1)])
@pytest.mark.parametrize("size", [32, 64, 100, 400])
def test_a_jpeg_decoded_at_the_size_needed_is_nearly_the_whole_one_shrunk(picture, mode, turn, size):
    exif = Image.Exif()
    exif[0x0112] = turn
    large = picture.resize((320, 240), Image.Resampling.BICUBIC).convert(mode)
    data = encoded(large, "JPEG", quality=95, exif=exif)
    whole, fast = decode_photo(data), decode_photo(data, at_least=size)
    assert max(whole.size) >= max(fast.size) >= min(size, 320)
    assert max(fast.size) < 2 * size or fast.size == whole.size or max(fast.size) == 40
    difference = np.abs(letterbox(whole, size).astype(int) - letterbox(fast, size))
    assert difference.mean() < 2.5


def test_cut_jpegs_are_found_at_every_scale(picture):
    data = encoded(picture.resize((320, 240)), "JPEG")
    for cut in (data[: len(data) * 7 // 10], data[:-2]):
        for at_least in (16, 64, 0):
            with pytest.raises(UnreadablePhotoError, match="cannot be decoded"):
                decode_photo(cut, at_least=at_least)


def with_scans(n_scans, side=64):
    """Repeat the last scan of a progressive JPEG."""
    data = encoded(Image.linear_gradient("L").convert("RGB").resize((side, side)), "JPEG", progressive=True)
    end = data.rindex(b"\xff\xd9")
    start = data.rindex(b"\xff\xda")
    return data[:end] + data[start:end] * (n_scans - data.count(b"\xff\xda")) + data[end:]


def test_a_progressive_photo_of_many_scans_is_refused_before_it_is_decoded(monkeypatch):
    assert decode_photo(with_scans(40)).size == (64, 64)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(UnreadablePhotoError, match="1500 scans of 4,096 pixels are more than the limits"):
        decode_photo(with_scans(1500))
    with pytest.raises(UnreadablePhotoError, match="1500 scans"):
        decode_photo(with_scans(1500), at_least=8)


def test_scans_of_large_photos_count_by_their_pixels(monkeypatch):
    monkeypatch.setattr(photos, "MAX_SCANNED_PIXELS", 20 * 4096)
    assert decode_photo(with_scans(20)).size == (64, 64)
    with pytest.raises(UnreadablePhotoError, match="21 scans"):
        decode_photo(with_scans(21))


def test_scans_of_thumbnails_do_not_count():
    data = with_scans(12)
    thumbnail = b"Exif\0\0" + b"\xff\xda" * 5000
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    assert photos._count_scans(data[:2] + segment + data[2:]) == 12
    assert decode_photo(data[:2] + segment + data[2:]).size == (64, 64)


def test_a_text_bomb_in_a_png_is_refused():
    data = encoded(Image.new("RGB", (4, 4)), "PNG")
    bomb = b"k\0\0" + zlib.compress(b"a" * 100_000_000, 9)
    chunk = struct.pack(">I", len(bomb)) + b"zTXt" + bomb + struct.pack(">I", zlib.crc32(b"zTXt" + bomb))
    with pytest.raises(UnreadablePhotoError, match="Decompressed data too large"):
        decode_photo(data[:33] + chunk + data[33:])


def test_pixels_beyond_pillows_own_limit_are_refused_without_a_warning():
    data = bytearray(encoded(Image.new("RGB", (4, 4)), "PNG"))
    data[16:24] = struct.pack(">II", 10_000, 10_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(UnreadablePhotoError, match="10000 × 10000 pixels are more than the limit"):
        decode_photo(bytes(data))
