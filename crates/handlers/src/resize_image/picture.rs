//! From the bytes of an image to those of another size.

use std::io::Cursor;

use fast_image_resize::{ResizeOptions, Resizer};
use image::codecs::gif::{GifDecoder, GifEncoder, Repeat};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::metadata::{LoopCount, Orientation};
use image::{
    AnimationDecoder, DynamicImage, ExtendedColorType, Frame, ImageDecoder, ImageEncoder, ImageError, ImageFormat,
    ImageReader, ImageResult, Limits, Rgb, RgbImage, RgbaImage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_executor::HandlerError;

use super::measure::Size;
use super::webp;

/// Bytes of a pixel at most: four channels of two bytes.
const PIXEL_BYTES: u64 = 8;
/// Bytes of a pixel of a GIF: those of the screen, of a frame, and of both together.
const GIF_PIXEL_BYTES: u64 = 12;
/// How much larger than its screen the frame of a GIF may be, in bytes: some encoders leave an edge.
const GIF_BYTES: u64 = 64 << 10;
/// What decoders need besides pixels: tables, lines, metadata.
const DECODER_BYTES: u64 = 16 << 20;
/// Largest colour profile that is kept: real ones have a few KiB.
const PROFILE_MAX: usize = 1 << 20;
/// How thoroughly the colours of a GIF are chosen, from 1 (slow) to 30: the encoder's own recommendation.
const GIF_SPEED: i32 = 10;

/// What an image is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Without loss.
    Png,
    /// With loss and without transparency: what was transparent becomes white.
    #[serde(alias = "jpg")]
    Jpeg,
    /// Without loss.
    Webp,
    /// 256 colours a frame.
    Gif,
}

impl Format {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
        }
    }

    fn of(format: ImageFormat) -> Option<Self> {
        match format {
            ImageFormat::Png => Some(Self::Png),
            ImageFormat::Jpeg => Some(Self::Jpeg),
            ImageFormat::WebP => Some(Self::Webp),
            ImageFormat::Gif => Some(Self::Gif),
            _ => None,
        }
    }
}

/// What an image claims to be.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) format: Format,
    /// As it is stored.
    pub(super) raw: Size,
    orientation: Orientation,
}

impl Header {
    /// Whether width and height change places when the image is turned upright.
    pub(super) fn is_turned(&self) -> bool {
        matches!(
            self.orientation,
            Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
        )
    }

    pub(super) fn upright(&self) -> Size {
        if self.is_turned() { self.raw.turned() } else { self.raw }
    }
}

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// The size before the image is turned upright.
    pub(super) raw: Size,
    pub(super) cover: bool,
    pub(super) format: Format,
    pub(super) quality: u8,
    pub(super) max_pixels: u64,
}

impl Job {
    fn limits(&self, header: &Header) -> Limits {
        let (pixels, pixel_bytes, more) = match header.format {
            // Only the screen was measured, and a frame may claim to be larger.
            Format::Gif => (header.raw.pixels(), GIF_PIXEL_BYTES, GIF_BYTES),
            _ => (self.max_pixels, PIXEL_BYTES, DECODER_BYTES),
        };
        let mut limits = Limits::default();
        limits.max_alloc = Some(pixels.saturating_mul(pixel_bytes).saturating_add(more));
        limits
    }
}

/// What was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) bytes: Vec<u8>,
    pub(super) size: Size,
}

/// Reads what the image claims, and none of its pixels. The error is permanent, and a sentence.
pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let format = reader.format().and_then(Format::of);
    let format = format.ok_or_else(|| "the source is no image that can be read: PNG, JPEG, WebP and GIF can".to_owned())?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| format!("the image cannot be read: {error}"))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err("the image has no pixels".to_owned());
    }
    let raw = Size { width, height };
    if format == Format::Webp {
        webp::check(bytes, raw)?;
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok(Header { format, raw, orientation })
}

/// Decodes, resizes, turns upright and encodes.
pub(super) fn resize(bytes: &[u8], header: &Header, job: &Job, stop: &dyn Fn() -> bool) -> Result<Made, HandlerError> {
    let mut resizer = Resizer::new();
    if header.format == Format::Gif && job.format == Format::Gif {
        return frames(bytes, header, job, &mut resizer, stop);
    }
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(job.limits(header));
    let mut decoder = reader.into_decoder().map_err(|error| unreadable(&error))?;
    let profile = profile(&mut decoder);
    let image = DynamicImage::from_decoder(decoder).map_err(|error| unreadable(&error))?;
    stopped(stop)?;
    let mut small = scale(&image, job, &mut resizer)?;
    drop(image);
    small.apply_orientation(header.orientation);
    let size = Size { width: small.width(), height: small.height() };
    stopped(stop)?;
    let bytes = encode(small, job, profile).map_err(|error| unwritable(&error))?;
    Ok(Made { bytes, size })
}

/// All frames of a GIF, one in hand at a time.
fn frames(
    bytes: &[u8],
    header: &Header,
    job: &Job,
    resizer: &mut Resizer,
    stop: &dyn Fn() -> bool,
) -> Result<Made, HandlerError> {
    let mut decoder = GifDecoder::new(Cursor::new(bytes)).map_err(|error| unreadable(&error))?;
    decoder.set_limits(job.limits(header)).map_err(|error| unreadable(&error))?;
    let mut made = Vec::new();
    {
        let mut encoder = GifEncoder::new_with_speed(&mut made, GIF_SPEED);
        match decoder.loop_count() {
            LoopCount::Infinite => encoder.set_repeat(Repeat::Infinite).map_err(|error| unwritable(&error))?,
            LoopCount::Finite(times) if times.get() > 1 => {
                let times = u16::try_from(times.get()).unwrap_or(u16::MAX);
                encoder.set_repeat(Repeat::Finite(times)).map_err(|error| unwritable(&error))?;
            }
            LoopCount::Finite(_) => {}
        }
        let a_frame = header.raw.pixels().max(job.raw.pixels());
        let mut pixels = 0_u64;
        for frame in decoder.into_frames() {
            stopped(stop)?;
            pixels = pixels.saturating_add(a_frame);
            if pixels > job.max_pixels {
                return Err(HandlerError::permanent(format!(
                    "the frames of the image have more than {} pixels together (resize_image.max_pixels)",
                    job.max_pixels
                )));
            }
            let frame = frame.map_err(|error| unreadable(&error))?;
            let delay = frame.delay();
            let small = scale(&DynamicImage::ImageRgba8(frame.into_buffer()), job, resizer)?.into_rgba8();
            encoder.encode_frame(Frame::from_parts(small, 0, 0, delay)).map_err(|error| unwritable(&error))?;
        }
        if pixels == 0 {
            return Err(HandlerError::permanent("the image has no frames"));
        }
    }
    Ok(Made { bytes: made, size: job.raw })
}

fn scale(image: &DynamicImage, job: &Job, resizer: &mut Resizer) -> Result<DynamicImage, HandlerError> {
    let mut small = DynamicImage::new(job.raw.width, job.raw.height, image.color());
    let options = if job.cover { ResizeOptions::new().fit_into_destination(None) } else { ResizeOptions::new() };
    resizer
        .resize(image, &mut small, &options)
        .map_err(|error| HandlerError::permanent(format!("the image cannot be resized: {error}")))?;
    Ok(small)
}

fn encode(image: DynamicImage, job: &Job, profile: Option<Vec<u8>>) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    match job.format {
        Format::Png => write(&image, PngEncoder::new(&mut bytes), profile)?,
        Format::Jpeg => {
            let image = opaque(image);
            write(&image, JpegEncoder::new_with_quality(&mut bytes, job.quality), profile)?;
        }
        Format::Webp => {
            let alpha = image.color().has_alpha();
            let image: DynamicImage = if alpha { image.into_rgba8().into() } else { image.into_rgb8().into() };
            write(&image, WebPEncoder::new_lossless(&mut bytes), profile)?;
        }
        Format::Gif => GifEncoder::new_with_speed(&mut bytes, GIF_SPEED).encode_frame(Frame::new(image.into_rgba8()))?,
    }
    Ok(bytes)
}

fn write(image: &DynamicImage, mut encoder: impl ImageEncoder, profile: Option<Vec<u8>>) -> ImageResult<()> {
    if let Some(profile) = profile
        && let Err(error) = encoder.set_icc_profile(profile)
    {
        tracing::debug!(%error, "the colour profile of an image is left out");
    }
    image.write_with_encoder(encoder)
}

/// The same on white, in 8 bits a channel.
fn opaque(image: DynamicImage) -> DynamicImage {
    if !image.color().has_alpha() {
        return if image.color().has_color() { image.into_rgb8().into() } else { image.into_luma8().into() };
    }
    let image: RgbaImage = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        let over_white = |channel: u8| {
            let (channel, alpha) = (u32::from(channel), u32::from(alpha));
            u8::try_from((channel * alpha + 255 * (255 - alpha) + 127) / 255).unwrap_or(u8::MAX)
        };
        Rgb([over_white(r), over_white(g), over_white(b)])
    })
    .into()
}

/// The colour profile, where it is one of the colours that the image has after decoding.
fn profile(decoder: &mut impl ImageDecoder) -> Option<Vec<u8>> {
    if matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16) {
        return None;
    }
    decoder.icc_profile().ok().flatten().filter(|profile| profile.len() <= PROFILE_MAX)
}

fn stopped(stop: &dyn Fn() -> bool) -> Result<(), HandlerError> {
    if stop() { Err(HandlerError::transient("told to end before the image was made")) } else { Ok(()) }
}

fn unreadable(error: &ImageError) -> HandlerError {
    HandlerError::permanent(format!("the image cannot be read: {error}"))
}

fn unwritable(error: &ImageError) -> HandlerError {
    HandlerError::permanent(format!("the image cannot be made: {error}"))
}
