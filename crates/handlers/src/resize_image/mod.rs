//! `resize_image`: makes an image of another size, from an object or base64 to an object or base64.
//!
//! What a few bytes claim to be is measured before it is decoded, and the pixels of all images that are in hand at a time
//! are bounded as well: a task that would go beyond waits for others to end.

mod measure;
mod picture;
mod webp;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, Output, async_trait};
use tokio::sync::Semaphore;

use crate::objects::{ObjectError, ObjectOptions, Objects};
use crate::{BuiltIn, HandlerOptions};
use measure::{Fit, measure};
use picture::{Format, Header, Job};

/// Pixels of an image unless told otherwise: what large cameras take. Decoded, that is 200 MB.
const MAX_PIXELS: u64 = 50_000_000;
/// Largest image that a result may hold, in bytes: three quarters of what results may have, since base64 takes four
/// characters for three bytes, less what stands around it.
const INLINE_MAX: usize = tidemill_executor::RESULT_MAX_BYTES / 4 * 3 - 1024;
/// Pixels that are reckoned together: permits of a semaphore are fewer than pixels may be.
const PIXELS_PER_PERMIT: u64 = 4096;
/// Quality of JPEG unless the payload says otherwise: no difference is seen, at a third of the bytes of 100.
const QUALITY: u8 = 85;

/// How it is described and added.
pub(crate) const TYPE: BuiltIn = BuiltIn {
    name: "resize_image",
    summary: "Makes a PNG, JPEG, WebP or GIF of another size.",
    doc: "Takes the image from `source` (the URL of an object) or `source_base64`, turns it upright by its EXIF \
          orientation, and keeps it at `target` or, where there is none, in the result as `image_base64` (190 KiB at most). \
          With one of `new_x` and `new_y` the other follows from the ratio. Of an animated GIF that stays a GIF all frames \
          are resized, else the first. Colour profiles are kept, other metadata is not. \
          Permanent errors: no image, one that cannot be read, more pixels than `resize_image.max_pixels` in source, target \
          or all frames, a URL outside of `objects.allow`, an object that does not exist. A store that is away is tried again.",
    example: r#"{"source_base64": "R0lGODdhAQABAPAAAP8AAAAAACwAAAAAAQABAAACAkQBADs=", "new_x": 64, "format": "png"}"#,
    payload: || schema_for!(Payload),
    add: |registry, options| Ok(registry.add("resize_image", ResizeImage::from(options)?).map(drop)?),
};

/// What a task of this type says.
#[derive(Debug, Deserialize, JsonSchema)]
struct Payload {
    /// The URL of the image: `file:///…`, `s3://…` or `https://…`, below a prefix of the worker's `objects.allow`.
    source: Option<String>,
    /// The image itself, in base64, in place of `source`.
    source_base64: Option<String>,
    /// The URL where the result is kept. Without it, the result of the task holds the image.
    target: Option<String>,
    /// The width, in pixels.
    #[schemars(range(min = 1))]
    new_x: Option<u32>,
    /// The height, in pixels.
    #[schemars(range(min = 1))]
    new_y: Option<u32>,
    /// What happens where both are given and the ratio is another: `contain` keeps all of the image and may be smaller
    /// than asked for, `cover` fills the size and cuts off what stands over, `exact` distorts.
    #[serde(default)]
    fit: Fit,
    /// What the result is: that of the source where it is not said.
    format: Option<Format>,
    /// Quality of a JPEG, 85 where it is not said. WebP, PNG and GIF do without.
    #[schemars(range(min = 1, max = 100))]
    quality: Option<u8>,
}

/// How images are resized.
#[derive(Debug, Clone, Copy)]
pub struct ResizeOptions {
    /// The most pixels that a source or a target may have, and all frames of an animation together.
    pub max_pixels: u64,
}

impl Default for ResizeOptions {
    fn default() -> Self {
        Self { max_pixels: MAX_PIXELS }
    }
}

/// Resizes the image that the payload names.
#[derive(Debug)]
pub struct ResizeImage {
    objects: Objects,
    max_pixels: u64,
    room: Arc<Semaphore>,
    permits: u32,
}

impl ResizeImage {
    /// Checks the options; connects to nothing.
    pub fn new(objects: &ObjectOptions, options: ResizeOptions) -> Result<Self, ObjectError> {
        // Source and target of one task at their largest, or those of many smaller ones.
        let permits = permits(options.max_pixels.saturating_mul(2));
        let room = Arc::new(Semaphore::new(permits as usize));
        Ok(Self { objects: Objects::new(objects)?, max_pixels: options.max_pixels, room, permits })
    }

    fn from(options: &HandlerOptions) -> Result<Self, ObjectError> {
        Self::new(&options.objects, options.resize_image)
    }

    async fn source(&self, cx: &Context, payload: &mut Payload) -> Result<Bytes, HandlerError> {
        match (&payload.source, payload.source_base64.take()) {
            (Some(url), None) => self.objects.read(cx, "source", url).await,
            (None, Some(text)) => {
                let decoded = STANDARD.decode(text.trim());
                let bytes =
                    decoded.map_err(|error| HandlerError::permanent(format!("payload.source_base64: {error}")))?;
                Ok(bytes.into())
            }
            (None, None) => Err(HandlerError::permanent(
                "payload: names no image: give source (a URL) or source_base64 (the image itself)",
            )),
            (Some(_), Some(_)) => {
                Err(HandlerError::permanent("payload: has both source and source_base64; one image is resized"))
            }
        }
    }

    fn job(&self, payload: &Payload, header: &Header) -> Result<Job, HandlerError> {
        let quality = payload.quality.unwrap_or(QUALITY);
        if !(1..=100).contains(&quality) {
            return Err(HandlerError::permanent(format!("payload.quality: {quality} is not between 1 and 100")));
        }
        let upright = header.upright();
        self.bounded("the image", upright.pixels())?;
        let target = measure(upright, payload.new_x, payload.new_y, payload.fit).map_err(HandlerError::permanent)?;
        self.bounded("the image that was asked for", target.pixels())?;
        let raw = if header.is_turned() { target.turned() } else { target };
        self.bounded("the step between the two images", u64::from(raw.width) * u64::from(header.raw.height))?;
        let format = payload.format.unwrap_or(header.format);
        Ok(Job { raw, cover: payload.fit == Fit::Cover, format, quality, max_pixels: self.max_pixels })
    }

    fn bounded(&self, what: &str, pixels: u64) -> Result<(), HandlerError> {
        if pixels > self.max_pixels {
            let most = self.max_pixels;
            let why = format!("{what} has {pixels} pixels; at most {most} are allowed (resize_image.max_pixels)");
            return Err(HandlerError::permanent(why));
        }
        Ok(())
    }
}

#[async_trait]
impl Handler for ResizeImage {
    async fn run(&self, cx: Context) -> HandlerResult {
        let mut payload: Payload = cx.payload()?;
        if let Some(target) = &payload.target {
            self.objects.check("target", target)?;
        }
        let bytes = self.source(&cx, &mut payload).await?;
        let (bytes, header) = {
            let read = cx.blocking(move || picture::header(&bytes).map(|header| (bytes, header))).await?;
            read.map_err(HandlerError::permanent)?
        };
        let job = self.job(&payload, &header)?;
        cx.progress(25, "the image is here");
        let wanted = permits(header.raw.pixels() + job.raw.pixels()).min(self.permits);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted).await?;
        let stop = cx.cancellation();
        let resized = cx.blocking(move || {
            let made = picture::resize(&bytes, &header, &job, &|| stop.is_cancelled());
            drop(room);
            made
        });
        let made = resized.await??;
        cx.progress(75, "the image has its size");
        let mut done = Done {
            width: made.size.width,
            height: made.size.height,
            format: job.format,
            bytes: made.bytes.len(),
            target: payload.target,
            image_base64: None,
        };
        match &done.target {
            Some(target) => self.objects.write(&cx, "target", target, made.bytes.into(), job.format.media_type()).await?,
            None if made.bytes.len() > INLINE_MAX => {
                let has = made.bytes.len();
                return Err(HandlerError::permanent(format!(
                    "the image has {has} bytes, and a result holds {INLINE_MAX}: give a target (a URL)"
                )));
            }
            None => done.image_base64 = Some(STANDARD.encode(&made.bytes)),
        }
        Output::json(&done)
    }
}

fn permits(pixels: u64) -> u32 {
    u32::try_from(pixels / PIXELS_PER_PERMIT + 1).unwrap_or(u32::MAX / 8)
}

#[derive(Serialize)]
struct Done {
    width: u32,
    height: u32,
    format: Format,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_base64: Option<String>,
}

