//! `resize_image` as a worker runs it, on images that are made here and looked at pixel by pixel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::gif::{GifDecoder, GifEncoder, Repeat};
use image::codecs::jpeg::JpegEncoder;
use image::{AnimationDecoder, Delay, DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::{Value, json};
use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, Handler, HandlerError};
use tidemill_handlers::objects::ObjectOptions;
use tidemill_handlers::{ResizeImage, ResizeOptions};

const RED: [u8; 3] = [250, 10, 10];
const GREEN: [u8; 3] = [10, 250, 10];
const BLUE: [u8; 3] = [10, 10, 250];
const WHITE: [u8; 3] = [250, 250, 250];

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Runs a task with `folder` allowed, and 1 MP an image.
async fn resize(folder: &Path, payload: &Value) -> Result<Value, HandlerError> {
    let objects = ObjectOptions { allow: vec![url(folder)], ..ObjectOptions::default() };
    let handler = ResizeImage::new(&objects, ResizeOptions { max_pixels: 1_000_000 }).unwrap();
    let (task, task_type) = (TaskId::new("a").unwrap(), TaskType::new("resize_image").unwrap());
    let cx = Context::detached(task, task_type, payload.to_string()).0;
    let output = handler.run(cx).await?;
    Ok(serde_json::from_slice(output.as_json().unwrap()).unwrap())
}

async fn inline(payload: Value) -> Result<(Value, DynamicImage), HandlerError> {
    let done = resize(tempfile::tempdir().unwrap().path(), &payload).await?;
    let bytes = STANDARD.decode(done["image_base64"].as_str().unwrap()).unwrap();
    Ok((done, image::load_from_memory(&bytes).unwrap()))
}

async fn refusal(payload: Value) -> String {
    let error = resize(tempfile::tempdir().unwrap().path(), &payload).await.unwrap_err();
    assert!(error.is_permanent(), "{error}");
    error.message().to_owned()
}

/// Four quarters: red, green above, blue, white below.
fn quarters(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| match (x < width / 2, y < height / 2) {
        (true, true) => Rgb(RED),
        (false, true) => Rgb(GREEN),
        (true, false) => Rgb(BLUE),
        (false, false) => Rgb(WHITE),
    })
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The colours of the four corners, each the nearest of ours: top left, top right, bottom left, bottom right.
fn corners(image: &DynamicImage) -> [[u8; 3]; 4] {
    let image = image.to_rgb8();
    let (right, bottom) = (image.width() - 1, image.height() - 1);
    [(0, 0), (right, 0), (0, bottom), (right, bottom)].map(|(x, y)| {
        let found = image.get_pixel(x, y).0;
        let distance = |colour: &[u8; 3]| -> u32 { (0..3).map(|i| u32::from(found[i].abs_diff(colour[i]))).sum() };
        [RED, GREEN, BLUE, WHITE].into_iter().min_by_key(distance).unwrap()
    })
}

/// A JPEG whose EXIF says this orientation.
fn oriented(image: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 100).encode_image(image).unwrap();
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).unwrap();
    let mut with_exif = jpeg[..2].to_vec();
    with_exif.extend([0xff, 0xe1]);
    with_exif.extend(length.to_be_bytes());
    with_exif.extend(exif);
    with_exif.extend(&jpeg[2..]);
    with_exif
}

#[tokio::test]
async fn an_object_becomes_an_object_of_the_right_size_and_format() {
    let home = tempfile::tempdir().unwrap();
    let png = encoded(&quarters(200, 100).into(), ImageFormat::Png);
    std::fs::write(home.path().join("in.png"), &png).unwrap();
    for (target, format, kind) in [
        ("a.png", None, ImageFormat::Png),
        ("a.jpg", Some("jpeg"), ImageFormat::Jpeg),
        ("deep/a.webp", Some("webp"), ImageFormat::WebP),
        ("a.gif", Some("gif"), ImageFormat::Gif),
    ] {
        let target = home.path().join(target);
        let mut payload = json!({"source": url(&home.path().join("in.png")), "target": url(&target), "new_x": 50});
        if let Some(format) = format {
            payload["format"] = format.into();
        }
        let done = resize(home.path(), &payload).await.unwrap();
        let bytes = std::fs::read(&target).unwrap();
        assert_eq!((&done["width"], &done["height"], &done["bytes"]), (&json!(50), &json!(25), &json!(bytes.len())));
        assert_eq!(done["target"], url(&target));
        assert_eq!(image::guess_format(&bytes).unwrap(), kind);
        let image = image::load_from_memory(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (50, 25));
        assert_eq!(corners(&image), [RED, GREEN, BLUE, WHITE], "{kind:?}");
    }
}

#[tokio::test]
async fn fit_contains_covers_or_distorts() {
    let source = base64(&encoded(&quarters(200, 100).into(), ImageFormat::Png));
    for (fit, size) in [("contain", (60, 30)), ("cover", (60, 60)), ("exact", (60, 60))] {
        let payload = json!({"source_base64": source, "new_x": 60, "new_y": 60, "fit": fit});
        let (done, image) = inline(payload).await.unwrap();
        assert_eq!((image.width(), image.height()), size, "{fit}: {done}");
        assert_eq!(corners(&image), [RED, GREEN, BLUE, WHITE], "{fit}");
    }
    // What stands over is cut off at both sides alike: of four stripes the outer ones.
    let stripes = RgbImage::from_fn(400, 100, |x, _| Rgb([RED, GREEN, BLUE, WHITE][(x / 100) as usize]));
    let source = base64(&encoded(&stripes.into(), ImageFormat::Png));
    let payload = json!({"source_base64": source, "new_x": 40, "new_y": 20, "fit": "cover"});
    assert_eq!(corners(&inline(payload).await.unwrap().1), [GREEN, BLUE, GREEN, BLUE]);
}

#[tokio::test]
async fn every_orientation_of_exif_ends_upright() {
    // What the four corners of the stored image are once it is upright, by the definition of each orientation.
    let upright = [
        [RED, GREEN, BLUE, WHITE],
        [GREEN, RED, WHITE, BLUE],
        [WHITE, BLUE, GREEN, RED],
        [BLUE, WHITE, RED, GREEN],
        [RED, BLUE, GREEN, WHITE],
        [BLUE, RED, WHITE, GREEN],
        [WHITE, GREEN, BLUE, RED],
        [GREEN, WHITE, RED, BLUE],
    ];
    for (orientation, expected) in (1..).zip(upright) {
        let source = base64(&oriented(&quarters(120, 60), orientation));
        let payload = json!({"source_base64": source, "new_x": 30, "format": "png"});
        let (_, image) = inline(payload).await.unwrap();
        let height = if orientation < 5 { 15 } else { 60 };
        assert_eq!((image.width(), image.height()), (30, height), "orientation {orientation}");
        assert_eq!(corners(&image), expected, "orientation {orientation}");
    }
}

#[tokio::test]
async fn transparency_is_kept_and_becomes_white_in_a_jpeg() {
    let half = RgbaImage::from_fn(80, 40, |x, _| if x < 40 { Rgba([0, 0, 0, 0]) } else { Rgba([200, 0, 0, 128]) });
    let source = base64(&encoded(&half.into(), ImageFormat::Png));
    for format in ["png", "webp"] {
        let (_, image) = inline(json!({"source_base64": source, "new_x": 20, "format": format})).await.unwrap();
        let image = image.to_rgba8();
        assert_eq!(image.get_pixel(0, 5).0[3], 0, "{format}");
        let Rgba([red, _, _, alpha]) = *image.get_pixel(19, 5);
        assert!(alpha.abs_diff(128) < 3 && red.abs_diff(200) < 4, "{format}: {red} {alpha}");
    }
    let (_, image) = inline(json!({"source_base64": source, "new_x": 20, "format": "jpeg"})).await.unwrap();
    assert!(image.to_rgb8().get_pixel(1, 5).0.iter().all(|channel| *channel > 245));
}

#[tokio::test]
async fn all_frames_of_a_gif_are_resized_and_a_still_takes_the_first() {
    let mut gif = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut gif);
        encoder.set_repeat(Repeat::Infinite).unwrap();
        for colour in [RED, GREEN, BLUE] {
            let frame = RgbaImage::from_pixel(40, 20, Rgba([colour[0], colour[1], colour[2], 255]));
            encoder.encode_frame(Frame::from_parts(frame, 0, 0, Delay::from_numer_denom_ms(70, 1))).unwrap();
        }
    }
    let done = resize(Path::new("/tmp"), &json!({"source_base64": base64(&gif), "new_y": 10})).await.unwrap();
    let bytes = STANDARD.decode(done["image_base64"].as_str().unwrap()).unwrap();
    let frames = GifDecoder::new(Cursor::new(bytes)).unwrap().into_frames().collect_frames().unwrap();
    assert_eq!(frames.len(), 3);
    for (frame, colour) in frames.into_iter().zip([RED, GREEN, BLUE]) {
        assert_eq!(frame.delay().numer_denom_ms(), (70, 1));
        let image = DynamicImage::from(frame.into_buffer());
        assert_eq!((image.width(), image.height(), corners(&image)), (20, 10, [colour; 4]));
    }
    let still = json!({"source_base64": base64(&gif), "new_y": 10, "format": "png"});
    assert_eq!(corners(&inline(still).await.unwrap().1), [RED; 4]);
}

#[tokio::test]
async fn frames_that_have_too_many_pixels_together_are_refused() {
    let mut gif = Vec::new();
    {
        let mut encoder = GifEncoder::new_with_speed(&mut gif, 30);
        for _ in 0..11 {
            encoder.encode_frame(Frame::new(RgbaImage::new(400, 250))).unwrap();
        }
    }
    let why = refusal(json!({"source_base64": base64(&gif), "new_x": 4})).await;
    assert_eq!(why, "the frames of the image have more than 1000000 pixels together (resize_image.max_pixels)");
}

/// Images of a few bytes that claim 65,500 × 65,500 pixels, 17 GB once decoded.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let side = 65_500_u32;
    let mut png = encoded(&quarters(4, 4).into(), ImageFormat::Png);
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let mut gif = encoded(&quarters(4, 4).into(), ImageFormat::Gif);
    let short = u16::try_from(side).unwrap();
    gif[6..8].copy_from_slice(&short.to_le_bytes());
    gif[8..10].copy_from_slice(&short.to_le_bytes());
    let mut jpeg = encoded(&quarters(4, 4).into(), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 7].copy_from_slice(&short.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&short.to_be_bytes());
    let mut webp = encoded(&quarters(4, 4).into(), ImageFormat::WebP);
    let largest = (0x3ffe_u32 | (0x3ffe << 14)).to_le_bytes(); // what WebP can claim: 16,383 × 16,383
    let claim = webp.windows(4).position(|four| four == b"VP8L").unwrap() + 9;
    webp[claim..claim + 3].copy_from_slice(&largest[..3]);
    webp[claim + 3] = (webp[claim + 3] & 0xf0) | largest[3];
    vec![("png", png), ("gif", gif), ("jpeg", jpeg), ("webp", webp)]
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[tokio::test]
async fn a_bomb_is_refused_by_what_it_claims_before_it_is_decoded() {
    for (format, bomb) in bombs() {
        let why = refusal(json!({"source_base64": base64(&bomb), "new_x": 10})).await;
        let expected = why.starts_with("the image has ") && why.contains(" pixels; at most 1000000 are allowed");
        assert!(expected, "{format}: {why}");
    }
    let small = base64(&encoded(&quarters(4, 4).into(), ImageFormat::Png));
    let why = refusal(json!({"source_base64": small, "new_x": 60_000, "new_y": 60_000, "fit": "exact"})).await;
    assert!(why.starts_with("the image that was asked for has 3600000000 pixels"), "{why}");
    let tall = base64(&encoded(&quarters(2, 20_000).into(), ImageFormat::Png));
    let why = refusal(json!({"source_base64": tall, "new_x": 20_000, "new_y": 2, "fit": "exact"})).await;
    assert!(why.starts_with("the step between the two images has 400000000 pixels"), "{why}");
}

#[tokio::test]
async fn a_frame_that_is_larger_than_the_screen_of_its_gif_is_refused() {
    let mut gif = encoded(&quarters(4, 4).into(), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[1, 0, 1, 0]);
    let frame = gif.windows(10).position(|ten| ten == [0x2c, 0, 0, 0, 0, 4, 0, 4, 0, ten[9]]).unwrap();
    let side = 1_000_u16.to_le_bytes(); // a million pixels, as many as are allowed
    gif[frame + 5..frame + 9].copy_from_slice(&[side, side].concat());
    for format in ["gif", "png"] {
        let why = refusal(json!({"source_base64": base64(&gif), "new_x": 4, "format": format})).await;
        assert!(why.contains("the image cannot be read") && why.to_lowercase().contains("limit"), "{format}: {why}");
    }
}

#[tokio::test]
async fn a_webp_is_refused_whose_parts_are_larger_than_it_says() {
    let still = encoded(&quarters(4, 4).into(), ImageFormat::WebP);
    let chunk = |kind: &[u8; 4], claimed: u32, held: &[u8]| [&kind[..], &claimed.to_le_bytes(), held].concat();
    let image = |flags: u8, parts: &[Vec<u8>]| {
        let extended = chunk(b"VP8X", 10, &[flags, 0, 0, 0, 3, 0, 0, 3, 0, 0]);
        let parts = [&b"WEBP"[..], &extended, &parts.concat()].concat();
        chunk(b"RIFF", u32::try_from(parts.len()).unwrap(), &parts)
    };
    let picture = still[12..].to_vec();
    let sound = image(8, &[picture.clone(), chunk(b"EXIF", 4, b"Exif")]);
    assert!(inline(json!({"source_base64": base64(&sound), "new_x": 2})).await.is_ok());
    let exif = image(8, &[picture, chunk(b"EXIF", 4_000_000_000, b"Exif")]);
    let why = refusal(json!({"source_base64": base64(&exif), "new_x": 2})).await;
    assert_eq!(why, "the image cannot be read: its part EXIF is larger than the file");
    let frame = [0x10, 0, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 0xff, 0x3f, 0, 0];
    let large = image(0, &[chunk(b"VP8 ", 12, &frame)]);
    let why = refusal(json!({"source_base64": base64(&large), "new_x": 2})).await;
    assert!(why.ends_with("it claims 4 × 4 pixels, and what it holds has 16383 × 16383"), "{why}");
}

/// The chunk of a PNG with its length and checksum.
fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = u32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    chunk.extend(kind);
    chunk.extend(data);
    let checksum = crc32(&chunk[4..]);
    chunk.extend(checksum.to_be_bytes());
    chunk
}

/// What the pixels of a PNG are compressed to.
fn compressed(png: &[u8]) -> Vec<u8> {
    let (mut data, mut at) = (Vec::new(), 8);
    while at < png.len() {
        let length = u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        if &png[at + 4..at + 8] == b"IDAT" {
            data.extend(&png[at + 8..at + 8 + length]);
        }
        at += length + 12;
    }
    data
}

#[tokio::test]
async fn what_inflates_beyond_what_the_image_claims_makes_no_difference() {
    let black = DynamicImage::new_luma8(16_384, 8_192);
    let bomb = compressed(&encoded(&black, ImageFormat::Png)); // 128 MiB once inflated
    let small = encoded(&DynamicImage::new_luma8(8, 8), ImageFormat::Png);
    let (header, end) = (&small[..33], chunk(*b"IEND", b""));
    let profile = chunk(*b"iCCP", &[&b"bomb\0\0"[..], &bomb].concat());
    let text = chunk(*b"zTXt", &[&b"bomb\0\0"[..], &bomb].concat());
    let pixels = [header, &chunk(*b"IDAT", &bomb), &end].concat();
    for png in [[header, &profile, &small[33..]].concat(), [header, &text, &small[33..]].concat(), pixels] {
        assert!(png.len() < 4_000_000, "{}", png.len());
        let (done, image) = inline(json!({"source_base64": base64(&png), "new_x": 4})).await.unwrap();
        assert_eq!((image.width(), image.height()), (4, 4));
        assert!(done["bytes"].as_u64().unwrap() < 200, "{done}");
    }
}

#[tokio::test]
async fn what_is_no_image_or_half_of_one_is_refused_for_good() {
    assert!(
        refusal(json!({"source_base64": base64(b"hello"), "new_x": 1})).await.contains("no image that can be read")
    );
    assert!(refusal(json!({"source_base64": "%%%", "new_x": 1})).await.starts_with("payload.source_base64"));
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let whole = encoded(&quarters(64, 64).into(), format);
        for cut in [12, whole.len() / 4] {
            let why = refusal(json!({"source_base64": base64(&whole[..cut]), "new_x": 8})).await;
            assert!(why.contains("image"), "{format:?} {cut}: {why}");
        }
    }
}

#[tokio::test]
async fn a_payload_without_image_or_size_is_refused_with_what_is_missing() {
    let png = base64(&encoded(&quarters(4, 4).into(), ImageFormat::Png));
    assert_eq!(
        refusal(json!({"new_x": 100, "new_y": 100})).await,
        "payload: names no image: give source (a URL) or source_base64 (the image itself)"
    );
    assert!(refusal(json!({"source_base64": png})).await.starts_with("payload: says no size"));
    assert!(refusal(json!({"source_base64": png, "source": "file:///a", "new_x": 1})).await.contains("both source"));
    assert!(refusal(json!({"source_base64": png, "new_x": 1, "quality": 101})).await.starts_with("payload.quality"));
    assert!(refusal(json!({"source_base64": png, "new_x": 1, "fit": "fill"})).await.starts_with("payload.fit"));
    let noise = RgbImage::from_fn(500, 500, |x, y| Rgb([x * y, x ^ y, x * 31 + y * 17].map(|n| n.to_le_bytes()[0])));
    let noise = base64(&encoded(&noise.into(), ImageFormat::Png));
    let why = refusal(json!({"source_base64": noise, "new_x": 900})).await;
    assert!(why.contains("give a target"), "{why}");
}

#[tokio::test]
async fn neither_source_nor_target_leaves_what_is_allowed() {
    let home = tempfile::tempdir().unwrap();
    let (inside, outside) = (home.path().join("in"), home.path().join("out"));
    for folder in [&inside, &outside] {
        std::fs::create_dir(folder).unwrap();
    }
    let png = encoded(&quarters(4, 4).into(), ImageFormat::Png);
    std::fs::write(outside.join("secret.png"), &png).unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("way")).unwrap();
    let (inside_url, outside_url) = (url(&inside), url(&outside));
    for tried in [
        format!("{outside_url}/secret.png"),
        format!("{inside_url}/../out/secret.png"),
        format!("{inside_url}/%2e%2e/out/secret.png"),
        format!("{inside_url}/..%2fout/secret.png"),
        format!("{inside_url}/%252e%252e/out/secret.png"),
        format!("{inside_url}//../out/secret.png"),
        format!("{inside_url}\\..\\out\\secret.png"),
        format!("{inside_url}/way/secret.png"),
        format!("{inside_url}2/secret.png"),
        "file:///etc/passwd".to_owned(),
        "file://localhost/etc/passwd".to_owned(),
        "https://example.org/a.png".to_owned(),
        "s3://bucket/a.png".to_owned(),
        "/etc/passwd".to_owned(),
    ] {
        let reads = json!({"source": tried, "new_x": 2});
        let writes = json!({"source_base64": base64(&png), "target": tried, "new_x": 2});
        for (member, payload) in [("source", reads), ("target", writes)] {
            let error = resize(&inside, &payload).await.unwrap_err();
            let told = error.message();
            assert!(error.is_permanent() && told.starts_with(&format!("payload.{member}: ")), "{tried}: {told}");
        }
    }
    assert_eq!(std::fs::read(outside.join("secret.png")).unwrap(), png);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}
